"""Requests of the real client to the test Hub: endpoints, routing, and answers in JSON."""

import base64
import hashlib
import json
import re
import shutil
import sys
import traceback
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub.server.faults import FaultyHandler
from tests.hub.server.storage import Repo, UnknownRevision, front_matter, is_lfs, write_whole

URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
ROUTES = []


class Refused(Exception):
    """An answer other than success. `Handler.refuse` takes the arguments."""

    def __init__(self, status, message, code=None, **headers):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers


def route(methods, pattern):
    """Names the method of `Handler` that answers a path. The method gets the groups of the pattern, unquoted."""

    def register(view):
        ROUTES.append((methods.split(), re.compile(pattern), view))
        return view

    return register


REPO = r"(?P<repo>[^/]+(?:/[^/]+)??)"
API = rf"/api/(?P<kind>model|dataset|space)s/{REPO}"
WEB = rf"/(?:(?P<kind>dataset|space)s/)?{REPO}"
REV = "(?P<revision>[^/]+)"


class Handler(FaultyHandler):
    """
    Carries out one request on the repositories.

    It reads the attributes `root`, `repositories`, `lock`, `tokens`, `url`, `unhandled` and `errors` of the server.
    """

    protocol_version = "HTTP/1.1"
    # Headers and body are two packets. The second must not wait until the client acknowledges the first.
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    # From a request to its view, and from the view to the response

    def respond(self):
        self.status, self.more, self.query = 200, {}, parse_qs(urlsplit(self.path).query)
        try:
            with self.hub.lock:
                header = self.headers.get("Authorization")
                self.token = self.hub.tokens.get(header.removeprefix("Bearer ")) if header else None
                if header and self.token is None:
                    raise Refused(401, "Invalid credentials in Authorization header")
                data = self.view(urlsplit(self.path).path)
            self.send(self.status, data, self.more)
        except Refused as refused:
            self.refuse(refused.status, refused.message, refused.code, **refused.headers)
        except UnknownRevision as unknown:
            self.refuse(404, str(unknown), "RevisionNotFound")
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
        self.deliver(status, data if isinstance(data, bytes) else json.dumps(data, default=str).encode(), headers)

    def refuse(self, status, message, code=None, **headers):
        """Sends an error. The client tells errors apart by their headers."""
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.send(status, {"error": message}, {**named, **headers})

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
            # The real Hub also hides whether a private repository exists.
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
        for repo in filter(self.may_see, self.hub.repositories(kind)):
            item = repo.info("main")
            named = all(text in repo.id.lower() for text in texts)
            if named and tags <= set(item["tags"]) and {repo.namespace} >= set(self.asked("author")):
                found.append(item)
        # The real Hub also lists further fields only on request.
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
            raise UnknownRevision(name)
        elif (what, name) == ("branch", "main"):
            raise Refused(403, "The branch main cannot be deleted")
        else:
            repo.ref_file(refs, name).unlink()
        return {}

    # Writing: first the upload mode of each file, then the large files, then the commit

    @route("POST", rf"{API}/preupload/{REV}")
    def preupload(self, kind, repo, revision):
        repo, answers = self.repo(kind, repo, write=True), []
        files = repo.load(repo.resolve(revision))["files"]
        for path, size in ((file["path"], file["size"]) for file in json.loads(self.body)["files"]):
            mode, old = "lfs" if is_lfs(path, size) else "regular", files.get(path)
            # The client compares this and leaves an unchanged file out of its commit.
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
        # The client sends no token with a PUT, because the Hub signs the address.
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
    """Accepts connections on loopback. It keeps the open ones, so that the server can end them."""

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
        # In some tests, the client hangs up in the middle.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.hub.errors.append(traceback.format_exc())
