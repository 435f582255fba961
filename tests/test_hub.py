"""Explainers on a Hub: pushed and loaded as a user does, in processes of their own, and what a fault leaves behind."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hf_diffmask
from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskModel
from hf_diffmask.demo import sentences
from hf_diffmask.hub import find, merged_card, published, push
from hf_diffmask.hub_client import persist
from hf_diffmask.model_card import front_matter, validate

WRITE, READ = "hf_test_write_token", "hf_test_read_token"
TEXT = "the plot is dull , but the cast is warm and funny"


def command(hub, *arguments, token=WRITE, home="home", **env):
    """`hf-diffmask ...` in a process of its own; returns its status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "hf_diffmask.cli", *map(str, arguments)],
        env={**hub.environment(token, home, **env), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def base_on(hub):
    """The bundled classifier in a repo; returns the commit."""
    files = {path.name: path.read_bytes() for path in Path(hf_diffmask.BUNDLED_CLASSIFIER).iterdir()}
    return hub.commit("acme/base", files)


@pytest.fixture
def folder(tmp_path):
    """A copy of the bundled explainer, whose base model lies in a folder beside it."""
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "classifier")
    shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, tmp_path / "explainer")
    return tmp_path / "explainer"


@pytest.fixture
def named(folder, hub):
    """The same, for a base model on the Hub."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"base_model_name_or_path": "acme/base", "base_model_revision": base_on(hub)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def scores(hub, model, **more):
    """What the pipeline says of a text, in a process of its own."""
    code = f"""
    import json, hf_diffmask
    from transformers import pipeline
    result = pipeline("diffmask-attribution", model={str(model)!r})({TEXT!r})
    print(json.dumps([result["score"], result["drop"], *[token["evidence"] for token in result["tokens"]]]))
    """
    return json.loads(hub.run(code, **more).splitlines()[-1])


def test_the_whole_way_as_a_user(hub, tmp_path):
    sha = base_on(hub)
    data, output = tmp_path / "texts.jsonl", tmp_path / "explainer"
    data.write_text("\n".join(json.dumps({"text": text}) for text in sentences(120)))
    hub.fail("POST .*/commit/", 403, after=1)  # of a checkpoint: training goes on
    status, said = command(
        hub, "train", "--base_model", "acme/base", "--dataset", data, "--output_dir", output, "--max_steps", 12,
        "--baseline_steps", 4, "--per_device_train_batch_size", 16, "--report_to", "none", "--push_to_hub",
        "--hub_model_id", "acme/explainer", "--hub_strategy", "checkpoint", "--hub_token", WRITE,
    )  # fmt: skip
    assert status == 0, said
    assert "may not write to acme/explainer" in said and "names no licence" in said
    files = hub.files("acme/explainer")
    config = json.loads(files["config.json"])
    assert (config["base_model_name_or_path"], config["base_model_revision"]) == ("acme/base", sha)
    assert (config["base_model_class"], config["vocab_size"]) == ("BertForSequenceClassification", 15108)
    assert len(config["state_names"]) == 5 and len(config["base_model_fingerprint"]) == 16
    needed = {"model.safetensors", "tokenizer.json", "README.md", "sparsity_divergence.png", "training_args.json"}
    assert needed <= files.keys() and "last-checkpoint/model.safetensors" in files
    assert not any(name.endswith((".bin", ".pkl")) for name in files)
    assert not any(WRITE.encode() in content for content in files.values()) and WRITE not in said
    assert str(tmp_path).encode() not in files["config.json"] + files["README.md"]
    card = files["README.md"].decode()
    validate(card)
    front = front_matter(card)
    assert (front["base_model"], front["base_model_relation"]) == ("acme/base", "adapter")
    assert front["library_name"] == "hf-diffmask" and front["model-index"][0]["name"] == "explainer"
    # One commit of the explainer itself: the last, after those of checkpoints.
    before = hub.files("acme/explainer", hub.commits("acme/explainer")[1])
    assert "model.safetensors" not in before and "last-checkpoint/model.safetensors" in before
    local = scores(hub, output)
    for more in ({"home": "empty"}, {"home": "empty", "HF_HUB_OFFLINE": "1"}):
        assert scores(hub, "acme/explainer", **more) == pytest.approx(local, abs=1e-6)
    # The card's example runs as it stands.
    example = card.partition("```python\n")[2].partition("```")[0]
    assert "pipeline(" in example and "same_prediction" in hub.run(example, home="empty")
    head = hub.head("acme/explainer")
    status, said = command(hub, "push", output, "acme/explainer")
    assert status == 0 and hub.head("acme/explainer") == head
    status, said = command(hub, "list", "--base_model", "acme/base", "--json")
    assert status == 0 and [json.loads(line)["id"] for line in said.splitlines()] == ["acme/explainer"]
    assert "none for acme/other" in command(hub, "list", "--base_model", "acme/other")[1]


@pytest.mark.parametrize(
    "match, fault, more, says",
    [
        ("POST .*/commit/", 401, {}, "does not accept the token"),
        ("POST .*/preupload/", 403, {}, "may not write to acme/explainer"),
        ("POST .*/preupload/", 404, {"code": "RepoNotFound"}, "There is no acme/explainer"),
        ("POST .*/commit/", 409, {"times": 9}, "Another operation on acme/explainer is in progress"),
        ("POST .*/commit/", 412, {"times": 9}, "Others kept committing"),
        ("POST .*/commit/", 429, {"seconds": 3600}, "wait 3600 seconds"),
        ("POST .*/commit/", 500, {"times": 9}, "a fault of its own (500)"),
        ("POST .*/commit/", "stall", {"times": 9, "seconds": 30}, "connection to the Hub broke"),
        ("POST .*/commit/", "cut", {"times": 9}, "connection to the Hub broke"),
        ("PUT /lfs/", "cut", {"times": 99}, "connection to the Hub broke"),  # in the middle of the weights
    ],
)
def test_a_fault_leaves_all_whole_and_the_same_command_goes_on(hub, named, match, fault, more, says):
    hub.commit("acme/explainer", {"README.md": b"---\nlicense: mit\n---\n\nMine.\n", "notes.txt": b"mine"})
    before = hub.head("acme/explainer")
    local = {path.name: path.read_bytes() for path in named.iterdir() if path.is_file()}
    hub.fail(match, fault, **more)
    push = ["push", named, "acme/explainer", "--timeout", "0.5"]
    status, said = command(hub, *push)
    assert status == 2 and says in said and "Traceback" not in said and WRITE not in said
    assert "What was published before is whole" in said
    assert hub.head("acme/explainer") == before
    assert {path.name: path.read_bytes() for path in named.iterdir() if path.is_file()} == local
    hub.faults.clear()
    status, said = command(hub, *push)
    assert status == 0 and len(hub.commits("acme/explainer")) == 3  # made, the owner's, ours
    files = hub.files("acme/explainer")
    assert files["notes.txt"] == b"mine" and "Mine." in files["README.md"].decode()
    assert front_matter(files["README.md"].decode())["license"] == "mit"
    assert files["model.safetensors"] == (named / "model.safetensors").read_bytes()


def test_what_passes_is_tried_again(hub, named):
    assert command(hub, "push", named, "acme/explainer", "--private")[0] == 0
    first = hub.head("acme/explainer")
    (named / "training_args.json").write_text('{"recipe": "path"}')
    # Somebody else commits after our look at the head; then the Hub stumbles; then the answer is lost.
    hub.fail("POST .*/commit/", lambda: hub.commit("acme/explainer", {"other.txt": b"theirs"}))
    hub.fail("POST .*/commit/", 500, after=1)
    hub.fail("POST .*/commit/", "cut", after=2, done=True)
    status, said = command(hub, "push", named, "acme/explainer")
    assert status == 0, said
    files = hub.files("acme/explainer")
    assert files["other.txt"] == b"theirs" and files["training_args.json"] == b'{"recipe": "path"}'
    ours, theirs = hub.commits("acme/explainer")[:2]
    assert hub.commits("acme/explainer")[2] == first and "training_args.json" not in hub.files(
        "acme/explainer", theirs
    )
    assert command(hub, "push", named, "acme/explainer", "--revision", "trial")[0] == 0
    assert hub.head("acme/explainer", "trial") == ours


def test_a_base_model_in_a_folder_goes_along_on_request_only(hub, folder):
    status, said = command(hub, "push", folder, "acme/alone")
    assert status == 0 and "nobody else could load this explainer" in said
    assert json.loads(hub.files("acme/alone")["config.json"])["base_model_name_or_path"] is None
    assert "base_model:" not in hub.files("acme/alone")["README.md"].decode()
    status, said = command(hub, "push", folder, "acme/both", "--with_base_model", "--license", "mit")
    assert status == 0 and "nobody else" not in said
    files = hub.files("acme/both")
    assert json.loads(files["config.json"])["base_model_name_or_path"] == "./base_model"
    assert files["base_model/model.safetensors"] == (folder.parent / "classifier/model.safetensors").read_bytes()
    assert scores(hub, "acme/both", home="empty") == pytest.approx(scores(hub, folder), abs=1e-6)
    assert scores(hub, "acme/both", home="empty", HF_HUB_OFFLINE="1") == pytest.approx(scores(hub, folder), abs=1e-6)


def test_a_model_in_memory_is_pushed_with_all_that_lay_beside_it(hub, named):
    assert command(hub, "push", named, "acme/first")[0] == 0
    code = """
    from hf_diffmask import DiffMaskModel
    DiffMaskModel.from_pretrained("acme/first").push_to_hub("acme/second")
    """
    hub.run(code, token=WRITE, home="empty")
    first, second = hub.files("acme/first"), hub.files("acme/second")
    assert first.keys() == second.keys()
    changed = {name for name in first if first[name] != second[name]}
    assert changed <= {"README.md", "config.json"} and b"acme/second" in second["README.md"]


@pytest.mark.parametrize("times", [1, 99])
def test_a_connection_cut_while_loading_leaves_nothing_half(hub, named, times):
    assert command(hub, "push", named, "acme/explainer")[0] == 0
    hub.fail("GET .*/resolve/.*model.safetensors", "cut", times=times)
    explain = ("explain", "--model", "acme/explainer", "--format", "json", TEXT)
    status, said = command(hub, *explain, home="empty")
    if times > 1:
        assert status == 2 and "Traceback" not in said and "acme/explainer" in said
        hub.faults.clear()
        # What is in the cache is whole, and the same command finishes.
        status, said = command(hub, *explain, home="empty")
    assert status == 0, said
    local = command(hub, "explain", "--model", named, "--format", "json", TEXT)[1]
    found, expected = (json.loads(text[text.index("{") :].splitlines()[0]) for text in (said, local))
    assert found["score"] == pytest.approx(expected["score"], abs=1e-6) and len(found["tokens"]) == 14


def test_who_may_not_is_told_before_training(hub, tmp_path):
    base_on(hub)
    data = tmp_path / "texts.jsonl"
    data.write_text("\n".join(json.dumps({"text": text}) for text in sentences(40)))
    train = ["train", "--base_model", "acme/base", "--dataset", data, "--output_dir", tmp_path / "out"]
    train += ["--push_to_hub", "--hub_model_id", "acme/explainer", "--report_to", "none"]
    for token in (READ, "hf_unknown_token"):
        status, said = command(hub, *train, token=token)
        assert status == 2 and "token" in said and token not in said and "Traceback" not in said
    assert not (tmp_path / "out" / "model.safetensors").exists()
    status, said = command(hub, *train, "--hub_strategy", "every_save")
    assert status == 2 and "--hub_strategy must be end or checkpoint" in said


def test_data_sets_with_configurations_splits_and_streaming(hub, tmp_path):
    rows = {name: "\n".join(json.dumps({"review": f"{name} {k}"}) for k in range(30)) for name in ("one", "two")}
    card = (
        "---\nconfigs:\n- config_name: one\n  data_files:\n  - {split: test, path: one.jsonl}\n"
        "- config_name: two\n  data_files:\n  - {split: test, path: two.jsonl}\n---\n"
    )
    files = {f"{name}.jsonl": text.encode() for name, text in rows.items()}
    hub.commit("acme/data", {"README.md": card.encode(), **files}, repo_type="dataset")
    code = """
    import json
    from hf_diffmask.cli.inputs import DatasetArguments, load_inputs
    found = []
    for streaming in (False, True):
        which = DatasetArguments(dataset_config="two", dataset_split="test", text_column="review", streaming=streaming)
        found.append(load_inputs("acme/data", "text-classification", which, limit=3))
    try:
        load_inputs("acme/data", "text-classification", DatasetArguments(dataset_config="three"))
    except ValueError as error:
        found.append([type(error).__name__, str(error)])
    print(json.dumps(found))
    """
    whole, streamed, refused = json.loads(hub.run(code).splitlines()[-1])
    assert whole == streamed == ["two 0", "two 1", "two 2"]
    assert refused[0] == "DiffMaskError" and "three" in refused[1]


def test_what_was_tampered_with_is_refused(folder, tmp_path):
    weights, config = folder / "model.safetensors", folder / "config.json"
    good, fields = weights.read_bytes(), json.loads(config.read_text())
    tensors = load_file(weights)
    for bad, says in ((good[: len(good) // 2], "damaged"), (b"\xff" * 8 + good[8:], "damaged")):
        weights.write_bytes(bad)
        with pytest.raises(DiffMaskError, match=says):
            DiffMaskModel.from_pretrained(folder)
    save_file({**tensors, "baseline": tensors["baseline"] / 0}, weights, metadata={"format": "pt"})
    with pytest.raises(DiffMaskError, match="not all finite"):
        DiffMaskModel.from_pretrained(folder)
    lacking = {name: value for name, value in tensors.items() if name != "baseline"}
    save_file({**lacking, "extra": torch.ones(2)}, weights, metadata={"format": "pt"})
    with pytest.raises(DiffMaskError, match="baseline, extra missing or unknown"):
        DiffMaskModel.from_pretrained(folder)
    weights.unlink()
    torch.save(tensors, folder / "pytorch_model.bin")  # harmless, and not opened all the same
    with pytest.raises(OSError, match="safetensors"):
        DiffMaskModel.from_pretrained(folder)
    weights.write_bytes(good)
    config.write_text(json.dumps({**fields, "run_this": "import os"}))
    with pytest.raises(DiffMaskError, match=r"does not know \(run_this\)"):
        DiffMaskModel.from_pretrained(folder)
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig.from_dict({**fields, "margin": "much"})


def test_another_base_model_is_refused_unless_asked_for(folder, classifier, caplog, monkeypatch):
    with torch.no_grad():
        next(classifier.parameters()).add_(0.5)
    with pytest.raises(DiffMaskError, match=r"weights fingerprint .* instead of .*allow_base_mismatch=True"):
        DiffMaskModel.from_pretrained(folder, base_model=classifier)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    DiffMaskModel.from_pretrained(folder, base_model=classifier, allow_base_mismatch=True)
    assert "weights fingerprint" in caplog.text and "Verify every explanation" in caplog.text
    classifier.resize_token_embeddings(20)
    with pytest.raises(DiffMaskError, match="vocabulary 20 instead of 15108"):
        DiffMaskModel.from_pretrained(folder, base_model=classifier, allow_base_mismatch=True)


def test_limits_that_cannot_be(folder):
    with pytest.raises(DiffMaskError, match="--limit must be at least 1, but is 0"):
        find(limit=0)
    with pytest.raises(DiffMaskError, match="--timeout must be greater than 0, but is 0"):
        push(folder, "acme/explainer", timeout=0)


def test_only_what_is_named_is_published(folder):
    for name in (".env", "optimizer.pt", "notes.txt", "training_args.bin", "model.pkl"):
        (folder / name).write_text("hf_secret")
    (folder / "checkpoint-5").mkdir()
    for name in ("model.safetensors", "plot.png"):  # which a pattern would match in any folder
        (folder / "checkpoint-5" / name).write_text("old")
    ours = {"explainer_results.json", "model.safetensors", "sparsity_divergence.png", "tokenizer.json"}
    assert set(published(folder)) == {*ours, "tokenizer_config.json"}


def test_what_the_hub_says_of_a_card_is_passed_on_without_the_token():
    def refuse():
        raise ValueError("Invalid metadata in README.md.\n- license must be one of ... (asked with hf_abc123, key-1)")

    with pytest.raises(DiffMaskError, match=r"license must be one of .* \(asked with hf_\.\.\., hf_\.\.\.\)"):
        persist(refuse, Path("explainer"), "acme/explainer", "key-1")


def test_two_cards_that_were_written_into():
    generated = (
        "---\ntags: [diffmask]\n---\n\n<!-- hf-diffmask: begin summary -->\nNew\n<!-- hf-diffmask: end summary -->\n"
    )
    old = generated.replace("New", "Old")
    mine, theirs = f"{old}\nMine.\n", f"{old}\nTheirs.\n"
    assert "Theirs." in (card := merged_card(old, theirs, generated)) and "New" in card and "Old" not in card
    assert "Mine." in merged_card(mine, old, generated) and merged_card("", "", generated).count("New") == 1
    with pytest.raises(DiffMaskError, match="Both the card in the folder and the one on the Hub"):
        merged_card(mine, theirs, generated)
    assert "Theirs." not in (card := merged_card(mine, theirs, generated, overwrite=True)) and "Mine." in card
