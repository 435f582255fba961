"""A saved explainer names its base model without the weights, and is checked on loading."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskModel


def test_saved_explainer_holds_no_base_and_reloads_identically(explainer, batch, tmp_path):
    explainer.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    size = sum(parameter.numel() for parameter in explainer.parameters()) * 4
    assert (tmp_path / "model.safetensors").stat().st_size < size + 2000
    for loaded in (DiffMaskModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, DiffMaskModel)
        assert loaded.guest._base is None, "the base must not be loaded before it is needed"
        assert torch.equal(loaded(**batch).keep_probability, explainer(**batch).keep_probability)
        assert torch.equal(loaded(**batch).target, explainer(**batch).target)


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
    torch.save(tensors, folder / "pytorch_model.bin")  # harmless, but never opened
    with pytest.raises(OSError, match="safetensors"):
        DiffMaskModel.from_pretrained(folder)
    weights.write_bytes(good)
    config.write_text(json.dumps({**fields, "run_this": "import os"}))
    with pytest.raises(DiffMaskError, match=r"does not know \(run_this\)"):
        DiffMaskModel.from_pretrained(folder)
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig.from_dict({**fields, "margin": "much"})


@pytest.mark.parametrize(
    ("folder", "named"),
    [("explainer", "../base"), ("deep/er", "../../base"), ("base/explainer", "./.."), (".", "./base")],
)
def test_a_base_model_in_a_folder_is_named_from_where_the_explainer_lies(tmp_path, tokenizer, batch, folder, named):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "base")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    explainer = DiffMaskModel.from_base_model(base, tokenizer).eval()
    explainer.save_pretrained(tmp_path / folder)
    assert json.loads((tmp_path / folder / "config.json").read_text())["base_model_name_or_path"] == named
    assert explainer.config.base_model_name_or_path == str(tmp_path / "base"), "the path in memory stays"
    loaded = DiffMaskModel.from_pretrained(tmp_path / folder)
    assert torch.equal(loaded(**batch).target, explainer(**batch).target)


def test_what_loading_found_is_handed_out_on_request(folder):
    loaded, info = DiffMaskModel.from_pretrained(folder, output_loading_info=True)
    assert isinstance(loaded, DiffMaskModel) and not loaded.training
    assert not info["missing_keys"] and not info["unexpected_keys"]


def test_options_of_the_hub_hold_for_the_base_model_too(folder, tmp_path):
    options = {"token": "hf_test", "cache_dir": str(tmp_path / "cache"), "local_files_only": True}
    loaded = DiffMaskModel.from_pretrained(folder, **options, revision="main")
    assert loaded.guest.hub_options == options and loaded.guest.revision is None


def test_a_given_base_model_is_held_and_never_copied(explainer, classifier, tmp_path, monkeypatch):
    explainer.save_pretrained(tmp_path)

    def refuse(self, memo):
        raise AssertionError("copied")

    monkeypatch.setattr(type(classifier), "__deepcopy__", refuse, raising=False)
    assert DiffMaskModel.from_pretrained(tmp_path, base_model=classifier).base is classifier
