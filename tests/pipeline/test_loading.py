"""An explainer loads as a pipeline; a failure is an error of one sentence."""

import json

import pytest

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.pipeline.loading import load_pipeline


def test_the_bundled_explainer_by_default(folder):
    text = "a warm and quietly funny film"
    default, named = load_pipeline(None), load_pipeline(str(folder), device="cpu")
    assert type(default) is type(named) is hf_diffmask.DiffMaskAttributionPipeline
    assert default(text) == named(text) and load_pipeline("").model.name_or_path == hf_diffmask.BUNDLED_EXPLAINER


def spoil_config(folder):
    (folder / "config.json").write_text("{")


def spoil_margin(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "margin": "much"}))


def spoil_type(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nobody-knows"}))


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_config, "config.json of {} cannot be read as JSON ("),
        (spoil_margin, "The config cannot be used (Field 'margin' with value 'much'"),
        (spoil_type, "{} is a model of type 'nobody-knows', not an explainer: "),
    ],
)
def test_what_is_wrong_with_its_files_is_said(folder, spoil, says):
    spoil(folder)
    with pytest.raises(DiffMaskError) as error:
        load_pipeline(str(folder))
    assert str(error.value).startswith(says.format(folder)) and "\n" not in str(error.value)


@pytest.mark.parametrize("spoil", [without_weights, emptied])
def test_what_cannot_be_loaded_is_one_sentence(folder, spoil):
    spoil(folder)
    with pytest.raises(DiffMaskError) as error:
        load_pipeline(str(folder))
    said = str(error.value)
    lead = f"The explainer {folder} cannot be loaded: name a folder that `hf-diffmask train` wrote, or a Hub id that "
    assert said.startswith(f"{lead}can be reached (") and said.endswith(").") and "\n" not in said
    assert error.value.__cause__ is not None


def test_an_id_that_cannot_be_reached():
    with pytest.raises(DiffMaskError, match="The explainer acme/none cannot be loaded"):
        load_pipeline("acme/none")


def test_what_is_already_one_sentence_stays_as_it_is():
    with pytest.raises(DiffMaskError, match=r"^\S+ is a BertForSequenceClassification, not an explainer"):
        load_pipeline(hf_diffmask.BUNDLED_CLASSIFIER)
