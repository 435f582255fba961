"""A refused explainer is one sentence in `transformers.pipeline` as well."""

import pytest
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.errors import PipelineError


def test_the_cause_is_not_hidden_behind_the_classes_that_were_tried(folder):
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(good[:-4])
    with pytest.raises(PipelineError) as error:
        pipeline(hf_diffmask.TASK, model=str(folder))
    said = str(error.value)
    assert said.startswith(f"The weights of {folder} are damaged (model.safetensors: ") and "\n" not in said
    assert isinstance(error.value.__cause__, DiffMaskError)


def test_another_model_is_refused_by_the_pipeline():
    with pytest.raises(DiffMaskError, match="is a BertForSequenceClassification, not an explainer"):
        pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_CLASSIFIER)
