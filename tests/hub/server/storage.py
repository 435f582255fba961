"""Repositories on disk for the test Hub: blobs, commits, branches, tags and cards."""

import hashlib
import json
import os
import re
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import yaml

LFS_SUFFIXES = (".safetensors", ".bin", ".png", ".parquet")


class UnknownRevision(LookupError):
    """A repository has no branch, tag or commit of this name."""

    def __init__(self, revision):
        super().__init__(f"Invalid rev id: {revision}")


def git_blob_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(path, size):
    return path.endswith(LFS_SUFFIXES) or size > 10_000_000


def now():
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_whole(path, data):
    """Writes a new file and renames it. A reader sees either the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex}")
    beside.write_bytes(data)
    os.replace(beside, path)


def front_matter(text):
    """Returns the YAML mapping at the head of a card. It is empty if the card has none."""
    found = re.match(r"---[ \t]*\r?\n(.*?)^---[ \t]*$", text, re.DOTALL | re.MULTILINE)
    data = (yaml.safe_load(found[1]) or {}) if found else {}
    if not isinstance(data, dict):
        raise yaml.YAMLError("YAML metadata must be a mapping")
    return data


def tags_of(card):
    """Returns the tags that the Hub derives from the metadata of a card."""

    def values(key, prefix=""):
        value = card.get(key)
        return [f"{prefix}{item}" for item in (value if isinstance(value, list) else [value]) if item is not None]

    tags = [*values("library_name"), *values("pipeline_tag"), *values("tags"), *values("datasets", "dataset:")]
    # The Hub assumes fine-tuning if the card names a base model but no relation to it.
    relation = card.get("base_model_relation", "finetune")
    tags += values("base_model", "base_model:") + values("base_model", f"base_model:{relation}:")
    return list(dict.fromkeys([*tags, *values("task_categories", "task_categories:"), *values("license", "license:")]))


class Repo:
    """A repository on disk. Its blobs lie by sha256, its commits are JSON, its branches and tags name a commit."""

    def __init__(self, root, kind, repo_id):
        self.kind, self.id, self.folder = kind, repo_id, root / "repos" / f"{kind}s" / repo_id
        self.namespace = repo_id.split("/")[0]
        settings = self.folder / "repo.json"
        self.settings = json.loads(settings.read_text()) if settings.exists() else None

    def create(self, **settings):
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
        self.commit("main", {".gitattributes": self.store(".gitattributes", attributes)}, "initial commit")
        self.settings = {**settings, "createdAt": now()}
        # This comes last, so that a repository that exists has a head.
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
            raise UnknownRevision(revision)
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
        """Returns every file and folder of a commit by its path, as the API lists them."""
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


class Repositories:
    """
    The repositories of a server. Tests prepare and read them without a request.

    Args:
        root (`Path`): Folder of the repositories. A later server over the same folder serves the same repositories.
    """

    def __init__(self, root):
        # The lock makes every change of a repository, and every answer to a request, one step.
        self.root, self.lock = Path(root), threading.RLock()
        self.root.mkdir(parents=True, exist_ok=True)

    def repositories(self, kind):
        folders = sorted(path.parent for path in (self.root / "repos" / f"{kind}s").glob("*/*/repo.json"))
        return [Repo(self.root, kind, f"{folder.parent.name}/{folder.name}") for folder in folders]

    def create_repo(self, repo_id, repo_type="model", private=False):
        with self.lock:
            Repo(self.root, repo_type, repo_id).create(private=private)

    def commit(self, repo_id, files, revision="main", repo_type="model", message="A commit of the server"):
        """Commits files and returns the new head. `None` deletes a file. A missing repository is made first."""
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
        """Returns the commits of a revision, the newest first."""
        repo = Repo(self.root, repo_type, repo_id)
        return [sha for sha, _ in repo.history(repo.resolve(revision))]

    def files(self, repo_id, revision="main", repo_type="model"):
        repo = Repo(self.root, repo_type, repo_id)
        entries = repo.load(repo.resolve(revision))["files"]
        return {path: repo.blob(entry["sha256"]).read_bytes() for path, entry in entries.items()}
