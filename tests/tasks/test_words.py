"""Words for classes in results, cards and tables."""

import ast

import pytest
from transformers import pipeline

import hf_diffmask
from hf_diffmask.data.encoding import encode
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.tasks.words import PAIRS, SENTENCES, TaskWords, margin_words, printed


@pytest.fixture
def words():
    made = TaskWords()
    made.name = "text-classification"
    return made


def test_inputs_of_cards(words):
    assert words.card_inputs(False) == list(SENTENCES) and words.card_inputs(True) == list(PAIRS)
    words.card_inputs(True).clear()
    assert len(words.card_inputs(True)) == 2, "a new list"
    assert words.pipeline_tag == "text-classification"


@pytest.mark.parametrize("name", [name for name in TASKS if name != "question-answering"])
@pytest.mark.parametrize("pairs", [False, True])
def test_the_example_of_a_card_is_code_for_its_first_input(name, pairs):
    task = TASKS[name]()
    assert ast.literal_eval(task.card_example(pairs)) == task.card_inputs(pairs)[0]


def test_the_example_is_one_that_the_pipeline_takes(explainer, tokenizer):
    explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
    for pairs in (False, True):
        result = explain(ast.literal_eval(explainer.task.card_example(pairs)))
        assert explainer.task.headline(result) == explainer.task.quoted(result) == result["label"]


def test_how_far_a_mask_moves_the_output(words):
    assert words.moved({"divergence": 0.02149}) == "the output by 0.021 nats"
    result = {"label": "NO", "divergence": 0.5, "drop": 0.0314}
    assert words.moved(result) == "the probability of NO by -0.031"
    assert words.moved({**result, "drop": -0.25}) == "the probability of NO by +0.250"
    assert words.moved({**result, "explained_label": "YES"}) == "the probability of YES by -0.031"


def test_groups_of_tokens(words):
    tokens = ({"special": True, "segment": None}, {"special": False}, {"special": False, "segment": 0},
              {"special": False, "segment": 1})  # fmt: skip
    expected = ["special tokens", "ordinary tokens", "first text", "second text"]
    assert [words.group(token, {}) for token in tokens] == expected


def test_what_a_task_must_say_itself(words, tokenizer, classifier):
    assert words.distribution([], classifier.config) == {} and words.options == {}
    with pytest.raises(NotImplementedError):
        words.readable([], encode(tokenizer, "a film"), classifier.config, lambda *outputs: None)


@pytest.mark.parametrize(
    "cost, margin, says",
    [
        (0.02149, 0.1, "0.021"), (0.02149, None, "0.021"), (0.1, 0.1, "0.100"), (0.09996, 0.1, "0.100"),
        (0.10004, 0.1, "0.10004"), (0.1004, 0.1, "0.1004"), (0.1 + 2**-56, 0.1, "0.10000000000000002"),
        (0.00061, 0.0007, "0.0006"), (-0.174, 0.1, "-0.174"), (float("nan"), 0.1, "nan"), (float("inf"), 0.1, "inf"),
    ],
)  # fmt: skip
def test_a_cost_is_printed_on_its_own_side_of_the_margin(cost, margin, says):
    assert printed(cost, margin) == says


def test_a_cost_that_rounds_to_nothing_has_no_sign():
    assert [printed(cost, 0.1) for cost in (0.0, -0.0, -1e-9, -0.0004, -0.0006)] == ["0.000"] * 4 + ["-0.001"]
    result = {"label": "POSITIVE", "divergence": 0.0, "margin": 0.1}
    moved = [TASKS["text-classification"]().moved({**result, "drop": drop}) for drop in (0.0, -1e-9, 0.02, -0.02)]
    assert moved == [f"the probability of POSITIVE by {change}" for change in ("0.000", "0.000", "-0.020", "+0.020")]


def test_a_margin_is_printed_whole():
    assert [margin_words(margin) for margin in (0.1, 1.0, 0.05, 0.1234567)] == ["0.1", "1", "0.05", "0.1234567"]
