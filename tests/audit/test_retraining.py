"""Explainers for comparison train like the audited one; explainers of another kind are refused."""

import json

import pytest
import torch

from hf_diffmask import BUNDLED_EXPLAINER, DiffMaskError, DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.audit.explained import masking_everything
from hf_diffmask.audit.retraining import (
    arguments_like,
    check_comparable,
    margin_alike,
    retired_settings,
    settings_of,
)
from hf_diffmask.audit.thresholds import ROUNDING
from tests.audit.helpers import TEXTS

SETTINGS = {
    "recipe": "paper", "margin": 0.2, "max_steps": 7, "per_device_train_batch_size": 4, "learning_rate": 0.5,
    "seed": 3, "masking": "input", "global_batch_size": 12,
}  # fmt: skip


def test_settings_are_read_from_beside_the_explainer(tmp_path):
    (tmp_path / "training_args.json").write_text(json.dumps(SETTINGS))
    assert settings_of(str(tmp_path)) == SETTINGS
    (tmp_path / "training_args.json").write_text("{")
    with pytest.raises(DiffMaskError, match=r"^training_args.json of .* cannot be read as JSON \(Expecting"):
        settings_of(str(tmp_path))
    for without in (None, BUNDLED_EXPLAINER):
        with pytest.raises(DiffMaskError, match=r"has no training_args\.json"):
            settings_of(without)


def test_settings_of_a_retired_recipe_train_nothing(classifier, tmp_path):
    assert retired_settings(SETTINGS) is None and retired_settings({}) is None
    said = retired_settings({**SETTINGS, "recipe": "path"})
    assert said == (
        "Training explainers to compare with needs the recipe 'path', which trains no explainers any more, only its "
        "saved explainers still load: train with --recipe ablation."
    )
    with pytest.raises(DiffMaskError, match=r"^The recipe 'path' trains no explainers any more"):
        arguments_like({**SETTINGS, "recipe": "path"}, tmp_path, 9, classifier)


def test_arguments_are_those_of_the_other_run_in_one_process(classifier, tmp_path):
    args = arguments_like(SETTINGS, tmp_path, 9, classifier)
    assert (args.recipe, args.margin, args.max_steps, args.learning_rate) == ("paper", 0.2, 7, 0.5)
    assert (args.seed, args.output_dir, args.use_cpu) == (9, str(tmp_path), True)
    assert args.gradient_accumulation_steps == 3, "12 examples a step, in parts of 4"
    with pytest.raises(DiffMaskError, match="does not say for how many epochs"):
        arguments_like({**SETTINGS, "max_steps": -1}, tmp_path, 9, classifier)
    for wrong in ({"max_steps": "many"}, {"per_device_train_batch_size": 0}, {"global_batch_size": []}):
        with pytest.raises(DiffMaskError, match=r"^The settings in training_args.json cannot be used \("):
            arguments_like({**SETTINGS, **wrong}, tmp_path, 9, classifier)
    with pytest.raises(DiffMaskError, match="does not say for how many epochs"):
        arguments_like({}, tmp_path, 9, classifier)
    epochs = arguments_like({**SETTINGS, "max_steps": -1, "num_train_epochs": 2.0}, tmp_path, 9, classifier)
    assert (epochs.max_steps, epochs.num_train_epochs) == (-1, 2.0)


def test_what_cannot_be_compared_is_refused(explainer, classifier, tokenizer):
    with torch.no_grad():
        seed = DiffMaskModel.from_base_model(classifier, tokenizer)
        seed.probes.out_weight.normal_()
        random = DiffMaskModel.from_base_model(type(classifier)(classifier.config), tokenizer)
    check_comparable(explainer, "it", seed, same_base=True)
    check_comparable(explainer, "it", random, same_base=False)
    hidden = DiffMaskModel.from_base_model(classifier, tokenizer, masking="hidden")
    for other, same_base, message in (
        (random, True, "it is an explainer for another base model: compare seeds for the same"),
        (seed, False, "it is an explainer for the same base model, and no random one"),
        (hidden, True, "it is an explainer of another kind: it differs in masking"),
        (explainer, True, "it is the same explainer as --model: it tells nothing about seeds"),
    ):
        with pytest.raises(DiffMaskError, match=message):
            check_comparable(explainer, "it", other, same_base)


def test_the_margin_of_another_base_model_is_the_same_part_of_what_there_is_to_lose(
    explainer, classifier, tokenizer, inputs, tmp_path
):
    torch.manual_seed(3)
    other = type(classifier)(classifier.config).eval()
    made = DiffMaskModel.from_base_model(other, tokenizer).eval()
    before = made.baseline.clone()
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), baseline_steps=3, use_cpu=True, disable_tqdm=True)
    found = margin_alike(explainer, made, tokenizer, TEXTS, inputs, args)
    assert not torch.equal(before, made.baseline), "the baseline is learned before the loss is measured"
    own, real = (masking_everything(one, tokenizer, inputs) for one in (made, explainer))
    assert own < real / 100
    assert found == pytest.approx(explainer.config.margin * max(own, ROUNDING) / real, rel=0.01)
