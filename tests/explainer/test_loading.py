"""An explainer loads by name; each thing that is wrong with its files is one sentence, in each command as well."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.errors import PipelineError
from hf_diffmask.explainer.guest import load_base
from hf_diffmask.explainer.loading import load_explainer
from hf_diffmask.pipeline.loading import load_pipeline
from tests.explainer.helpers import changed, indexed
from tests.helpers import refused


def cut(folder):
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()  # mapped into memory
    (folder / "model.safetensors").write_bytes(good[: len(good) // 2])


def reshaped(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "baseline": torch.zeros(7)}, folder / "model.safetensors", metadata={"format": "pt"})


def lacking(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["baseline"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


CASES = {
    "pickle": (lambda folder: indexed(folder, "pytorch_model.bin"), "names 'pytorch_model.bin' as weights"),
    "above": (lambda folder: indexed(folder, "../other.safetensors"), "names '../other.safetensors' as weights"),
    "absolute": (lambda folder: indexed(folder, f"{folder.parent}/o.safetensors"), "' as weights: only safetensors"),
    "cut": (cut, "are damaged (model.safetensors: Error while deserializing header"),
    "reshaped": (reshaped, "config: baseline has the shape [7] instead of [128];"),
    "lacking": (lacking, "do not match its config: baseline missing or unknown;"),
    "labels": (lambda folder: changed(folder, num_labels=10**9), "`num_labels` of the config of "),
    "states": (lambda folder: changed(folder, state_names=["a"] * 10**5), "a list of at most 4,096 names"),
    "wide": (lambda folder: changed(folder, hidden_size=100_000), "has the shape"),
    "margin": (lambda folder: changed(folder, margin="much"), "The config cannot be used (Field 'margin'"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_of_loading_keeps_the_cause(folder, case, capsys, monkeypatch):
    monkeypatch.setattr(torch, "load", None)  # never called
    spoil, says = CASES[case]
    spoil(folder)
    name = str(folder)
    for load in (DiffMaskModel.from_pretrained, AutoModel.from_pretrained, load_explainer, load_pipeline):
        with pytest.raises(DiffMaskError) as error:
            load(name)
        assert says in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 700
    with pytest.raises((DiffMaskError, PipelineError)) as inside:
        pipeline(hf_diffmask.TASK, model=name)
    assert says in str(inside.value) and "\n" not in str(inside.value)
    for command in (["explain", "--model", name, "dull"], ["card", name], ["push", name, "acme/x"]):
        refused(capsys, command, says)


def test_other_commands_that_load_explainers(folder, tmp_path, capsys):
    indexed(folder, "pytorch_model.bin")
    (tmp_path / "data.csv").write_text("text\na dull film\na warm film\n")
    data = ["--dataset", str(tmp_path / "data.csv"), "--output_dir", str(tmp_path / "out")]
    for command in ("evaluate", "audit", "analyze"):
        refused(capsys, [command, "--model", str(folder), *data], "names 'pytorch_model.bin' as weights")
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read as JSON (Expecting"), ("[]", "holds a list"), ("7", "holds 7"), ("null", "holds None"),
        ("[" * 100_000, "cannot be read as JSON (maximum recursion"), ("\xff", "cannot be read as JSON ('utf-8'"),
    ],
)  # fmt: skip
def test_malformed_json_is_one_sentence_with_the_name_of_the_file(folder, text, says, capsys):
    for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):  # the last is read first
        (folder / file).write_text(text, encoding="latin-1")
        with pytest.raises(DiffMaskError) as error:
            load_pipeline(str(folder))
        assert str(error.value).startswith(f"{file} of {folder} {says}") and "\n" not in str(error.value)
    for load in (DiffMaskModel.from_pretrained, load_explainer):
        with pytest.raises(DiffMaskError, match=f"^config.json of {folder} "):
            load(str(folder))
    refused(capsys, ["card", str(folder)], f"config.json of {folder} ")


@pytest.mark.parametrize("text", ['{"model_type": ["diffmask"]}', '{"model_type": "diffmask", "auto_map": 3}', "{}"])
def test_a_config_of_the_wrong_shape_is_one_sentence(folder, text, capsys):
    (folder / "config.json").write_text(text)
    message = refused(capsys, ["explain", "--model", str(folder), "dull"])
    assert str(folder) in message and message == refused(capsys, ["card", str(folder)])


def test_names_of_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"x")
    for name in (str(tmp_path / "gone"), "./gone", "../gone", "~/gone", "a/b/c", "a b", "acme/x@main"):
        why = "(there is no folder of this name, and no repository on the Hub can have it)."
        refused(capsys, ["explain", "--model", name, "dull"], f"The explainer {name} cannot be loaded: name a ", why)
        with pytest.raises(DiffMaskError) as error:
            load_base(name)
        assert str(error.value) == f"The base model {name} cannot be loaded {why}"
    for name, says in {"acme/gone": "(", "empty": "(it holds no config.json)."}.items():
        refused(capsys, ["explain", "--model", name, "dull"], f"The explainer {name} cannot be loaded: ", says)
    refused(capsys, ["explain", "--model", "file.bin", "dull"], "file.bin is a file: name the folder that holds it.")


def test_another_model_is_refused_before_its_weights_are_read(tmp_path, capsys):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").unlink()
    said = f"{tmp_path / 'bert'} is a BertForSequenceClassification, not an explainer: train an explainer for it"
    with pytest.raises(DiffMaskError, match=said):
        load_explainer(tmp_path / "bert")
    from hf_diffmask_entry import main

    assert main(["explain", "--model", hf_diffmask.BUNDLED_CLASSIFIER, "dull"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1 and "not an explainer" in printed.err


def test_options_of_loading_are_passed_on(folder, classifier):
    assert load_explainer(folder, base_model=classifier).base is classifier
    assert load_explainer(str(folder), dtype=torch.float16).dtype == torch.float16
    assert json.loads((folder / "config.json").read_text())["model_type"] == "diffmask"
