"""A model without an implemented task is refused before its weights are loaded."""

import json

import pytest
from transformers import AutoConfig, BertConfig, BertForNextSentencePrediction, LlamaConfig, ModernBertConfig

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.guest import load_base
from hf_diffmask.tasks.registry import TASKS, fitting_task, task_of, task_of_result
from tests.helpers import refused

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


def folder_of(tmp_path, config, *architectures):
    """A folder that names an architecture but has no weights, so loading them would fail."""
    config.architectures = list(architectures)
    config.save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (BertConfig(**SMALL), "BertForNextSentencePrediction"),
        (AutoConfig.for_model("qwen2", **SMALL), "Qwen2ForCausalLM"),
        (BertConfig(**SMALL), "BertForMultipleChoice"),
        (ModernBertConfig(**SMALL), "ModernBertForMultipleChoice"),
        (LlamaConfig(**SMALL), "LlamaForCausalLM"),
    ],
)
def test_other_heads_are_refused_by_the_class_that_the_folder_names(tmp_path, capsys, config, name):
    base = folder_of(tmp_path / "base", config, name)
    with pytest.raises(DiffMaskError, match=rf"is a {name} with 2 label.*no task covers.*Supported: sequence class"):
        load_base(base)
    refused(capsys, ["train", "--base_model", base, "--dataset", "no.csv", "--output_dir", str(tmp_path / "o")], name)
    assert not (tmp_path / "o").exists()


def test_other_problems_are_refused(tmp_path):
    config = BertConfig(**SMALL, num_labels=3, problem_type="regression")
    base = folder_of(tmp_path, config, "BertForSequenceClassification")
    with pytest.raises(DiffMaskError, match=r"3 label.*'regression'"):
        load_base(base)


def test_a_config_without_a_class_is_refused(tmp_path):
    folder_of(tmp_path, BertConfig(**SMALL))
    saved = json.loads((tmp_path / "config.json").read_text())
    saved.pop("architectures", None)
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(DiffMaskError, match="names no model class"):
        load_base(str(tmp_path))


def test_a_loaded_model_is_told_by_the_classes_that_it_derives_from(classifier):
    class Mine(type(classifier)):
        """A classifier under another name."""

    assert task_of(Mine(classifier.config)).name == task_of(classifier).name == "text-classification"
    with pytest.raises(DiffMaskError, match="The base model is a BertForNextSentencePrediction"):
        task_of(BertForNextSentencePrediction(BertConfig(**SMALL)))


def test_exactly_one_task_fits_a_model():
    for labels in (1, 2, 5):
        config = BertConfig(num_labels=labels)
        for name in ("BertForSequenceClassification", "BertForQuestionAnswering"):
            assert sum(task.fits([name], config) for task in TASKS.values()) == 1
            assert fitting_task([name], config, "It") in TASKS.values()


def test_the_task_of_a_result():
    assert task_of_result({"task": "regression"}).name == "regression"
    # Results of version 0.1.0 do not name the task.
    assert task_of_result({"label": "POSITIVE", "score": 0.9}).name == "text-classification"
    assert task_of_result({"answer": "", "start": 0, "end": 0}).name == "question-answering"
