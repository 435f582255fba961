"""The Space behind its page: requests that queue up, limits, explainers that are held, endpoints, its making."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

import hf_diffmask
from hf_diffmask import DiffMaskError

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from test_hub import WRITE, base_on, command, folder, named  # noqa: F401  fixtures
from test_space_page import serving

from hf_diffmask.cli import main
from hf_diffmask.space.batching import Batcher
from hf_diffmask.space.service import Service, write_results
from hf_diffmask.space.settings import Settings
from hf_diffmask.space.shelf import BUNDLED_NAME, Shelf

ROOT = Path(__file__).parents[1]
TEXT = "the plot is dull , but the cast is warm and funny"


@pytest.fixture(scope="module")
def service():
    made = Service(Settings(rows=20, characters=300, upload_megabytes=0.01, tokens=40))
    yield made
    made.batcher.close()


class Slow:
    """Runs that take a while, so that others queue up meanwhile."""

    def __init__(self):
        self.seen, self.go = [], threading.Event()

    def __call__(self, key, items):
        self.go.wait(10)
        self.seen.append((key, list(items)))
        if "bad" in items:
            raise ValueError(f"{len(items)} items, one of them bad")
        return [f"{key}-{item}" for item in items]


def answers(batcher, asked, timeout=10):
    """What is answered when all of them are asked at once, in the order in which they came in."""
    found, threads = [None] * len(asked), []

    def ask(number, key, item):
        try:
            found[number] = batcher(key, item, timeout)
        except Exception as error:
            found[number] = error

    for number, (key, item) in enumerate(asked):
        threads.append(threading.Thread(target=ask, args=(number, key, item)))
        threads[-1].start()
        time.sleep(0.02)
    return found, threads


def test_what_queues_up_is_run_together_by_key_and_each_gets_its_own():
    slow = Slow()
    batcher = Batcher(slow, size=3)
    found, threads = answers(batcher, [("a", k) for k in range(6)] + [("b", 7), ("a", 8)])
    slow.go.set()
    for thread in threads:
        thread.join()
    assert found == [*(f"a-{k}" for k in range(6)), "b-7", "a-8"]
    assert slow.seen == [("a", [0]), ("a", [1, 2, 3]), ("a", [4, 5, 8]), ("b", [7])]
    assert batcher.batches == [1, 3, 3, 1]
    batcher.close()
    assert not batcher._thread.is_alive()


def test_one_that_cannot_be_run_fails_alone():
    slow = Slow()
    batcher = Batcher(slow)
    found, threads = answers(batcher, [("a", 0), ("a", 1), ("a", "bad"), ("a", 3)])
    slow.go.set()
    for thread in threads:
        thread.join()
    assert [found[0], found[1], found[3]] == ["a-0", "a-1", "a-3"]
    assert isinstance(found[2], ValueError) and str(found[2]) == "1 items, one of them bad"


def test_waiting_has_an_end():
    slow = Slow()
    batcher = Batcher(slow, size=1, waiting=1)
    found, threads = answers(batcher, [("a", k) for k in range(8)], timeout=0.3)
    for thread in threads:
        thread.join()
    said = [str(error) for error in found]
    assert all(isinstance(error, DiffMaskError) for error in found)
    assert "longer than the limit of 0.3 seconds" in said[0] and "Too many are asking" in said[-1]
    slow.go.set()
    time.sleep(0.2)
    # What nobody waits for any more is not run.
    assert batcher("a", 99, 5) == "a-99" and len(slow.seen) <= 3


def test_explains_masks_and_compares_as_the_pipeline_does(service):
    explain = service.shelf.get("").explain
    result = service.explain(TEXT)
    expected = explain(TEXT)
    assert result.keys() == expected.keys() and result["drop"] == pytest.approx(expected["drop"], abs=1e-6)
    assert service.explain(TEXT, margin=0.5)["kept_share"] <= result["kept_share"]
    assert service.explain(TEXT, state=0, on_violation="search")["state"] == "embeddings"
    kept = [number for number, token in enumerate(result["tokens"]) if token["kept"]]
    assert service.what_if(TEXT, kept)["drop"] == pytest.approx(result["drop"], abs=1e-6)
    methods = service.compare(TEXT)
    assert [one["passes"] for one in methods] == [1, 12, 64]
    evidence = [token["evidence"] for token in result["tokens"]]
    assert [token["score"] for token in methods[0]["tokens"]] == pytest.approx(evidence, abs=1e-5)
    # Leave-one-out by hand: how much less log-probable the class is without "dull".
    dull = [token["token"] for token in methods[1]["tokens"]].index("dull")
    assert methods[1]["tokens"][dull]["score"] == max(token["score"] for token in methods[1]["tokens"])
    assert all(one["bare_seconds"] > 0 and one["comprehensiveness"] > one["sufficiency"] for one in methods)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda s: s.explain(" "), "There is no text"),
        (lambda s: s.explain("x" * 200, "y" * 101), "301 characters, and the limit is 300"),
        (lambda s: s.explain(5), "must be a string"),
        (lambda s: s.explain(TEXT, margin=-1.0), "must be greater than 0"),
        (lambda s: s.explain(TEXT, state="top"), "no state 'top'"),
        (lambda s: s.explain(TEXT, on_violation="<b>"), "must be one of keep"),
        (lambda s: s.explain(TEXT, explainer="org/name"), "'org/name' is not served here: choose one of bundled"),
        (lambda s: s.explain(TEXT, explainer="../../etc"), "no id of an explainer"),
        (lambda s: s.explain(TEXT, explainer=hf_diffmask.BUNDLED_CLASSIFIER), "no id of an explainer"),
        (lambda s: s.what_if(TEXT, [99]), "no token 99"),
        (lambda s: s.what_if(TEXT, ["1"]), "list of the numbers"),
        (lambda s: s.compare("dull " * 50), "52 tokens, and methods are compared on up to 40"),
    ],
)
def test_refusals_are_sentences(service, call, says):
    with pytest.raises(DiffMaskError, match=says):
        call(service)


def test_files(service, tmp_path):
    texts = ["dull", "warm , <b> & 'x'", "Å 漢 \U0001f642"]
    table = pd.DataFrame({"text": texts, "other": ["a", "b", "c"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for kind in ("csv", "parquet", "jsonl"):
        assert service.read(tmp_path / f"t.{kind}") == [{"text": text} for text in texts]
        pairs = service.read(tmp_path / f"t.{kind}", "other", "text")
        assert pairs[1] == {"text": "b", "text_pair": texts[1]}
        with pytest.raises(DiffMaskError, match="no column 'body'"):
            service.read(tmp_path / f"t.{kind}", "body")
    inputs = service.read(tmp_path / "t.csv")
    results = list(service.batch(inputs * 10))
    assert len(results) == 30 and results[3]["score"] == pytest.approx(results[0]["score"], abs=1e-5)
    parquet, lines, page = write_results(results[:3], inputs, tmp_path)
    back = pd.read_parquet(parquet)
    assert back["text"].tolist() == texts and back["label"].tolist() == [result["label"] for result in results[:3]]
    assert [token["token"] for token in back["tokens"][1]] == [token["token"] for token in results[1]["tokens"]]
    assert [json.loads(line) for line in lines.read_text().splitlines()] == results[:3]
    assert "<b>" not in page.read_text()


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("t.exe", b"text\nx\n", "must be one of .csv, .jsonl, .parquet"),
        ("t.csv", b"text\n" + b"x" * 20_000, "larger than the limit of 0.01 MB"),
        ("t.csv", b"text\n" + b"x\n" * 21, "more rows than the limit of 20"),
        ("t.csv", b"text\nx\n\"\"\n", "Row 2: There is no text"),
        ("t.csv", b"text\n", "no rows"),
        ("t.csv", b"text\n" + b"x" * 301, "Row 1: The text has 301 characters"),
        ("t.csv", b"\xff\xfe\x00", "cannot be read"),
        ("t.csv", b"", "cannot be read"),
        ("t.jsonl", b"{", "cannot be read"),
        ("t.parquet", b"PAR1 no", "cannot be read"),
    ],
)  # fmt: skip
def test_files_that_are_refused(service, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DiffMaskError, match=says):
        service.read(tmp_path / name)


def test_explainers_are_held_within_the_memory_and_the_oldest_goes_first(tmp_path):
    shutil.copytree(Path(hf_diffmask.BUNDLED_CLASSIFIER), tmp_path / "classifier")
    for name in ("one", "two", "three"):
        shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, tmp_path / name)
    menu = tuple(str(tmp_path / name) for name in ("one", "two", "three"))
    size = Shelf(Settings(explainers=menu)).get("one").size
    # As its tensors are: base, explainer, and a rival's explainer.
    assert size > os.path.getsize(tmp_path / "classifier/model.safetensors") * 0.9
    shelf = Shelf(Settings(explainers=menu, memory_gigabytes=2.5 * size / 1e9))
    one, two = shelf.get("one"), shelf.get("two")
    assert shelf.get("one") is one
    shelf.get("three")  # puts two away, which was not used for longest
    assert shelf.get("one") is one and shelf.get("two") is not two
    assert list(shelf.menu) == ["one", "two", "three"] and "hf-diffmask: begin" not in one.card
    with pytest.raises(DiffMaskError, match="Two explainers of the menu have one name"):
        Shelf(Settings(explainers=(menu[0], menu[0])))
    small = Shelf(Settings(explainers=menu, memory_gigabytes=1e-9))
    assert small.get("one") is small.get("one")  # the last one stays in any case


def test_while_one_is_loaded_others_are_handed_out(monkeypatch):
    shelf, loading, go = Shelf(Settings(allowed=("org/*",))), threading.Event(), threading.Event()
    held = shelf.get("")

    def load(source):
        loading.set()
        assert go.wait(10)
        return held

    monkeypatch.setattr(shelf, "_load", load)
    thread = threading.Thread(target=shelf.get, args=("org/slow",))
    thread.start()
    assert loading.wait(10) and shelf.get("") is held and thread.is_alive()
    go.set()
    thread.join()
    assert list(shelf._held) == [hf_diffmask.BUNDLED_EXPLAINER, "org/slow"]


def test_a_tokenizer_without_padding(service, monkeypatch):
    held = service.shelf.get("")
    sizes = []
    explain = type(held.explain).__call__
    monkeypatch.setattr(
        type(held.explain), "__call__", lambda *args, **kw: sizes.append(kw["batch_size"]) or explain(*args, **kw)
    )
    inputs = [{"text": "dull"}, {"text": "a warm film"}]
    expected = list(service.batch(inputs))
    token = held.explain.tokenizer.pad_token
    held.explain.tokenizer.pad_token = None
    try:
        alone = list(service.batch(inputs))
    finally:
        held.explain.tokenizer.pad_token = token
    assert sizes == [2, 1] and [one["score"] for one in alone] == pytest.approx([one["score"] for one in expected])


def test_settings(monkeypatch, tmp_path):
    (tmp_path / "README.md").write_text("---\nmodels: [org/a, org/b]\n---\n")
    assert Settings.from_environment(tmp_path / "README.md").explainers == ("org/a", "org/b")
    assert Settings.from_environment(ROOT / "spaces_app/README.md").explainers == (hf_diffmask.BUNDLED_EXPLAINER,)
    monkeypatch.setenv("DIFFMASK_EXPLAINERS", "org/c , org/d")
    monkeypatch.setenv("DIFFMASK_ROWS", "7")
    monkeypatch.setenv("DIFFMASK_SECONDS", "2.5")
    found = Settings.from_environment(tmp_path / "README.md", allowed=("me/*",))
    assert (found.explainers, found.rows, found.seconds) == (("org/c", "org/d"), 7, 2.5)
    assert found.allowed == ("me/*",) and found.characters == 5000
    monkeypatch.setenv("DIFFMASK_ROWS", "many")
    with pytest.raises(DiffMaskError, match="DIFFMASK_ROWS must be a number, but is 'many'"):
        Settings.from_environment()
    with pytest.raises(DiffMaskError, match="seconds must be greater than 0"):
        Settings(seconds=0)


def test_endpoints_by_client_by_http_and_as_tools(tmp_path):
    import httpx2
    from gradio_client import Client

    with serving(tmp_path, OMP_NUM_THREADS="1") as url:
        client = Client(url, verbose=False)
        result = client.predict(TEXT, api_name="/explain")
        assert result["label"] == "NEGATIVE" and len(result["tokens"]) == 14 and result["within_margin"]
        assert client.predict(TEXT, [4], api_name="/what_if")["same_prediction"]
        assert len(client.predict(TEXT, api_name="/compare")) == 3
        assert client.predict(api_name="/explainers") == [BUNDLED_NAME]
        with pytest.raises(Exception, match="is not served here: choose one of bundled"):
            client.predict(TEXT, explainer="org/other", api_name="/explain")
        described = client.view_api(return_format="dict")["named_endpoints"]
        assert described.keys() == {"/explain", "/what_if", "/compare", "/explainers"}
        # As docs/space.md says it for plain HTTP.
        event = httpx2.post(f"{url}gradio_api/call/explain", json={"data": [TEXT, "", "", None, "keep"]}).json()[
            "event_id"
        ]
        said = httpx2.get(f"{url}gradio_api/call/explain/{event}", timeout=60).text
        assert said.startswith("event: complete") and '"NEGATIVE"' in said
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        tools = httpx2.post(
            f"{url}gradio_api/mcp/", json=asked, headers=accept, timeout=60, follow_redirects=True
        ).text
        assert "which tokens of a text the model's output needs" in tools.replace("\\u0027", "'")


def test_explainers_of_the_hub_where_they_are_allowed(hub, named, tmp_path):  # noqa: F811
    from gradio_client import Client

    assert command(hub, "push", named, "acme/explainer", "--with_remote_code")[0] == 0
    trap = {name: b"raise SystemExit('run')" for name in ("remote_diffmask.py", "configuration_diffmask.py")}
    hub.commit("acme/explainer", trap)
    config = json.loads((named / "config.json").read_text())
    weights = (named / "model.safetensors").read_bytes()
    stolen = {**config, "base_model_name_or_path": hf_diffmask.BUNDLED_CLASSIFIER}
    hub.commit("acme/thief", {"config.json": json.dumps(stolen).encode(), "model.safetensors": weights})
    environment = {**hub.environment(), "DIFFMASK_ALLOWED": "acme/*", "OMP_NUM_THREADS": "1"}
    with serving(tmp_path, **environment) as url:
        client = Client(url, verbose=False)
        assert client.predict(TEXT, explainer="acme/explainer", api_name="/explain")["label"] == "NEGATIVE"
        with pytest.raises(Exception, match="names a folder as its base model"):
            client.predict(TEXT, explainer="acme/thief", api_name="/explain")
        with pytest.raises(Exception, match="cannot be loaded"):
            client.predict(TEXT, explainer="acme/nothing", api_name="/explain")
        with pytest.raises(Exception, match="not served here"):
            client.predict(TEXT, explainer="other/explainer", api_name="/explain")
        assert client.predict(TEXT, api_name="/explain")["label"] == "NEGATIVE"


def test_a_space_is_pushed_and_runs_from_its_wheel(hub, tmp_path):
    push = ("push-space", "acme/space", "--explainers", "acme/one", "acme/two")
    status, said = command(hub, *push)
    assert status == 0, said
    files = hub.files("acme/space", repo_type="space")
    front = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert front["models"] == ["acme/one", "acme/two"] and (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    assert len(front["short_description"]) <= 60
    head = hub.head("acme/space", repo_type="space")
    assert command(hub, *push)[0] == 0 and hub.head("acme/space", repo_type="space") == head  # nothing has changed
    assert "may not write" in command(hub, *push, token="hf_test_read_token")[1]
    # As it lies in the repo, run where this package is not: from the wheel alone.
    space = tmp_path / "space"
    space.mkdir()
    for name, content in files.items():
        (space / name).write_bytes(content)
    (wheel,) = space.glob("*.whl")
    assert {"hf_diffmask/space/app.py", "hf_diffmask/bundled/explainer/model.safetensors"} <= set(
        zipfile.ZipFile(wheel).namelist()
    )
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(pd.__file__).parents[1].iterdir():
        if not path.name.startswith(("hf_diffmask", "__editable__")) and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    code = "import app, hf_diffmask; print(hf_diffmask.__file__, type(app.demo).__name__, app.settings.explainers)"
    (space / "README.md").write_text(
        (space / "README.md").read_text().replace("models:\n- acme/one\n- acme/two", "models: []")
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": f"{packages}:{space}", "OMP_NUM_THREADS": "1"},
        cwd=space, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(space / ".package") in done.stdout and "Blocks" in done.stdout


def test_requirements_are_those_that_were_tested():
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    needed = [line.split("==") for line in (ROOT / "spaces_app/requirements.txt").read_text().splitlines()]
    assert all(tested[name.partition("[")[0]] == version for name, version in needed)
    front = yaml.safe_load((ROOT / "spaces_app/README.md").read_text().split("---\n")[1])
    assert front["sdk_version"] == tested["gradio"]


def test_commands_say_what_is_wrong(tmp_path, capsys):
    (tmp_path / "space").mkdir()
    assert main(["push-space", "a/b", "--output_dir", str(tmp_path / "space")]) == 2
    assert "exists: name another folder" in capsys.readouterr().err
    assert main(["serve", "--explainers", str(tmp_path / "nothing")]) == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert main(["serve", "--port", "99999"]) == 2
    assert "name another --port" in capsys.readouterr().err
