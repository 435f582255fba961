"""A comparison writes the same scores and figures as a separate run of each method."""

import json

import numpy as np
import pytest

from hf_diffmask import DiffMaskModel
from hf_diffmask.evaluation.ablated import masked_log_odds
from hf_diffmask.evaluation.additive import additive_figures
from hf_diffmask.evaluation.attributions import read_attributions
from hf_diffmask.evaluation.bounds import bounds, reached
from hf_diffmask.evaluation.comparison import attribute, interval, measured, summary
from hf_diffmask.evaluation.faithfulness import Preset
from hf_diffmask.evaluation.run import RESULT_FILE, Plan, compare_methods
from hf_diffmask.methods.registry import Explainers

TEXTS = ["the plot is dull !", "a warm film", "not bad at all", "superb and warm"]
PRESET = Preset("mask", (0.5,), "ceil")
GROUPS = {"unseen": ["mask", "delete"], "seen": ["pad"]}
OTHERS = [Preset("pad", (0.5,), "ceil"), Preset("delete", (0.5,), "ceil")]


@pytest.fixture
def explainers(explainer, classifier, tokenizer):
    return Explainers(explainer, DiffMaskModel.from_base_model(classifier, tokenizer).eval(), None, 0)


@pytest.fixture
def inputs(tokenizer):
    return [dict(tokenizer(text, return_special_tokens_mask=True)) for text in TEXTS]


@pytest.fixture
def compare(explainers, tokenizer, inputs, tmp_path):
    def compare(*methods, read=None, others=OTHERS, few=2, bounds=False, extended=False, warn=pytest.fail):
        plan = Plan(methods, read or {}, PRESET, others, ["pad"], few, bounds, extended, 16)
        found = compare_methods(explainers, tokenizer, inputs, plan, tmp_path, {"version": "1"}, warn)
        assert json.loads((tmp_path / RESULT_FILE).read_text()) == found
        return found

    return compare


def test_figures_are_those_of_each_method_by_itself(compare, explainers, tokenizer, inputs, tmp_path):
    found = compare("loo", "random")
    assert found["version"] == "1" and found["on_few"] == found["extended"] == {} and "bounds" not in found
    by_method = {}
    for name in ("loo", "random"):
        scores = attribute(explainers, tokenizer, inputs, name).scores
        of_replacements = [measured(explainers, tokenizer, inputs, scores, one) for one in (PRESET, *OTHERS)]
        by_method[name] = of_replacements
        entry = found["methods"][name]
        for figure, values in of_replacements[0].items():
            assert entry["figures"][figure]["mean"] == pytest.approx(values.mean(), abs=1e-5)
            held_out = np.mean([part[figure] for part in of_replacements[1:]])
            assert entry["held_out"][figure]["mean"] == pytest.approx(held_out, abs=1e-5)
            every = np.mean([part[figure] for part in of_replacements])
            assert entry["every_replacement"]["figures"][figure]["mean"] == pytest.approx(every, abs=1e-5)
            pad, seen = entry["by_held_out"]["pad"][figure], entry["seen"]["figures"][figure]
            assert pad["mean"] == seen["mean"] == pytest.approx(of_replacements[1][figure].mean(), abs=1e-5)
            unseen = np.mean([part[figure] for part in (of_replacements[0], of_replacements[2])])
            assert entry["unseen"]["figures"][figure]["mean"] == pytest.approx(unseen, abs=1e-5)
        assert entry["forwards"] > 0 and entry["seconds"] > 0 and entry["unranked"] == 0
        path = tmp_path / "attributions" / f"{name}.jsonl"
        for one, expected in zip(read_attributions(path, inputs), scores, strict=True):
            assert one == pytest.approx(expected, abs=1e-5)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines[2]["sufficiency"].keys() == {"mask", "pad", "delete"}
        assert lines[2]["sufficiency"]["pad"] == pytest.approx(of_replacements[1]["sufficiency"][2], abs=1e-5)
    for figure in by_method["loo"][0]:
        less = found["methods"]["random"]["less_the_first"][figure]
        ends = interval(by_method["random"][0][figure] - by_method["loo"][0][figure], 0)
        assert (less["low"], less["high"]) == pytest.approx(ends, abs=1e-5)
        assert found["methods"]["loo"]["less_the_first"][figure] == {"low": 0.0, "high": 0.0}
        less = found["methods"]["random"]["unseen"]["less_the_first"][figure]
        leads = [by_method["random"][k][figure] - by_method["loo"][k][figure] for k in (0, 2)]
        assert (less["low"], less["high"]) == pytest.approx(interval(np.mean(leads, axis=0), 0), abs=1e-5)


def test_attributions_from_elsewhere_stand_beside_ours_without_a_cost(compare, explainers, tokenizer, inputs):
    scores = attribute(explainers, tokenizer, inputs, "loo").scores
    found = compare("loo", read={"mine": scores}, others=OTHERS[:1])["methods"]
    assert found["mine"]["forwards"] is found["mine"]["seconds"] is None
    for part in ("figures", "held_out", "less_the_first"):
        for figure, of_figure in found["loo"][part].items():
            assert found["mine"][part][figure] == pytest.approx(of_figure, abs=1e-5)
    assert "every_replacement" not in found["loo"]


def test_lds_is_measured_for_every_method_on_the_few_inputs(compare, explainers, tokenizer, inputs):
    base = explainers.trained.base
    found = compare("loo", "random", read={"mine": [[0.0, *range(len(one["input_ids"]) - 1)] for one in inputs]})
    few, names = inputs[:2], ["mask", "pad", "delete"]
    log_odds = masked_log_odds(base, tokenizer, few, names)
    for name in ("loo", "random"):
        scores = attribute(explainers, tokenizer, few, name).scores
        expected = additive_figures(few, scores, log_odds, GROUPS, name == "loo")
        for figure in ("lds", "r2") if name == "loo" else ("lds",):
            for replacement in names:
                of_method = found["random_masks"][name][figure]["by_replacement"][replacement]
                assert of_method == pytest.approx(expected[figure]["by_replacement"][replacement], abs=1e-3)
            assert found["random_masks"][name][figure]["seen"]["inputs"] == 2
    assert found["random_masks"]["random"]["r2"] is found["random_masks"]["mine"]["r2"] is None
    assert found["random_masks"]["mine"]["lds"]["seen"]["inputs"] == 2


def test_costly_methods_run_on_few_inputs_on_which_others_are_shown_too(compare, explainers, tokenizer, inputs):
    found = compare("loo", "sequential_ig")
    assert list(found["methods"]) == ["loo"] and list(found["on_few"]) == ["loo", "sequential_ig"]
    scores = attribute(explainers, tokenizer, inputs[:2], "loo").scores
    expected = summary(measured(explainers, tokenizer, inputs[:2], scores, PRESET))
    for figure, of_figure in expected.items():
        assert found["on_few"]["loo"]["figures"][figure] == pytest.approx(of_figure, abs=1e-5)


def test_bounds_and_how_much_of_them_is_reached(compare, explainers, tokenizer, inputs):
    found = compare("loo", others=OTHERS[:1], few=2, bounds=True)
    ends = [bounds(explainers.trained.base, tokenizer, one, PRESET, "sufficiency") for one in inputs[:2]]
    assert found["bounds"]["sufficiency"]["low"] == pytest.approx(np.mean([one.low for one in ends]), abs=1e-5)
    scores = attribute(explainers, tokenizer, inputs[:2], "loo").scores
    values = measured(explainers, tokenizer, inputs[:2], scores, PRESET)["sufficiency"]
    parts = [reached(value, one, lower_is_better=True) for value, one in zip(values, ends, strict=True)]
    assert found["on_few"]["loo"]["reached"]["sufficiency"]["mean"] == pytest.approx(np.mean(parts), abs=1e-4)
    assert "reached" not in found["methods"]["loo"]


def test_what_ranks_nothing_is_counted_and_said(compare):
    said = []
    nothing = [[0.5] * length for length in (7, 5, 6, 5)]
    found = compare("loo", read={"flat": nothing}, others=OTHERS[:1], extended=True, warn=said.append)
    assert found["methods"]["flat"]["unranked"] == 4 and found["methods"]["loo"]["unranked"] == 0
    assert said == ["flat ranks no token of 4 inputs: their text order is used instead."]
    assert found["extended"]["loo"]["deletion"]["inputs"] == 2 and "stability" not in found["extended"]["flat"]
