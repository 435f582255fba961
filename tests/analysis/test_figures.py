"""Figures of a report hold the data of the analyses; captions and tables agree with them."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.analysis import decisions, figures, tokens
from hf_diffmask.analysis.tagging import Tag
from tests.helpers import HIDDEN, path_of

pytest.importorskip("matplotlib", reason="figures need hf-diffmask[plots]")
TEXTS = ["a warm and quietly funny film", "the plot is dull", "not bad at all"]


def pipeline_of(model, tokenizer):
    return pipeline(hf_diffmask.TASK, model=model, tokenizer=tokenizer, device="cpu")


@pytest.fixture
def explain(explainer, tokenizer):
    return pipeline_of(explainer, tokenizer)


@pytest.fixture
def hidden(classifier, tokenizer):
    model = DiffMaskModel.from_base_model(classifier, tokenizer, **HIDDEN).eval()
    with torch.no_grad():
        model.probes.out_weight.normal_(std=0.05)
    return pipeline_of(model, tokenizer)


def square(entry):
    """Every row of the table is as long as its header, and the figure is drawn."""
    assert {len(row) for row in entry.table} == {len(entry.table[0])} and entry.figure.axes
    return entry.table


def test_segments_and_their_tags(monkeypatch):
    assert figures.segments("a film") == ["a film"] and figures.segments(("a", "b")) == ["a", "b"]
    monkeypatch.setattr(figures, "tag", lambda texts, model: [[Tag(0, len(text), model, text)] for text in texts])
    found = figures.tags_of(["one", ("two", "three"), "four"], "X")
    assert [[[tag.entity for tag in of_segment] for of_segment in of_text] for of_text in found] == [
        [["one"]], [["two"], ["three"]], [["four"]]
    ]  # fmt: skip


def test_a_heat_map_of_two_explainers(explain, hidden):
    results = {"input": explain(TEXTS[0]), "hidden": hidden(TEXTS[0])}
    entry = figures.heat_map_entry(3, TEXTS[0], results)
    states = results["input"]["states"]
    header, *rows = square(entry)
    assert header == ["token", *(f"{state} (input)" for state in states), *(f"{state} (hidden)" for state in states)]
    for row, one, other in zip(rows, results["input"]["tokens"], results["hidden"]["tokens"], strict=True):
        assert row == [one["token"], *(f"{keep:.2f}" for keep in [*one["states"], *other["states"]])]
    assert (entry.name, entry.title, entry.caption[0]) == ("heat_map_3", "Input 3", TEXTS[0])
    assert entry.caption[1] == f"Prediction: {results['input']['label']}, {results['input']['score']:.3f}."
    assert entry.caption[2].startswith("Input masking: ") and entry.caption[3].startswith("Hidden masking: ")
    assert f"each of {len(rows)} tokens at each of {len(states)} states" in entry.alt


def test_keep_probability_by_state(explain, hidden):
    results = explain(TEXTS)
    entry = figures.keep_by_state_entry(explain, results)
    assert entry.name == "input_keep_by_state" and entry.data == tokens.keep_by_state(results)
    for row, group in zip(square(entry)[1:], entry.data["groups"], strict=True):
        assert row == [group["group"], str(group["count"]), *(f"{keep:.3f}" for keep in group["mean"])]
    assert "so that no line rises. This explainer never masks special tokens" in entry.caption[0]
    assert "so that a line may rise" in figures.keep_by_state_entry(hidden, hidden(TEXTS)).caption[0]


def test_where_special_tokens_are_masked_nothing_is_said_of_them(classifier, tokenizer):
    model = DiffMaskModel.from_base_model(classifier, tokenizer, mask_special_tokens=True).eval()
    explain = pipeline_of(model, tokenizer)
    assert "special" not in figures.keep_by_state_entry(explain, explain(TEXTS)).caption[0]


def test_fixed_predictions(explain, tokenizer):
    entry = figures.fixed_by_state_entry(explain, TEXTS, 2)
    unchanged = decisions.unchanged_predictions(explain.model, tokenizer, TEXTS, 2)
    assert entry.data == decisions.fixed_by_state(explain.model.config.state_names, unchanged)
    header, *rows = square(entry)
    assert header[1:] == list(explain.model.config.state_names) and [row[0] for row in rows] == ["unchanged", "fixed"]
    assert f"under the last state's mask: {entry.data['unchanged'][-1]:.3f}" in entry.alt
    assert rows[1][1:] == [f"{share:.3f}" for share in entry.data["fixed"]]


def test_when_it_was_decided(classifier, tokenizer):
    path = pipeline_of(path_of(classifier, tokenizer, margin=0.05), tokenizer)
    entry = figures.decided_by_state_entry(path, TEXTS, 2)
    shares = decisions.smallest_shares(path.model, tokenizer, TEXTS, batch_size=2)
    assert entry.data == decisions.decided_by_state(path.model.config.state_names, shares, 0.05)
    assert [row[0] for row in square(entry)] == [
        "share of its tokens that an input needs", "a quarter of the inputs, at most", "half of them, at most",
        "three quarters, at most", "mean",
    ]  # fmt: skip
    assert "the class's probability falls by at most 0.05" in entry.caption[0]
    assert "and the state, given the prediction, tells that" in entry.caption[0]


def test_states_at_which_labels_are_kept(explain):
    results = explain(TEXTS[:2])
    spans = [[[(0, 1, "LETTER"), (2, 6, "WORD")]], [[(0, 3, "WORD")]]]
    entry = figures.states_kept_entry(explain, results, spans, "part of speech", ["WORD"])
    assert entry.name == "input_states_kept_by_part_of_speech"
    header, first, *rows = square(entry)
    assert header == ["part of speech", "tokens", "mean", "standard error"] and first[:2] == ["WORD", "2"]
    letter = next(row for row in rows if row[0] == "LETTER")
    kept = sum(keep > 0.5 for keep in results[0]["tokens"][1]["states"])
    assert letter == ["LETTER", "1", f"{kept:.3f}", ""], "a single token has no standard error"
    assert f"of {len(results[0]['states'])}, whose hard mask" in entry.caption[0] and f"WORD {first[2]}" in entry.alt
