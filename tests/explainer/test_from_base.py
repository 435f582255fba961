"""A new explainer knows the base model's name, states and shapes, and starts from the mask token."""

import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForNextSentencePrediction

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.base.fingerprint import fingerprint
from hf_diffmask.explainer.from_base import config_for, first_baseline, named_states
from hf_diffmask.testbeds.counting import CountingConfig, CountingForSequenceClassification
from hf_diffmask.testbeds.gru import word_tokenizer


def test_the_config_of_a_classifier(classifier):
    config = config_for(classifier, margin=0.3, masking="hidden")
    assert config.base_model_name_or_path == hf_diffmask.BUNDLED_CLASSIFIER and config.base_model_revision is None
    assert config.base_model_fingerprint == fingerprint(classifier, torch.float32)
    assert (config.base_model_class, config.base_model_dtype) == ("BertForSequenceClassification", "float32")
    assert (config.task, config.task_constants) == ("text-classification", {"reads": "first"})
    table = classifier.get_input_embeddings().weight
    assert (config.vocab_size, config.embedding_size) == table.shape
    assert config.hidden_size == classifier.config.hidden_size
    blocks = classifier.config.num_hidden_layers
    inputs = [f"block.{number}.input" for number in range(blocks)]
    assert config.state_names == ["embeddings", *inputs, f"block.{blocks - 1}.output"]
    assert config.id2label == classifier.config.id2label and config.label2id == classifier.config.label2id
    assert (config.margin, config.masking, config.class_conditional) == (0.3, "hidden", True)


def test_only_states_that_are_not_the_default_are_named(classifier):
    assert named_states(classifier, config_for(classifier).state_names) is None
    assert named_states(classifier, ["embeddings"]) == ["embeddings"]
    assert named_states(CountingForSequenceClassification(CountingConfig()), ["encoder"]) == ["encoder"], "no blocks"


def test_states_by_path_and_a_revision_by_hand(classifier):
    named = ["bert.embeddings.word_embeddings", "bert.encoder.layer.0.intermediate"]
    config = config_for(classifier, named, base_model_revision="abc")
    assert config.state_names == named and config.base_model_revision == "abc"
    widths = (classifier.config.hidden_size, classifier.config.intermediate_size)
    assert (config.embedding_size, config.hidden_size) == widths and len(set(widths)) == 2
    with pytest.raises(DiffMaskError, match="needs at least one state: name some, or leave `states` out"):
        config_for(classifier, [])


def test_a_relative_folder_becomes_an_absolute_one(tmp_path, monkeypatch):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    base = AutoModelForSequenceClassification.from_pretrained("base", dtype=torch.bfloat16)
    config = config_for(base)
    assert config.base_model_name_or_path == str(tmp_path / "base") and config.base_model_dtype == "bfloat16"
    nowhere = type(base)(base.config)
    nowhere.name_or_path = ""
    assert config_for(nowhere).base_model_name_or_path is None


def test_a_task_without_choices_has_no_probes_by_class(answerer):
    config = config_for(answerer, class_conditional=True)
    assert config.task == "question-answering" and config.class_conditional is False


def test_the_baseline_starts_at_the_mask_token_the_unknown_token_or_the_mean(classifier, tokenizer):
    table = classifier.get_input_embeddings().weight
    assert torch.equal(first_baseline(classifier, tokenizer), table[tokenizer.mask_token_id])
    without = word_tokenizer(["a warm film"], 10)
    without.mask_token = None
    assert without.mask_token_id is None and without.unk_token_id is not None
    assert torch.equal(first_baseline(classifier, without), table[without.unk_token_id])
    without.unk_token = None
    for none in (without, None):
        found = first_baseline(classifier, none)
        torch.testing.assert_close(found, table.mean(0))
        assert not found.requires_grad
    assert torch.equal(DiffMaskModel.from_base_model(classifier, tokenizer).baseline, table[tokenizer.mask_token_id])


def test_models_that_are_no_classifier_are_refused(classifier):
    with pytest.raises(DiffMaskError, match=r"is a BertForNextSentencePrediction .*no task covers"):
        DiffMaskModel.from_base_model(BertForNextSentencePrediction(classifier.config))
    classifier.config.problem_type = "regression"
    with pytest.raises(DiffMaskError, match=r"2 label.*'regression'.*no task covers"):
        DiffMaskModel.from_base_model(classifier)
