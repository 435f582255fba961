"""The bundled classifier and explainer are small and sound, and the default if no model is named."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, pipeline

import hf_diffmask
from hf_diffmask.about import BUNDLED
from hf_diffmask.testbeds.grammar import sentences


def test_together_at_most_ten_megabytes_and_four_million_parameters():
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) <= 10_000_000
    classifier = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    assert sum(parameter.numel() for parameter in classifier.parameters()) <= 4_000_000
    assert all(parameter.dtype == torch.float32 for parameter in classifier.parameters())


def test_recorded_accuracy_meets_the_bar():
    figures = json.loads((Path(hf_diffmask.BUNDLED_CLASSIFIER) / "figures.json").read_text())
    assert figures["accuracy_dev"] >= 0.80 and "seed" in figures
    card = (Path(hf_diffmask.BUNDLED_EXPLAINER) / "README.md").read_text()
    assert "| block.0.input |" in card and "seed" in card


def test_pipeline_without_a_model_explains_by_the_bundled_one():
    explain = pipeline(hf_diffmask.TASK, device="cpu")
    assert explain.model.dtype == torch.float32
    good, bad = explain(["a warm and wonderful film", "a dull , tedious and pointless film"])
    assert (good["label"], bad["label"]) == ("POSITIVE", "NEGATIVE")
    assert bad["kept_share"] < 1 and bad["same_prediction"]


def test_bundled_explanations_hold_on_sentences_it_was_not_trained_on():
    explain = pipeline(hf_diffmask.TASK, device="cpu", batch_size=32)
    results = explain(sentences(200, seed=5))
    assert sum(result["same_prediction"] for result in results) / len(results) >= 0.85
    assert sum(result["kept_share"] for result in results) / len(results) <= 0.6


def test_words_of_judgement_are_kept_over_the_others():
    explain = pipeline(hf_diffmask.TASK, device="cpu")
    result = explain("a dull , boring and pointless film")
    tokens = {token["token"]: token for token in result["tokens"]}
    assert all(tokens[word]["kept"] for word in ("dull", "boring", "pointless"))
    lowest = min(tokens[word]["score"] for word in ("dull", "boring", "pointless"))
    assert lowest > max(tokens[word]["score"] for word in (",", "and", "film"))


def test_the_share_kept_does_not_give_the_class_away():
    # If the baseline is evidence for one class, inputs of this class can be masked completely.
    explain = pipeline(hf_diffmask.TASK, device="cpu", batch_size=32)
    results = explain(sentences(200, seed=5))
    shares = {
        label: [result["kept_share"] for result in results if result["label"] == label]
        for label in ("POSITIVE", "NEGATIVE")
    }
    means = [sum(values) / len(values) for values in shares.values()]
    assert max(means) < 2 * min(means)
    # Near the decision boundary, an empty mask can preserve a prediction of either class.
    assert all(sum(value == 0 for value in values) < 0.25 * len(values) for values in shares.values())
