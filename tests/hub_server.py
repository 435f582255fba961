"""A Hub on loopback for the tests: the endpoints that the real client uses, over repositories kept on disk."""

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import traceback
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
LFS_SUFFIXES = (".safetensors", ".bin", ".png", ".parquet")
ROUTES = []


class Refused(Exception):
    """An answer other than success, with the headers by which the client tells one error from another."""

    def __init__(self, status, message, code=None, **headers):
        super().__init__(message)
        self.status, self.body = status, {"error": message}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}


def git_blob_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(path, size):
    return path.endswith(LFS_SUFFIXES) or size > 10_000_000


def now():
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_whole(path, data):
    """Writes beside the file, then renames: a reader sees the file of before or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex}")
    beside.write_bytes(data)
    os.replace(beside, path)


def front_matter(text):
    """The YAML mapping at the head of a card, empty if there is none."""
    found = re.match(r"---[ \t]*\r?\n(.*?)^---[ \t]*$", text, re.DOTALL | re.MULTILINE)
    data = (yaml.safe_load(found[1]) or {}) if found else {}
    if not isinstance(data, dict):
        raise yaml.YAMLError("YAML metadata must be a mapping")
    return data


def tags_of(card):
    def values(key, prefix=""):
        value = card.get(key)
        return [f"{prefix}{item}" for item in (value if isinstance(value, list) else [value]) if item is not None]

    tags = [*values("library_name"), *values("pipeline_tag"), *values("tags"), *values("datasets", "dataset:")]
    # The Hub takes a base model for one that was fine-tuned where the card does not say.
    relation = card.get("base_model_relation", "finetune")
    tags += values("base_model", "base_model:") + values("base_model", f"base_model:{relation}:")
    return list(dict.fromkeys([*tags, *values("task_categories", "task_categories:"), *values("license", "license:")]))


class Repo:
    """A repository on disk: blobs by sha256, commits as JSON, branches and tags as files that name a commit."""

    def __init__(self, root, kind, repo_id):
        self.kind, self.id, self.folder = kind, repo_id, root / "repos" / f"{kind}s" / repo_id
        self.namespace = repo_id.split("/")[0]
        settings = self.folder / "repo.json"
        self.settings = json.loads(settings.read_text()) if settings.exists() else None

    def create(self, **settings):
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
        self.commit("main", {".gitattributes": self.store(".gitattributes", attributes)}, "initial commit")
        self.settings = {**settings, "createdAt": now()}
        # Last, so that a repository that exists has a head.
        write_whole(self.folder / "repo.json", json.dumps(self.settings).encode())

    def blob(self, sha256):
        return self.folder / "blobs" / sha256

    def store(self, path, data, lfs=None):
        """Writes a blob and returns the entry of its file in a commit."""
        sha256 = hashlib.sha256(data).hexdigest()
        write_whole(self.blob(sha256), data)
        if is_lfs(path, len(data)) if lfs is None else lfs:
            return self.lfs_entry(sha256, len(data))
        return {"sha256": sha256, "size": len(data), "lfs": None, "oid": git_blob_sha1(data)}

    def lfs_entry(self, sha256, size):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        lfs = {"oid": sha256, "size": size, "pointerSize": len(pointer)}
        return {"sha256": sha256, "size": size, "lfs": lfs, "oid": git_blob_sha1(pointer)}

    def refs(self, kind):
        return {unquote(file.name): file.read_text() for file in sorted((self.folder / "refs" / kind).glob("[!.]*"))}

    def ref_file(self, kind, name):
        return self.folder / "refs" / kind / quote(name, safe="")

    def resolve(self, revision):
        known = {**self.refs("tags"), **self.refs("heads")}
        sha = known.get(revision, revision)
        if not re.fullmatch("[0-9a-f]{40}", sha) or not (self.folder / "commits" / f"{sha}.json").exists():
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    def load(self, sha):
        return json.loads((self.folder / "commits" / f"{sha}.json").read_text())

    def commit(self, branch, files, title, message="", author="system"):
        parent = self.refs("heads").get(branch)
        commit = {"parent": parent, "title": title, "message": message, "author": author, "date": now()}
        data = json.dumps({**commit, "files": dict(sorted(files.items()))}, indent=1).encode()
        sha = hashlib.sha1(data).hexdigest()
        write_whole(self.folder / "commits" / f"{sha}.json", data)
        write_whole(self.ref_file("heads", branch), sha.encode())
        return sha

    def history(self, sha):
        while sha:
            commit = self.load(sha)
            yield sha, commit
            sha = commit["parent"]

    def info(self, revision, blobs=False):
        sha = self.resolve(revision)
        files, siblings, card = self.load(sha)["files"], [], {}
        for path, file in files.items():
            more = {"size": file["size"], "blobId": file["oid"]} if blobs else {}
            if blobs and file["lfs"]:
                more["lfs"] = {**file["lfs"], "sha256": file["sha256"]}
            siblings.append({"rfilename": path, **more})
        if "README.md" in files:
            try:
                card = front_matter(self.blob(files["README.md"]["sha256"]).read_text(encoding="utf-8"))
            except yaml.YAMLError:
                card = {}
        info = {"_id": hashlib.sha1(self.id.encode()).hexdigest()[:24], "id": self.id, "author": self.namespace}
        info |= {"modelId": self.id} if self.kind == "model" else {}
        info |= {"sha": sha, "disabled": False, "gated": False, "downloads": 0, "likes": 0, **self.settings}
        info |= {key: card[key] for key in ("pipeline_tag", "library_name", "sdk") if key in card}
        info |= {"lastModified": self.load(self.refs("heads")["main"])["date"], "tags": tags_of(card)}
        return {**info, "siblings": siblings, **({"cardData": card} if card else {})}

    def tree(self, sha, expand=False):
        """Every file and folder of a commit by its path, as the API lists them."""
        files, entries = self.load(sha)["files"], {}
        for path, file in files.items():
            for folder in [str(parent) for parent in Path(path).parents][-2::-1]:
                within = [name + other["oid"] for name, other in files.items() if name.startswith(f"{folder}/")]
                oid = hashlib.sha1("".join(within).encode()).hexdigest()
                entries[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
            entries[path] = {"type": "file", "oid": file["oid"], "size": file["size"], "path": path}
            if file["lfs"]:
                entries[path]["lfs"] = file["lfs"]
            if expand:
                for since, commit in self.history(sha):
                    if commit["files"].get(path) != file:
                        break
                    entries[path]["lastCommit"] = {"id": since, "title": commit["title"], "date": commit["date"]}
        return entries


def route(methods, pattern):
    """Names the method of `Handler` that answers a path; the groups of the pattern are passed to it, unquoted."""

    def register(view):
        ROUTES.append((methods.split(), re.compile(pattern), view))
        return view

    return register


REPO = r"(?P<repo>[^/]+(?:/[^/]+)??)"
API = rf"/api/(?P<kind>model|dataset|space)s/{REPO}"
WEB = rf"/(?:(?P<kind>dataset|space)s/)?{REPO}"
REV = "(?P<revision>[^/]+)"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two packets: the second must not wait until the client acknowledges the first.
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    # From a request to its view, and from what that returns to the response

    def answer(self):
        self.hub, self.query = self.server.hub, parse_qs(urlsplit(self.path).query)
        self.cut = self.muted = False
        fault = self.hub._next_fault(f"{self.command} {self.path}")
        what, done, size = fault and fault.what, fault and fault.done, int(self.headers.get("Content-Length") or 0)
        if what == "cut" and size and not done:
            self.rfile.read(size // 2)
            return self.hang_up()
        self.body = self.rfile.read(size)
        if done:
            self.muted = True
            self.respond()
            self.muted = False
        self.cut = what == "cut" and self.command == "GET" and not done
        if isinstance(what, int):
            # Without a code, a 401 is a token that is no longer valid and not a repository out of sight.
            message = "Invalid credentials in Authorization header" if what == 401 else f"Fault {what}"
            wait = 1 if what == 429 and fault.seconds is None else fault.seconds
            refused = Refused(what, message, fault.code, **({} if wait is None else {"Retry-After": wait}))
            self.send(what, refused.body, refused.headers)
        elif isinstance(what, str) and not self.cut:
            if what == "stall":
                self.hub.closing.wait(60 if fault.seconds is None else fault.seconds)
            self.hang_up()
        else:
            if callable(what):
                what()
            self.respond()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def hang_up(self):
        self.hub.requests.append((self.command, self.path, 0))
        self.close_connection = True

    def respond(self):
        self.status, self.more = 200, {}
        try:
            with self.hub.lock:
                header = self.headers.get("Authorization")
                self.token = self.hub.tokens.get(header.removeprefix("Bearer ")) if header else None
                if header and self.token is None:
                    raise Refused(401, "Invalid credentials in Authorization header")
                data = self.view(urlsplit(self.path).path)
            self.send(self.status, data, self.more)
        except Refused as refused:
            self.send(refused.status, refused.body, refused.headers)
        except ConnectionError:
            self.close_connection = True
        except Exception:
            self.hub.errors.append(traceback.format_exc())
            self.send(500, {"error": "Error of the test server, see its list `errors`"}, {})

    def view(self, path):
        for methods, pattern, view in ROUTES:
            if self.command in methods and (found := pattern.fullmatch(path)):
                return view(self, **{name: value and unquote(value) for name, value in found.groupdict().items()})
        self.hub.unhandled.append((self.command, self.path))
        raise Refused(404, f"No such endpoint: {self.command} {path}", "EntryNotFound")

    def send(self, status, data, headers):
        if self.muted:
            return
        self.hub.requests.append((self.command, self.path, status))
        body = data if isinstance(data, bytes) else json.dumps(data, default=str).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.cut else body)
        self.close_connection |= self.cut

    # Who may do what

    def may_see(self, repo):
        return not repo.settings["private"] or (self.token is not None and repo.namespace in self.token.namespaces)

    def check_may_write(self, namespace, code=None):
        if self.token is None:
            raise Refused(401, "Invalid username or password.", code)
        if not self.token.write or (namespace or self.token.user) not in self.token.namespaces:
            raise Refused(403, f"You don't have the rights to write under the namespace {namespace}")

    def repo(self, kind, repo_id, write=False):
        repo = Repo(self.hub.root, kind or "model", repo_id)
        if repo.settings is None or not self.may_see(repo):
            # As on the Hub, nobody learns whether a repository exists that they may not see.
            message = "Repository not found" if self.token else "Invalid username or password."
            raise Refused(404 if self.token else 401, message, "RepoNotFound")
        if write:
            self.check_may_write(repo.namespace, "RepoNotFound")
        return repo

    def asked(self, *names):
        return [value for name in names for value in self.query.get(name, [])]

    # Account, and repositories as a whole

    @route("GET", "/api/whoami-v2")
    def whoami(self):
        if self.token is None:
            raise Refused(401, "Invalid username or password.")
        role, orgs = "write" if self.token.write else "read", self.token.namespaces[1:]
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        orgs = [{"type": "org", "name": name, "roleInOrg": role} for name in orgs]
        return {"type": "user", "name": self.token.user, "fullname": self.token.user, "orgs": orgs, "auth": auth}

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        try:
            empty = not front_matter(json.loads(self.body)["content"])
        except yaml.YAMLError as error:
            self.status = 400
            return {"errors": [{"message": str(error)}], "warnings": []}
        return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}] * empty}

    @route("POST DELETE", "/api/repos/(?:create|delete)")
    def create_or_delete(self):
        body = json.loads(self.body)
        self.check_may_write(body.get("organization"))
        repo_id = f"{body.get('organization') or self.token.user}/{body['name']}"
        repo = Repo(self.hub.root, body.get("type") or "model", repo_id)
        if self.command == "DELETE":
            if repo.settings is None:
                raise Refused(404, "Repository not found", "RepoNotFound")
            shutil.rmtree(repo.folder)
            return {}
        answer = {"url": f"{self.hub.url}/{URL_PREFIX[repo.kind]}{repo_id}", "name": repo_id, "id": repo_id}
        if repo.settings is not None:
            self.status = 409
            return {"error": f"You already created this {repo.kind} repo", **answer}
        private = body.get("private", body.get("visibility", "public") != "public")
        repo.create(private=private, **({"sdk": body["sdk"]} if "sdk" in body else {}))
        return answer

    @route("GET", "/api/(?P<kind>model|dataset|space)s")
    def search(self, kind):
        tags = {tag for value in self.asked("filter", "pipeline_tag") for tag in value.split(",")}
        texts, found = [text.lower() for text in self.asked("search")], []
        for repo in filter(self.may_see, self.hub._repos(kind)):
            item = repo.info("main")
            named = all(text in repo.id.lower() for text in texts)
            if named and tags <= set(item["tags"]) and {repo.namespace} >= set(self.asked("author")):
                found.append(item)
        # As on the Hub, the rest of what is known of each has to be asked for.
        kept = {"_id", "id", "modelId", "private", "likes", "downloads", "tags", "pipeline_tag", "library_name"}
        kept |= {"createdAt", "sdk", *self.asked("expand", "expand[]")}
        if full := bool(self.asked("full")):
            kept |= {"author", "sha", "lastModified", "disabled", "gated", "siblings"}
        kept |= {"cardData"} if self.asked("cardData") or (full and kind != "model") else set()
        limit = int((self.asked("limit") or [1000])[0])
        return [{key: item[key] for key in item if key in kept} for item in found[:limit]]

    # Reading a repository

    @route("GET", rf"{API}(?:/revision/{REV})?")
    def info(self, kind, repo, revision):
        return self.repo(kind, repo).info(revision or "main", "true" in self.asked("blobs"))

    @route("GET", rf"{API}/tree/{REV}(?:/(?P<path>.*))?")
    def tree(self, kind, repo, revision, path):
        repo, prefix = self.repo(kind, repo), f"{path}/" if path else ""
        entries = repo.tree(repo.resolve(revision), "true" in self.asked("expand"))
        found = [entry for name, entry in entries.items() if name.startswith(prefix)]
        if prefix and not found:
            raise Refused(404, f"{path} does not exist on {revision}", "EntryNotFound")
        recursive = "true" in self.asked("recursive")
        return [entry for entry in found if recursive or "/" not in entry["path"][len(prefix) :]]

    @route("POST", rf"{API}/paths-info/{REV}")
    def paths_info(self, kind, repo, revision):
        repo, form = self.repo(kind, repo), parse_qs(self.body.decode())
        entries = repo.tree(repo.resolve(revision), "true" in form.get("expand", []))
        return [entries[path] for path in form.get("paths", []) if path in entries]

    @route("GET", rf"{API}/commits/{REV}")
    def commits(self, kind, repo, revision):
        repo = self.repo(kind, repo)
        history = repo.history(repo.resolve(revision))
        return [{"id": sha, "authors": [{"user": commit["author"]}], **commit} for sha, commit in history]

    @route("GET HEAD", rf"{WEB}/resolve/{REV}/(?P<path>.+)")
    def resolve(self, kind, repo, revision, path):
        repo = self.repo(kind, repo)
        sha = repo.resolve(revision)
        file = repo.load(sha)["files"].get(path)
        if file is None:
            raise Refused(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": sha})
        etag, size = f'"{file["sha256" if file["lfs"] else "oid"]}"', file["size"]
        self.more = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        self.more |= {"ETag": etag, "X-Repo-Commit": sha}
        if file["lfs"]:
            self.more |= {"X-Linked-Size": size, "X-Linked-Etag": etag}
        data = repo.blob(file["sha256"]).read_bytes()
        if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first, last = asked.groups()
            start = int(first) if first else max(size - int(last or 0), 0)
            stop = min(int(last) + 1, size) if first and last else size
            if start >= stop:
                raise Refused(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{size}"})
            self.status, data = 206, data[start:stop]
            self.more["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return data

    # Branches and tags

    @route("GET", rf"{API}/refs")
    def refs(self, kind, repo):
        repo, listed = self.repo(kind, repo), {"converts": [], "pullRequests": []}
        for key, kind in (("branches", "heads"), ("tags", "tags")):
            refs = repo.refs(kind).items()
            listed[key] = [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in refs]
        return listed

    @route("POST DELETE", rf"{API}/(?P<what>branch|tag)/{REV}")
    def change_ref(self, kind, repo, what, revision):
        repo, body = self.repo(kind, repo, write=True), json.loads(self.body or b"{}")
        refs, name = ("heads", revision) if what == "branch" else ("tags", body.get("tag", revision))
        if self.command == "POST":
            if name in repo.refs(refs):
                raise Refused(409, f"Reference already exists: {name}")
            target = body.get("startingPoint", "main") if what == "branch" else revision
            write_whole(repo.ref_file(refs, name), repo.resolve(target).encode())
        elif name not in repo.refs(refs):
            raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
        elif (what, name) == ("branch", "main"):
            raise Refused(403, "The branch main cannot be deleted")
        else:
            repo.ref_file(refs, name).unlink()
        return {}

    # Writing: which way each file goes, then the large ones, then the commit

    @route("POST", rf"{API}/preupload/{REV}")
    def preupload(self, kind, repo, revision):
        repo, answers = self.repo(kind, repo, write=True), []
        files = repo.load(repo.resolve(revision))["files"]
        for path, size in ((file["path"], file["size"]) for file in json.loads(self.body)["files"]):
            mode, old = "lfs" if is_lfs(path, size) else "regular", files.get(path)
            # By this the client leaves a file out of its commit that is there already.
            oid = old and old["sha256" if old["lfs"] else "oid"]
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    @route("POST", rf"{WEB}\.git/info/lfs/objects/batch")
    def lfs_batch(self, kind, repo):
        repo, objects = self.repo(kind, repo, write=True), []
        for wanted in json.loads(self.body)["objects"]:
            href = f"{self.hub.url}/lfs/{repo.kind}/{repo.id}/{wanted['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": href}}
            objects.append(wanted if repo.blob(wanted["oid"]).exists() else {**wanted, "actions": actions})
        return {"transfer": "basic", "objects": objects}

    @route("PUT POST", rf"/lfs/(?P<kind>\w+)/{REPO}/(?P<oid>[0-9a-f]{{64}})")
    def lfs_object(self, kind, repo, oid):
        # The client sends no token with a PUT: on the Hub the address is signed.
        repo = Repo(self.hub.root, kind, repo) if self.command == "PUT" else self.repo(kind, repo, write=True)
        blob = repo.blob(oid)
        if self.command == "PUT":
            if repo.settings is None or hashlib.sha256(self.body).hexdigest() != oid:
                raise Refused(400, "The content does not have the sha256 that it was announced with")
            write_whole(blob, self.body)
        elif not blob.exists() or blob.stat().st_size != json.loads(self.body)["size"]:
            raise Refused(422, "The object is not there or has another size")
        return {}

    @route("POST", rf"{API}/commit/{REV}")
    def commit(self, kind, repo, revision):
        repo = self.repo(kind, repo, write=True)
        head = repo.resolve(revision)
        if "create_pr" in self.query or revision not in repo.refs("heads"):
            raise Refused(400, "This server takes commits to branches only")
        (_, header), *changes = ((line["key"], line["value"]) for line in map(json.loads, self.body.splitlines()))
        if header.get("parentCommit", head) != head:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.load(head)["files"])
        for key, value in changes:
            path = value["path"]
            if key == "file":
                files[path] = repo.store(path, base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                blob = repo.blob(value["oid"])
                if not blob.exists() or blob.stat().st_size != value.get("size", blob.stat().st_size):
                    raise Refused(400, f"An LFS pointer pointed to a file that does not exist: {path}")
                files[path] = repo.lfs_entry(value["oid"], blob.stat().st_size)
            else:
                within = path.rstrip("/") + "/" if key == "deletedFolder" else None
                left = {
                    name: f for name, f in files.items() if name != path and not (within and name.startswith(within))
                }
                if len(left) == len(files):
                    raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
                files = left
        sha = repo.commit(revision, files, header["summary"], header.get("description", ""), self.token.user)
        url = f"{self.hub.url}/{URL_PREFIX[repo.kind]}{repo.id}/commit/{sha}"
        return {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""}


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub, port):
        self.hub, self.connections = hub, set()
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        # That a client hangs up in the middle is what some of the tests are about.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.hub.errors.append(traceback.format_exc())


class HubServer:
    """
    A Hub-compatible server in a thread of this process, over repositories kept on disk; use it with `with`.

    Args:
        root (`Path`): Folder of the repositories; a later server over the same one serves the same.
        port (`int`): Port on loopback, 0 for any that is free.
    """

    def __init__(self, root, port=0):
        self.root, self.lock, self.closing = Path(root), threading.RLock(), threading.Event()
        # (method, path with query, status) of every request; status 0 where the connection was closed instead.
        self.requests = []
        # Requests for endpoints that there are none of here, and tracebacks of the server itself.
        self.unhandled, self.errors = [], []
        self.tokens, self.faults = {}, []
        self.root.mkdir(parents=True, exist_ok=True)
        self._listener = Listener(self, port)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self):
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self._listener.shutdown()
        self._listener.server_close()
        for connection in list(self._listener.connections):
            # One that is kept alive would go on being served.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add_token(self, token, user, write=True, orgs=()):
        self.tokens[token] = SimpleNamespace(user=user, write=write, namespaces=(user, *orgs))

    def fail(self, match, fault, times=1, after=0, code=None, seconds=None, done=False):
        """
        Makes requests fail, or have something happen just before they are answered.

        Args:
            match (`str`): Regular expression searched in `"METHOD path?query"`.
            fault (`int`, `str` or `Callable`): A status; `"stall"`, silence and then a closed connection; `"cut"`, a
                connection closed in the middle of the request's body or, on a GET, of the response's; or a function
                that is called before the request is answered as usual.
            times (`int`): Number of requests that it befalls.
            after (`int`): Number of requests that match, from now on, before the first that it befalls.
            code (`str`, *optional*): `X-Error-Code` that goes with a status: `"RepoNotFound"` and the like.
            seconds (`float`, *optional*): Length of a stall (60), or `Retry-After` of a status (1 for 429).
            done (`bool`): Whether the request is carried out first, so that only its answer is lost.
        """
        fault = {"match": re.compile(match), "what": fault, "times": times, "after": after, "code": code}
        self.faults.append(SimpleNamespace(**fault, seconds=seconds, done=done))

    def _next_fault(self, request):
        hit = None
        with self.lock:
            for fault in self.faults:
                if fault.match.search(request):
                    fault.after -= 1
                    if hit is None and fault.after < 0 and fault.times > 0:
                        hit, fault.times = fault, fault.times - 1
        return hit

    def _repos(self, kind):
        folders = sorted(path.parent for path in (self.root / "repos" / f"{kind}s").glob("*/*/repo.json"))
        return [Repo(self.root, kind, f"{folder.parent.name}/{folder.name}") for folder in folders]

    def create_repo(self, repo_id, repo_type="model", private=False):
        with self.lock:
            Repo(self.root, repo_type, repo_id).create(private=private)

    def commit(self, repo_id, files, revision="main", repo_type="model", message="A commit of the server"):
        """Commits files, `None` deletes one; makes the repository where there is none. Returns the new head."""
        with self.lock:
            repo = Repo(self.root, repo_type, repo_id)
            if repo.settings is None:
                repo.create(private=False)
            entries = dict(repo.load(repo.resolve(revision))["files"])
            entries |= {path: data if data is None else repo.store(path, data) for path, data in files.items()}
            return repo.commit(revision, {path: entry for path, entry in entries.items() if entry}, message)

    def head(self, repo_id, revision="main", repo_type="model"):
        return Repo(self.root, repo_type, repo_id).resolve(revision)

    def commits(self, repo_id, revision="main", repo_type="model"):
        """Commits of a revision, the newest first."""
        repo = Repo(self.root, repo_type, repo_id)
        return [sha for sha, _ in repo.history(repo.resolve(revision))]

    def files(self, repo_id, revision="main", repo_type="model"):
        repo = Repo(self.root, repo_type, repo_id)
        entries = repo.load(repo.resolve(revision))["files"]
        return {path: repo.blob(entry["sha256"]).read_bytes() for path, entry in entries.items()}

    def environment(self, token=None, home="home", **more):
        """Environment of a process whose Hub is this one, with a cache of its own for each `home`."""
        ours = ("HF_", "HUGGING", "TRANSFORMERS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
        home = {
            "HF_HOME": str(self.root / "homes" / home),
            "HF_ENDPOINT": self.url,
            **({"HF_TOKEN": token} if token else {}),
        }
        off = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS")
        quiet = {**dict.fromkeys(off, "1"), "HF_HUB_OFFLINE": "0", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
        return {**kept, **home, **quiet, "OMP_NUM_THREADS": "1", **more}

    def run(self, code, token=None, home="home", timeout=120, **more):
        """Runs Python code in a fresh process whose Hub is this one, and returns what it printed."""
        environment = self.environment(token, home, **more)
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stdout
