"""Constants for regression are mean and variance of the base model's numbers; other tasks run nothing."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.data.features import Features, TextFeatures, collate
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training import constants
from hf_diffmask.training.constants import measure_constants


@pytest.fixture
def regressor(tokenizer):
    """An explainer for regression: the bundled classifier with a new head of one row."""
    base = AutoModelForSequenceClassification.from_pretrained(
        hf_diffmask.BUNDLED_CLASSIFIER, num_labels=1, ignore_mismatched_sizes=True
    ).eval()
    with torch.no_grad():
        base.classifier.weight.copy_(torch.linspace(-1, 1, base.classifier.weight.shape[1])[None])
    return DiffMaskModel.from_base_model(base, tokenizer)


def arguments(folder, **settings):
    return DiffMaskTrainingArguments(output_dir=str(folder), use_cpu=True, **settings)


def numbers_of(explainer, tokenizer, texts):
    with torch.no_grad():
        return torch.cat([explainer.base(**tokenizer(text, return_tensors="pt")).logits for text in texts]).double()


def test_mean_and_variance_by_hand(regressor, tokenizer, tmp_path):
    texts = sentences(11)
    args = arguments(tmp_path, per_device_eval_batch_size=4)
    before = dict(regressor.config.task_constants)
    measure_constants(regressor, TextFeatures(tokenizer, texts, 64), lambda items: collate(tokenizer, items), args)
    numbers = numbers_of(regressor, tokenizer, texts)
    mean = numbers.sum().item() / 11
    variance = sum((number - mean) ** 2 for number in numbers[:, 0].tolist()) / 11
    found = regressor.config.task_constants
    assert found == {**before, "mean": pytest.approx(mean, abs=1e-5), "variance": pytest.approx(variance, rel=1e-4)}
    assert variance > 1e-3 and regressor.task.constants == found and regressor.probes.task.constants == found


def test_of_many_inputs_the_seed_draws_some(regressor, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "MOST", 3)
    data, texts = TextFeatures(tokenizer, sentences(9), 64), sentences(9)
    for seed in (0, 1):
        measure_constants(regressor, data, lambda items: collate(tokenizer, items), arguments(tmp_path, seed=seed))
        drawn = torch.randperm(9, generator=torch.Generator().manual_seed(seed)).tolist()[:3]
        numbers = numbers_of(regressor, tokenizer, [texts[k] for k in drawn])
        assert regressor.config.task_constants["mean"] == pytest.approx(numbers.mean().item(), abs=1e-5)


def test_nothing_is_run_for_a_classifier(explainer, tmp_path):
    def run(items):
        raise AssertionError("a batch was made")

    before = dict(explainer.config.task_constants)
    measure_constants(explainer, Features([{"input_ids": [2, 3]}]), run, arguments(tmp_path))
    assert explainer.config.task_constants == before
