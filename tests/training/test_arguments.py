"""Recipes fill in missing settings; settings that cannot be used are refused."""

import json

import pytest

from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskTrainingArguments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0.0}, "margin must be greater than 0"),
        ({"margin": -1.0}, "margin"),
        ({"recipe": "slow"}, "must be one of ablation, paper, but is 'slow'"),
        ({"recipe": "path"}, "^The recipe 'path' trains no explainers any more, only its saved explainers still load"),
        ({"recipe": "fast"}, "^The recipe 'fast' .*: train with --recipe ablation.$"),
        ({"baseline_steps": -1}, "baseline_steps must be 0 or more"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, settings, message):
    with pytest.raises(DiffMaskError, match=message):
        DiffMaskTrainingArguments(output_dir=str(tmp_path), **settings)


def test_recipes_fill_in_what_is_not_set(tmp_path):
    paper = DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe="paper", learning_rate=0.5)
    assert paper.learning_rate == 0.5 and paper.warmup_steps == 1200 and paper.per_device_train_batch_size == 64
    assert paper.eval_delay == 1500
    assert DiffMaskTrainingArguments(output_dir=str(tmp_path)).recipe == "ablation"
    epochs = DiffMaskTrainingArguments(output_dir=str(tmp_path), num_train_epochs=2)
    assert epochs.max_steps == -1 and epochs.num_train_epochs == 2
    settings = paper.settings(DiffMaskConfig(masking="hidden", initial_logit=4.0))
    assert "output_dir" not in settings and json.dumps(settings)
    assert (settings["masking"], settings["initial_logit"], settings["learning_rate"]) == ("hidden", 4.0, 0.5)
