"""The test Hub, driven by the real client: storage, refusals and faults."""

import hashlib
import json
import textwrap
import threading
import time
from urllib.request import urlopen

import pytest

import hf_diffmask
from tests.hub.server import HubServer

# A content with its `git hash-object` and its `sha256sum`.
HELLO, HELLO_GIT = b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"
HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
WEIGHTS = bytes(range(256)) * 64
WEIGHTS_SHA256 = hashlib.sha256(WEIGHTS).hexdigest()

PRELUDE = """
import json, time
from pathlib import Path
from huggingface_hub import CommitOperationAdd as Add, CommitOperationDelete as Delete, HfApi, HfFileSystem
from huggingface_hub import constants, get_session, hf_hub_download, hf_hub_url, snapshot_download

api, waits = HfApi(), []
time.sleep = waits.append  # between the client's own attempts
HELLO, WEIGHTS = b"hello\\n", bytes(range(256)) * 64

def commit(*operations, repo="acme/m", **more):
    return api.create_commit(repo, operations, commit_message="A commit", **more).oid

def caught(call, *args, **more):
    try:
        call(*args, **more)
    except Exception as error:
        return [type(error).__name__, error.response.status_code if hasattr(error, "response") else None]
"""


def client(hub, code, token="hf_test_write_token", **more):
    """Runs code in a fresh process and returns the value of its variable `out`."""
    return json.loads(hub.run(PRELUDE + textwrap.dedent(code) + "\nprint(json.dumps(out))", token, **more))


def statuses(hub, method, part=""):
    return [status for name, path, status in hub.requests if name == method and part in path]


def test_regular_and_lfs_files_in_one_commit_and_none_where_nothing_changed(hub):
    code = """
    url = str(api.create_repo("acme/m"))
    first, again = [commit(Add("a/hello.txt", HELLO), Add("model.safetensors", WEIGHTS)) for _ in range(2)]
    tree = {f.path: getattr(f, "blob_id", None) for f in api.list_repo_tree("acme/m", recursive=True)}
    paths = ["a/hello.txt", "model.safetensors", "no"]
    info = {f.path: [f.size, f.lfs and f.lfs.sha256] for f in api.get_paths_info("acme/m", paths)}
    missing = caught(lambda: list(api.list_repo_tree("acme/m", "nowhere"))), caught(api.create_repo, "acme/m")
    last = commit(Delete("a/"), Add("b.txt", HELLO))
    changed = {f.path: f.last_commit.oid for f in api.list_repo_tree("acme/m", expand=True)}
    commits = [[c.commit_id, c.title] for c in api.list_repo_commits("acme/m")]
    out = [url, first, again, tree, info, missing, last, changed, commits]
    """
    url, first, again, tree, info, missing, last, changed, commits = client(hub, code)
    assert url == f"{hub.url}/acme/m" and first == again and last == hub.head("acme/m") != first
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{WEIGHTS_SHA256}\nsize 16384\n".encode()
    pointer = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    assert (tree["a/hello.txt"], tree["model.safetensors"], tree["a"]) == (HELLO_GIT, pointer, None)
    assert info == {"a/hello.txt": [6, None], "model.safetensors": [16384, WEIGHTS_SHA256]}
    assert missing == [["RemoteEntryNotFoundError", 404], ["HfHubHTTPError", 409]]
    assert (changed["b.txt"], changed["model.safetensors"], changed[".gitattributes"]) == (last, first, commits[2][0])
    assert [sha for sha, _ in commits] == hub.commits("acme/m") and len(commits) == 3
    files = hub.files("acme/m")
    assert files.pop(".gitattributes") and files == {"model.safetensors": WEIGHTS, "b.txt": HELLO}
    assert hub.files("acme/m", first)["a/hello.txt"] == HELLO
    assert (hub.root / "repos/models/acme/m/blobs" / HELLO_SHA256).read_bytes() == HELLO
    assert len(statuses(hub, "PUT")) == 1 and len(statuses(hub, "POST", "/commit/")) == 2


def test_downloads_resume_and_are_cached_by_etag(hub):
    head = hub.commit("acme/m", {"a/hello.txt": HELLO, "model.safetensors": WEIGHTS})
    hub.fail("GET .*model.safetensors", "cut")
    code = """
    constants.DOWNLOAD_CHUNK_SIZE = 1024
    hello, weights = (Path(hf_hub_download("acme/m", name)) for name in ("a/hello.txt", "model.safetensors"))
    assert hello.read_bytes() == HELLO and weights.read_bytes() == WEIGHTS
    folder = Path(snapshot_download("acme/m"))
    with HfFileSystem().open("acme/m/model.safetensors", block_size=4096) as file:
        file.seek(1000)
        assert file.read(10) == WEIGHTS[1000:1010]
    get = lambda r: get_session().get(hf_hub_url("acme/m", "model.safetensors"), headers={"Range": f"bytes={r}"})
    ranges = [get("0-99"), get("-5"), get("16380-"), get("16384-")]
    assert [answer.content for answer in ranges[:3]] == [WEIGHTS[:100], WEIGHTS[-5:], WEIGHTS[16380:]]
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    out = [folder.name, hello.resolve().name, weights.resolve().name, names, [r.status_code for r in ranges]]
    """
    names = [".gitattributes", "a/hello.txt", "model.safetensors"]
    assert client(hub, code) == [head, HELLO_GIT, WEIGHTS_SHA256, names, [206, 206, 206, 416]]
    # The cut download continued where it had stopped.
    assert statuses(hub, "GET", "model.safetensors")[:2] == [200, 206]


def test_branches_and_tags(hub):
    first, second = (hub.commit("acme/m", {"a.txt": text}) for text in (b"1", b"2"))
    code = f"""
    api.create_tag("acme/m", tag="v1", revision="{first}")
    api.create_branch("acme/m", branch="feature/x")
    there = caught(api.create_tag, "acme/m", tag="v1"), caught(api.create_branch, "acme/m", branch="main")
    commit(Add("a.txt", b"3"), revision="feature/x")
    texts = [Path(hf_hub_download("acme/m", "a.txt", revision=r)).read_text() for r in ("v1", "main", "feature/x")]
    refs = api.list_repo_refs("acme/m")
    refs = [[ref.name for ref in refs.branches], [[ref.name, ref.target_commit] for ref in refs.tags]]
    api.delete_tag("acme/m", tag="v1")
    api.delete_branch("acme/m", branch="feature/x")
    out = [there, texts, refs, [caught(api.model_info, "acme/m", revision=r) for r in ("v1", "feature/x")]]
    """
    there, texts, refs, gone = client(hub, code)
    assert there == [["HfHubHTTPError", 409]] * 2 and texts == ["1", "2", "3"]
    assert refs == [["feature/x", "main"], [["v1", first]]] and gone == [["RevisionNotFoundError", 404]] * 2
    assert hub.head("acme/m") == second


def test_a_private_repository_is_there_only_for_those_who_may_see_it(hub):
    hub.add_token("hf_other", "other")
    client(hub, 'out = str(api.create_repo("acme/secret", private=True))')
    head, unseen = hub.commit("acme/open", {"a": b"0"}), "RepositoryNotFoundError"
    code = """
    out = [[model.id for model in api.list_models(search="SECRET")]]
    out += [caught(api.model_info, "acme/secret"), caught(commit, Add("a", b"1"), repo="acme/open")]
    """
    for token, expected in {
        "hf_test_read_token": [["acme/secret"], None, ["HfHubHTTPError", 403]],
        None: [[], [unseen, 401], [unseen, 401]],
        "hf_other": [[], [unseen, 404], ["HfHubHTTPError", 403]],
    }.items():
        assert client(hub, code, token, home=f"of_{token}") == expected
    code = 'out = [caught(api.whoami), caught(api.model_info, "acme/open")]'
    assert client(hub, code, "hf_unknown") == [["HfHubHTTPError", 401]] * 2 and hub.head("acme/open") == head


def test_a_stale_parent_and_an_object_that_was_never_uploaded_are_refused(hub):
    stale, head = (hub.commit("acme/m", {"a.txt": text}) for text in (b"1", b"2"))
    # Another user commits just before the second commit.
    hub.fail("POST .*/commit/", lambda: hub.commit("acme/m", {"b.txt": b"3"}), after=1)
    code = f"""
    out = [caught(commit, Add("a.txt", b"4"), parent_commit=parent) for parent in ("{stale}", "{head}")]
    lost = Add("x.bin", WEIGHTS)
    lost._upload_mode, lost._is_uploaded = "lfs", True
    out.append(caught(commit, lost))
    """
    assert client(hub, code) == [["HfHubHTTPError", 412], ["HfHubHTTPError", 412], ["BadRequestError", 400]]
    assert hub.commits("acme/m")[1] == head and hub.files("acme/m")["a.txt"] == b"2"


def test_card_tags_and_search(hub):
    base = "base_model: acme/base\nbase_model_relation: adapter"
    card = f"---\nlibrary_name: diffmask\nlicense: mit\ntags: [explainer]\ndatasets: [acme/d]\n{base}\n---\n# A card\n"
    code = f"""
    api.create_repo("acme/m")
    broken = caught(commit, Add("README.md", b"---\\na: [\\n---\\n"))
    commit(Add("README.md", {card.encode()}))
    ask = lambda **asked: [model.id for model in api.list_models(**asked)]
    info = api.model_info("acme/m", files_metadata=True)
    sizes = {{s.rfilename: s.size for s in info.siblings}}
    base, other = "base_model:adapter:acme/base", "base_model:finetune:acme/base"
    found = [ask(filter=[base, "explainer"]), ask(filter=[base, other]), ask(author="acme"), ask(author="no")]
    out = [broken, info.tags, info.card_data.base_model, info.library_name, sizes["README.md"], found]
    """
    tags = ["diffmask", "explainer", "dataset:acme/d", "base_model:acme/base", "base_model:adapter:acme/base"]
    found = [["acme/m"], [], ["acme/m"], []]
    known = [["ValueError", None], [*tags, "license:mit"], "acme/base", "diffmask", len(card)]
    assert client(hub, code) == [*known, found] and not hub.unhandled


def test_datasets_reads_two_configurations_with_and_without_streaming(hub):
    card = "---\nconfigs:\n" + "".join(f"- config_name: {c}\n  data_files: {c}/*.jsonl\n" for c in "ab") + "---\n"
    rows = {c: [{"text": f"{c}{i}", "label": i} for i in range(3)] for c in "ab"}
    files = {f"{c}/train.jsonl": "".join(json.dumps(row) + "\n" for row in rows[c]).encode() for c in "ab"}
    hub.commit("acme/d", {"README.md": card.encode(), **files}, repo_type="dataset")
    code = """
    from datasets import load_dataset
    read = lambda c, s: list(load_dataset("acme/d", c, split="train", streaming=s))
    out = [{c: read(c, s) for c in "ab"} for s in (True, False)] + [caught(load_dataset, "acme/none")[0]]
    """
    assert client(hub, code) == [rows, rows, "DatasetNotFoundError"] and not hub.unhandled


def test_transformers_pushes_and_loads(hub):
    code = f"""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
    folder = {hf_diffmask.BUNDLED_CLASSIFIER!r}
    AutoModelForSequenceClassification.from_pretrained(folder).push_to_hub("acme/m", private=True)
    AutoTokenizer.from_pretrained(folder).push_to_hub("acme/m")
    out = [pipeline("text-classification", model=model)("a warm film") for model in (folder, "acme/m")]
    """
    local, remote = client(hub, code)
    assert local == remote and not hub.unhandled


def test_each_fault_reaches_the_client_as_the_error_it_stands_for(hub):
    head = hub.commit("acme/m", {"a.txt": b"1"})
    codes = {"RepoNotFound": "Repository", "RevisionNotFound": "Revision", "EntryNotFound": "RemoteEntry"}
    faults = [(404, code, [f"{name}NotFoundError", 404]) for code, name in codes.items()]
    faults += [(status, None, ["HfHubHTTPError", status]) for status in (401, 403, 409, 412, 429, 500, 503)]
    faults += [("stall", None, ["RemoteProtocolError", None])]
    for fault, code, _ in faults:
        hub.fail("POST .*/commit/", fault, code=code, seconds=0.2 if fault == "stall" else None)
    hub.fail("PUT", 500, times=2)
    hub.fail("PUT", "cut")
    hub.fail("POST .*/preupload/", 429, after=len(faults), seconds=7)
    code = f"""
    out = [caught(commit, Add("a.txt", b"2")) for _ in range({len(faults)})]
    assert not waits
    commit(Add("a.bin", WEIGHTS))
    out.append(waits)
    """
    assert client(hub, code) == [expected for *_, expected in faults] + [[8, 1, 2, 4]]
    assert statuses(hub, "PUT") == [500, 500, 0, 200]
    assert hub.commits("acme/m")[1] == head and hub.files("acme/m")["a.bin"] == WEIGHTS


def test_what_is_cut_leaves_the_head_as_it_was_unless_only_the_answer_was_lost(hub):
    head = hub.commit("acme/m", {"a.txt": b"1"})
    hub.fail("PUT", "cut", times=6)
    hub.fail("POST .*/commit/", "cut")
    hub.fail("POST .*/commit/", "cut", after=1, done=True)
    code = """
    out = [caught(commit, Add("a.bin", WEIGHTS))[0], waits, caught(commit, Add("a.bin", WEIGHTS))[0]]
    out += [api.model_info("acme/m").sha, caught(commit, Add("a.txt", b"2"))[0]]
    """
    upload, waits, post, sha, answer = client(hub, code)
    assert (upload, waits, sha) == ("RuntimeError", [1, 2, 4, 8, 8], head)
    assert {post, answer} <= {"ReadError", "WriteError", "RemoteProtocolError"}
    assert hub.commits("acme/m")[1] == head and hub.files("acme/m")["a.txt"] == b"2"


def test_a_later_server_over_the_same_folder_serves_the_same_and_ends_promptly(hub):
    head = hub.commit("acme/m", {"a.txt": b"1", "w.bin": WEIGHTS})
    with HubServer(hub.root) as later:
        assert later.head("acme/m") == head and later.files("acme/m") == hub.files("acme/m")
        code = 'out = [Path(snapshot_download("acme/m")).name, api.model_info("acme/m", revision="main").sha]'
        assert client(later, code, token=None) == [head, head]
        later.fail("GET /api/models/acme/m", "stall", seconds=300)
        stalled = threading.Thread(target=pytest.raises, args=(OSError, urlopen, f"{later.url}/api/models/acme/m"))
        stalled.start()
        while later.faults[0].times:
            time.sleep(0.01)
    stalled.join(5)
    assert not stalled.is_alive()
