"""A base model is loaded from checked files: what does not fit its config is refused before it takes memory."""

import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.explainer.base_files import read_base, without_report
from hf_diffmask.explainer.guest import load_base, load_tokenizer
from tests.explainer.helpers import changed, indexed
from tests.helpers import ARCHITECTURES, build


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A copy of the bundled classifier. A pickle cannot be read."""
    monkeypatch.setattr(torch, "load", None)
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "base")
    return tmp_path / "base"


def read(folder, dtype="float32"):
    return read_base(AutoModelForSequenceClassification, str(folder), dtype)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "gru"])
def test_every_family_is_read_as_transformers_reads_it(tmp_path, name):
    if name == "gru":
        from hf_diffmask.testbeds.gru import GruConfig, GruForSequenceClassification

        model = GruForSequenceClassification(GruConfig(vocab_size=60, embedding_size=8, hidden_size=16))
    else:
        model = build(name)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    found, missing, _ = read(tmp_path)
    assert not missing and type(found) is type(model)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.state_dict().items())


def test_files_that_are_refused(base):
    for name in ("pytorch_model.bin", "../other.safetensors", str(base.parent / "other.safetensors")):
        copy = shutil.copytree(base, base.parent / f"copy-{len(name)}")
        indexed(copy, name)
        for load in (load_base, read):
            with pytest.raises(
                DiffMaskError, match=f"^model.safetensors.index.json of {copy} names '{name[:80]}' as weights"
            ):
                load(str(copy))
    changed(base, transformers_weights="adapter_model.bin")
    torch.save(load_file(base / "model.safetensors"), base / "adapter_model.bin")
    with pytest.raises(DiffMaskError, match=r"^config.json of .* names 'adapter_model.bin' as weights"):
        read(base)


def test_a_base_model_that_has_only_pickles_is_refused_as_ever(base):
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(DiffMaskError, match=r"The base model .* cannot be loaded \(.*no file named model.safetensors"):
        load_base(str(base))


def test_damage_keeps_its_cause_and_prints_no_report(base, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    weights = base / "model.safetensors"
    good = weights.read_bytes()
    tensors = load_file(weights)
    weights.unlink()  # mapped into memory
    weights.write_bytes(good[:-1])
    with pytest.raises(DiffMaskError, match=r"^The weights of the base model .* are damaged \(model.safetensors: "):
        load_base(str(base))
    wider = {**tensors, "classifier.bias": torch.zeros(3)}
    save_file(wider, weights, metadata={"format": "pt"})
    with pytest.raises(
        DiffMaskError, match=r"match its config: classifier.bias has the shape \[3\] instead of \[2\];"
    ):
        load_base(str(base))
    del tensors["classifier.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    assert read(base)[1] == {"classifier.bias"}
    with pytest.raises(DiffMaskError, match=r"is not trained: its weights lack classifier.bias. Fine-tune it first"):
        load_base(str(base))
    assert "LOAD REPORT" not in caplog.text
    with without_report():
        logging.getLogger("transformers.modeling_utils").warning("another warning")
    assert "another warning" in caplog.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"num_labels": 10**9, "id2label": None}, "`num_labels` of the config of the base model .* from 0 to 100,000"),
        ({"num_hidden_layers": 10**6}, "`num_hidden_layers` of the config of the base model .* from 0 to 4,096"),
        ({"intermediate_size": -1}, "`intermediate_size` of the config of the base model .* but is -1"),
        ({"hidden_size": 40_000}, r"asks for [0-9,]{14,} weights, and its files have [0-9,]{9} bytes: get both again"),
        ({"vocab_size": 16_000_000}, "asks for [0-9,]{13,} weights, and its files have"),
        ({"attn_implementation": "org/kernel"}, "names code on the Hub, which is not run"),
    ],
)
def test_counts_are_bounded_before_anything_is_built(base, fields, says, monkeypatch):
    changed(base, **fields)
    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", None)
    for load in (load_base, read):
        with pytest.raises(DiffMaskError, match=says):
            load(str(base))


def test_code_beside_a_base_model_is_not_run(base, monkeypatch):
    (base / "trap.py").write_text(f"open({str(base / 'run')!r}, 'w')")
    changed(base, model_type="trap", auto_map={"AutoConfig": "trap.C", "AutoModelForSequenceClassification": "trap.M"})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(DiffMaskError, match="needs code of its own repo, which is not run"):
        load_base(str(base))
    assert not (base / "run").exists()


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff"])
def test_malformed_files_of_a_tokenizer_are_named(base, file, text):
    (base / file).write_text(text, encoding="latin-1")
    with pytest.raises(DiffMaskError) as error:
        load_tokenizer(str(base))
    assert str(error.value).startswith(f"{file} of {base} ") and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{}", '{"model": 3}', '{"added_tokens": [], "model": {"type": "WordPiece"}}'])
def test_a_tokenizer_of_the_wrong_shape_is_one_sentence(base, text):
    (base / "tokenizer.json").write_text(text)
    with pytest.raises(DiffMaskError) as error:
        load_tokenizer(str(base))
    assert str(error.value).startswith(f"The tokenizer of {base} cannot be loaded (") and "\n" not in str(error.value)
