"""The base model is found, checked, and not changed."""

import copy
import json
import logging
import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.explainer.guest import load_base
from tests.helpers import build


def test_base_is_no_part_of_the_explainer(explainer):
    assert not any("bert" in name for name, _ in explainer.named_parameters())
    assert not any("bert" in name for name in explainer.state_dict())
    explainer.train()
    assert not explainer.base.training


def test_injected_base_is_never_moved_or_retyped(explainer, classifier, batch):
    explainer.half().float()
    assert classifier.dtype == torch.float32 and explainer.base is classifier
    explainer.to("meta")
    with pytest.raises(DiffMaskError, match="move one of them"):
        explainer.base  # noqa: B018
    assert classifier.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lazy_base_is_loaded_in_the_precision_of_training(tokenizer, batch, tmp_path, dtype):
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER, dtype=dtype)
    model = DiffMaskModel.from_base_model(base, tokenizer)
    model.save_pretrained(tmp_path)
    loaded = DiffMaskModel.from_pretrained(tmp_path)
    assert loaded.base.dtype == dtype and loaded.dtype == torch.float32
    torch.testing.assert_close(loaded(**batch).keep_probability, model(**batch).keep_probability)


def test_explainer_inside_the_folder_of_its_base(tmp_path, batch, monkeypatch):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "base")
    model = DiffMaskModel.from_base_model(AutoModelForSequenceClassification.from_pretrained(tmp_path / "base"))
    monkeypatch.chdir(tmp_path.parent)
    for folder in ("base/explainer", ".hidden", "."):
        model.save_pretrained(tmp_path / folder)
        loaded = DiffMaskModel.from_pretrained(tmp_path / folder)
        assert torch.equal(loaded(**batch).target, model(**batch).target)


def test_explainer_of_a_half_precision_base(classifier, tokenizer, batch):
    expected = DiffMaskModel.from_base_model(classifier, tokenizer)
    half = DiffMaskModel.from_base_model(classifier.bfloat16(), tokenizer)
    half.load_state_dict(expected.state_dict())
    output = half(**batch)
    assert output.keep_probability.dtype == torch.float32 and output.target.dtype == torch.float32


def test_relative_base_resolves_against_the_folder_of_the_explainer(explainer, batch, tmp_path, monkeypatch):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "there" / "base")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "there" / "base")
    model = DiffMaskModel.from_base_model(base)
    model.save_pretrained(tmp_path / "there" / "explainer")
    config = json.loads((tmp_path / "there" / "explainer" / "config.json").read_text())
    assert config["base_model_name_or_path"] == "../base"
    # Both folders move together; the working directory is a different folder.
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    loaded = DiffMaskModel.from_pretrained("elsewhere/explainer")
    assert torch.equal(loaded(**batch).keep_probability, model(**batch).keep_probability)
    # A second save writes a path relative to the new folder.
    loaded.save_pretrained(tmp_path / "copy")
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert config["base_model_name_or_path"] == "../elsewhere/base"


def test_another_base_is_refused_with_what_differs(explainer, tmp_path):
    explainer.save_pretrained(tmp_path / "explainer")
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    with torch.no_grad():
        base.classifier.bias += 1
    with pytest.raises(DiffMaskError, match="weights fingerprint"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer", base_model=base)
    config = copy.deepcopy(base.config)
    config.num_hidden_layers -= 1
    config.vocab_size += 10
    smaller = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(DiffMaskError, match=r"number of states \d+ instead of \d+.*vocabulary \d+ instead of \d+"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer", base_model=smaller)
    # A lazily loaded base is checked as well.
    base.save_pretrained(tmp_path / "wrong")
    explainer_config = json.loads((tmp_path / "explainer" / "config.json").read_text())
    explainer_config["base_model_name_or_path"] = "../wrong"
    (tmp_path / "explainer" / "config.json").write_text(json.dumps(explainer_config))
    with pytest.raises(DiffMaskError, match="not the one that the explainer was trained for"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer").base  # noqa: B018


def test_missing_base_is_one_sentence(explainer, tmp_path):
    explainer.config.base_model_name_or_path = "./gone"
    explainer.guest.location = "./gone"
    explainer.save_pretrained(tmp_path)
    with pytest.raises(DiffMaskError, match=r"base model .* cannot be loaded: put it there"):
        DiffMaskModel.from_pretrained(tmp_path).base  # noqa: B018


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


def test_the_precision_of_a_base_is_float32_or_asked_for(tmp_path):
    build("bert").bfloat16().save_pretrained(tmp_path)
    found = {dtype: load_base(str(tmp_path), dtype=dtype)[0].dtype for dtype in ("auto", "float32", "float16")}
    assert found == {"auto": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}
    assert load_base(str(tmp_path))[0].dtype == torch.float32
