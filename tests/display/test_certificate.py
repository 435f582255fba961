"""A certificate follows the figure that the margin bounds, in every view."""

import json
import math
import re

import pytest

from hf_diffmask.display.certificate import FAILS, HOLDS, UNCHECKED, certificate, certificate_at, verdict
from hf_diffmask.display.grid import grid
from hf_diffmask.display.page import to_html
from hf_diffmask.display.terminal import to_text
from tests.display.helpers import make

QUESTION = {"task": "question-answering", "answer": "in 1902", "start": 0, "end": 7}
NUMBER = {"task": "regression", "label": "stars", "direction": "up"}
CLASS = "bounds only a drop of the class's probability"
# What differs from a result of 0.0213 nats and a margin of 0.1; the state; words that are there, and that are not.
CASES = {
    "the whole output": ({}, HOLDS, ["by 0.021 nats, within the margin of 0.1, and the prediction stays"], []),
    "the whole output, outside": (
        {"divergence": 0.3, "same_prediction": False},
        FAILS,
        ["Dropping 64 % of", "by 0.300 nats, outside the margin of 0.1, and the prediction changes"],
        ["can go"],
    ),
    "outside, but the prediction stays": ({"divergence": 0.3}, FAILS, ["but the prediction stays"], ["can go"]),
    "within, but the prediction changes": (
        {"same_prediction": False},
        HOLDS,
        ["Holds for the margin, but the prediction changes. Dropping 64 %", "within the margin of 0.1, but the"],
        ["can go", "stays"],
    ),
    "a drop": ({"drop": 0.031, "divergence": 0.5}, HOLDS, ["probability of POSITIVE by -0.031, within the"], ["nats"]),
    "a drop, outside": ({"drop": 0.174}, FAILS, ["by -0.174, outside the margin of 0.1"], ["0.021"]),
    "a rise is no drop": ({"drop": -0.174}, HOLDS, ["by +0.174, and the prediction stays", CLASS], ["margin of 0.1,"]),
    "a rise, and the prediction changes": (
        {"drop": -0.174, "same_prediction": False, "explained_label": "NEGATIVE"},
        HOLDS,
        ["Holds for the margin, but the prediction changes", "probability of NEGATIVE by +0.174", CLASS],
        ["margin of 0.1,", "stays"],
    ),
    "a rise that rounds to nothing": ({"drop": -1e-9}, HOLDS, ["within the margin of 0.1"], ["bounds"]),
    "exactly the margin": ({"drop": 0.1}, HOLDS, ["by -0.100, within the margin of 0.1"], []),
    "just above": ({"drop": 0.10004}, FAILS, ["by -0.10004, outside the margin of 0.1"], ["by -0.100,"]),
    "just above, in float32": ({"divergence": 0.10000000149}, FAILS, ["by 0.100000001 nats, outside"], ["0.100 "]),
    "just below": ({"divergence": 0.0999999}, HOLDS, ["by 0.100 nats, within the margin of 0.1"], []),
    "just above a fine margin": (
        {"divergence": 0.1234568, "margin": 0.1234567},
        FAILS,
        ["by 0.1235 nats, outside the margin of 0.1234567"],
        [],
    ),
    "a small margin": ({"divergence": 0.00041, "margin": 0.0004}, FAILS, ["0.00041 nats, outside", "of 0.0004"], []),
    "a small margin that holds": ({"divergence": 0.0005001, "margin": 0.0009}, HOLDS, ["by 0.0005 nats, within"], []),
    "a number": (
        {**NUMBER, "divergence": 0.09, "drop": 0.09},
        HOLDS,
        ["by 0.300 standard deviations (squared: 0.090), within the margin of 0.1"],
        [],
    ),
    "a number, outside": (
        {**NUMBER, "divergence": 0.10004, "drop": 0.10004},
        FAILS,
        ["by 0.316 standard deviations (squared: 0.10004), outside the margin of 0.1"],
        ["(squared: 0.100)"],
    ),
    "a number that moves on": (
        {**NUMBER, "divergence": 1.0, "drop": -1.0, "same_prediction": False},
        HOLDS,
        ["further in its direction (squared: 1.000)", "bounds only a change of the number against its direction"],
        ["margin of 0.1,"],
    ),
    "a number, both ways": ({**NUMBER, "divergence": 0.25}, FAILS, ["(squared: 0.250), outside"], ["further"]),
    "an answer": (QUESTION, HOLDS, ["moves the output by 0.021 nats, within"], []),
    "an answer, outside": ({**QUESTION, "divergence": 2.5, "margin": 1.0}, FAILS, ["outside the margin of 1,"], []),
    "no number": ({"divergence": math.nan}, FAILS, ["cannot be compared", "cost is nan"], ["within", "prediction"]),
    "no finite number": ({"divergence": math.inf}, FAILS, ["cannot be compared", "cost is inf"], ["within"]),
    "no number, read from JSON": ({"divergence": None}, FAILS, ["cannot be compared"], ["within"]),
    "a finite drop alone": ({"drop": 0.05, "divergence": math.inf}, HOLDS, ["by -0.050"], ["inf"]),
    "found by a search": (
        {"searched": True, "forwards": 24}, HOLDS, ["A search found this mask (24 forward passes in all)."], []
    ),
    "no search was needed": ({"searched": False, "forwards": 0}, HOLDS, [], ["search"]),
    "outside, after a search of two windows": (
        {"divergence": 0.12, "searched": True, "forwards": 520},
        FAILS,
        ["A search looked for a mask within the margin, in each window of the text by itself (520"],
        ["found"],
    ),
    "withheld": (
        {"divergence": 0.3, "abstained": True, "kept_share": None, "tokens": []},
        FAILS,
        ["No explanation: the mask at state block.0.output moves", "outside the margin"],
        ["can go", "Holds"],
    ),
    "not withheld": ({"abstained": False}, HOLDS, ["within the margin"], ["No explanation"]),
    "almost nothing stays": ({"kept_share": 0.001}, HOLDS, ["More than 99 % of the tokens can go"], ["100 %"]),
    "almost everything stays": ({"kept_share": 0.999}, HOLDS, ["Less than 1 % of the tokens can go"], [" 0 %"]),
    "nothing stays": ({"kept_share": 0.0}, HOLDS, ["100 % of the tokens can go"], ["99"]),
}  # fmt: skip
OPENINGS = {HOLDS: "Holds", FAILS: "Does not hold", UNCHECKED: "Not checked"}
MARKS = {HOLDS: ("\u2713", "[+]", "32"), FAILS: ("\u2717", "[!]", "31"), UNCHECKED: ("?", "[?]", "33")}


def unchecked():
    figures = ("divergence", "same_prediction", "within_margin")
    return {name: value for name, value in make([("film", [0.9, 0.8, 0.2])]).items() if name not in figures}


def in_every_view(result, state, there, absent):
    """The words, and the state's own icon, colour and opening, in each view."""
    checked = certificate(result)
    opens = "No explanation" if result.get("abstained") else OPENINGS[state]
    assert (verdict(result), checked.state) == (state, state) and checked.words.startswith(opens)
    icon, mark, number = MARKS[state]
    (line,) = [line for line in to_text(result, color=False).splitlines() if checked.words in line]
    assert line == f"{mark} {checked.words}"
    assert f"\x1b[{number}m{mark}\x1b[0m {checked.words}" in to_text(result, color=True)
    pages = [grid(result), grid(result, states=False), to_html([result])]
    shown = [re.findall(r'<p class="dm-certificate" data-state="([a-z ]+)">(.*?)</p>', page) for page in pages]
    *_, own = [one for one in shown[0] if one[0] == state]
    assert all(own in found for found in shown) and shown[1] == [own]
    assert own[1].startswith(f'<span aria-hidden="true">{icon}</span> ')
    said = own[1].split("</span> ")[1].replace("&#x27;", "'")
    assert said == checked.words
    for words in there:
        assert words in said, words
    for words in absent:
        assert words not in said, words


@pytest.mark.parametrize("case", CASES)
def test_the_words_colour_and_icon_follow_the_figure(case):
    fields, state, there, absent = CASES[case]
    # The flag of the result is turned round: it decides nothing.
    result = make([("film", [0.9, 0.8, 0.2])], task="text-classification", within_margin=state != HOLDS) | fields
    in_every_view(result, state, there, absent)
    if case != "no number":  # JSON has no NaN
        assert certificate(json.loads(json.dumps(result))) == certificate(result)


def test_without_the_check_nothing_is_claimed():
    in_every_view(
        unchecked(),
        UNCHECKED,
        ["The mask drops 64 % of the tokens at state block.0.output", "was not verified"],
        ["can go", "within", "outside", "stays"],
    )


def test_each_state_has_a_colour_of_its_own():
    rules = re.findall(r'\.dm-certificate\[data-state="([a-z ]+)"\] \{ border-color: (#\w+);', grid(make([])))
    assert [state for state, _ in rules] == [HOLDS, FAILS, UNCHECKED] and len({colour for _, colour in rules}) == 3


def test_only_the_mask_at_the_state_of_the_result_was_checked():
    result = make([("film", [0.9, 0.8, 0.2])], state="block.0.input")
    assert certificate_at(result, 1) == certificate(result)
    for number, name in ((0, "embeddings"), (2, "block.0.output")):
        assert certificate_at(result, number) == (
            UNCHECKED,
            f"Not checked. The mask at state {name} was not verified; the check is for state block.0.input.",
        )
    words = "Not checked. The mask at state embeddings was not verified."
    assert certificate_at(unchecked(), 0) == (UNCHECKED, words)


def test_the_explanation_head_is_no_state():
    result = make([("film", [0.9, 0.8, 0.2])], state="explanation") | {"states": ["embeddings", "last", "explanation"]}
    assert certificate(result).words.startswith("Holds. 64 % of the tokens can go: this moves ")
    words = "Not checked. The mask at state embeddings was not verified; the check is for the explanation head."
    assert certificate_at(result, 0) == (UNCHECKED, words)


def test_names_are_safe_to_show():
    result = make([], drop=0.05, explained_label="<b>\x1b[2J", state="a\u202eb")
    assert "<b>\\x1b[2J" in certificate(result).words and "a\\u202eb" in certificate(result).words
    assert "<b>" not in to_html([result]) and "&lt;b&gt;" in to_html([result])
