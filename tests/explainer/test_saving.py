"""A saved explainer names its base model without the weights, and is checked on loading."""

import hashlib
import json
import os
import shutil
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskModel
from hf_diffmask.pipeline.loading import load_pipeline


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
    changed = {**tensors, "baseline": tensors["baseline"] / 0}
    save_file(changed, weights, metadata={"format": "pt"})
    with pytest.raises(DiffMaskError, match="not those that were saved with its config"):
        DiffMaskModel.from_pretrained(folder)
    # Configs of earlier versions hold no hash of the weights.
    config.write_text(json.dumps({name: value for name, value in fields.items() if name != "weights_digest"}))
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
    [("explainer", "../base"), ("deep/er", "../../base"), ("base/explainer", "../"), (".", "./base")],
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


def links(tmp_path):
    """A base model and an explainer in `store`, and links to both places."""
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "store" / "classifier")
    shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, tmp_path / "store" / "deep" / "explainer")
    config = tmp_path / "store" / "deep" / "explainer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "../../classifier"}))
    (tmp_path / "elsewhere" / "far").mkdir(parents=True)


@pytest.mark.parametrize("linked", ["explainer", "parent"])
def test_an_explainer_behind_a_link_finds_its_base(tmp_path, batch, linked):
    links(tmp_path)
    if linked == "explainer":
        (tmp_path / "elsewhere" / "far" / "link").symlink_to(tmp_path / "store" / "deep" / "explainer")
        folder = tmp_path / "elsewhere" / "far" / "link"
    else:
        (tmp_path / "elsewhere" / "far" / "link").symlink_to(tmp_path / "store" / "deep")
        folder = tmp_path / "elsewhere" / "far" / "link" / "explainer"
    loaded = DiffMaskModel.from_pretrained(folder)
    assert loaded.guest.location == str(tmp_path / "store" / "classifier")
    assert loaded(**batch).target.shape == (3, 2)


def test_a_link_beside_another_base_finds_that_base(tmp_path, batch):
    """Both are linked into one folder, and lie in places of their own."""
    shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, tmp_path / "a" / "one")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "explainer").symlink_to(tmp_path / "a" / "one")
    (tmp_path / "models" / "classifier").symlink_to(hf_diffmask.BUNDLED_CLASSIFIER)
    loaded = DiffMaskModel.from_pretrained(tmp_path / "models" / "explainer")
    assert loaded.guest.location == str(tmp_path / "models" / "classifier") and loaded(**batch).target.shape == (3, 2)


def test_an_explainer_saved_through_a_link_finds_its_base(tmp_path, tokenizer, batch):
    links(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "far")
    (tmp_path / "base").symlink_to(tmp_path / "store" / "classifier")
    (tmp_path / "to-store").symlink_to(tmp_path / "store")
    for place, named in (
        (tmp_path / "store" / "classifier", "../../../store/classifier"),
        (tmp_path / "to-store" / "classifier", "../../../store/classifier"),
        (tmp_path / "base", "../../../base"),  # the base model's own link stays: it may be moved
    ):
        explainer = DiffMaskModel.from_base_model(
            AutoModelForSequenceClassification.from_pretrained(place), tokenizer
        ).eval()
        explainer.save_pretrained(tmp_path / "link" / "new")
        config = json.loads((tmp_path / "elsewhere" / "far" / "new" / "config.json").read_text())
        assert config["base_model_name_or_path"] == named
        for folder in (tmp_path / "link" / "new", tmp_path / "elsewhere" / "far" / "new"):
            assert torch.equal(DiffMaskModel.from_pretrained(folder)(**batch).target, explainer(**batch).target)


def test_on_another_drive_the_path_stays_absolute(tmp_path, tokenizer, monkeypatch):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "base")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    explainer = DiffMaskModel.from_base_model(base, tokenizer).eval()

    def relpath(*_):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    # Only Windows has drives, so what it says is a stand-in here.
    monkeypatch.setattr(os.path, "relpath", relpath)
    explainer.save_pretrained(tmp_path / "explainer")
    monkeypatch.undo()
    config = json.loads((tmp_path / "explainer" / "config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    assert DiffMaskModel.from_pretrained(tmp_path / "explainer").base is not None


def test_who_may_read_the_config_may_read_the_weights(explainer, tmp_path):
    before = os.umask(0o027)
    try:
        explainer.save_pretrained(tmp_path / "new")
    finally:
        os.umask(before)
    for name in ("config.json", "model.safetensors"):
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o640


def saved_with_digest(explainer, folder, **options):
    """Saves an explainer; returns the digest in its config."""
    explainer.save_pretrained(folder, **options)
    return json.loads((folder / "config.json").read_text())["weights_digest"]


def test_weights_are_those_that_were_saved_with_the_config(explainer, batch, tmp_path):
    folder = tmp_path / "explainer"
    saved = saved_with_digest(explainer, folder)
    tensors = load_file(folder / "model.safetensors")
    wanted = hashlib.sha256()
    for name in sorted(tensors):
        wanted.update(json.dumps([name, "torch.float32", list(tensors[name].shape)]).encode())
        wanted.update(tensors[name].numpy().tobytes())
    assert saved == wanted.hexdigest() and explainer.config.weights_digest is None
    loaded = DiffMaskModel.from_pretrained(folder)
    assert torch.equal(loaded(**batch).keep_probability, explainer(**batch).keep_probability)
    assert loaded.config.weights_digest is None, "weights in memory may change"
    # Another precision of loading is no other file.
    for dtype in (torch.float16, torch.float64):
        assert DiffMaskModel.from_pretrained(folder, dtype=dtype).dtype == dtype
    # One bit of one value.
    bits = tensors["baseline"].clone().view(torch.int32)
    bits[3] ^= 1
    changed = {**tensors, "baseline": bits.view(torch.float32)}
    (folder / "model.safetensors").unlink()
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    for load in (DiffMaskModel.from_pretrained, AutoModel.from_pretrained, load_pipeline):
        with pytest.raises(
            DiffMaskError, match=r"^The weights of .* are not those that were saved with its config: get"
        ):
            load(str(folder))
    # A config that was edited by hand still loads, and so does one without a digest.
    fields = json.loads((folder / "config.json").read_text())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**fields, "margin": 0.25}))
    assert DiffMaskModel.from_pretrained(folder).margin() == 0.25
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    del fields["weights_digest"]
    (folder / "config.json").write_text(json.dumps(fields))
    assert torch.equal(DiffMaskModel.from_pretrained(folder).baseline, changed["baseline"])


def test_the_digest_of_shards_of_other_precisions_and_of_given_weights(explainer, classifier, tmp_path):
    whole = saved_with_digest(explainer, tmp_path / "whole")
    assert saved_with_digest(explainer, tmp_path / "parts", max_shard_size="20KB") == whole
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 2
    assert saved_with_digest(explainer, tmp_path / "variant", variant="fp16") == whole
    DiffMaskModel.from_pretrained(tmp_path / "variant", variant="fp16")
    given = {name: value + 1 for name, value in explainer.state_dict().items()}
    assert saved_with_digest(explainer, tmp_path / "given", state_dict=given) not in (whole, None)
    half = DiffMaskModel.from_pretrained(tmp_path / "whole").half()
    assert saved_with_digest(half, tmp_path / "half") != whole
    for name in ("parts", "given", "half"):
        assert torch.isfinite(DiffMaskModel.from_pretrained(tmp_path / name, base_model=classifier).baseline).all()
    # Shards are exchanged with those of another explainer.
    shard = next((tmp_path / "parts").glob("model-00001-*"))
    tensors = {name: value + 1 for name, value in load_file(shard).items()}
    shard.unlink()
    save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(DiffMaskError, match="are not those that were saved with its config"):
        DiffMaskModel.from_pretrained(tmp_path / "parts")


def test_weights_that_change_after_loading_can_be_saved_again(explainer, tmp_path):
    explainer.save_pretrained(tmp_path / "one")
    loaded = DiffMaskModel.from_pretrained(tmp_path / "one")
    with torch.no_grad():
        loaded.baseline += 1
    loaded.save_pretrained(tmp_path / "two")
    assert torch.equal(DiffMaskModel.from_pretrained(tmp_path / "two").baseline, loaded.baseline)
    # Config and weights saved by hand, without a digest.
    loaded.config.save_pretrained(tmp_path / "three")
    save_file(loaded.state_dict(), tmp_path / "three" / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(DiffMaskModel.from_pretrained(tmp_path / "three").baseline, loaded.baseline)
