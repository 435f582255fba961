"""Exact match and F1 as SQuAD defines them."""

import pytest

from hf_diffmask.evaluation.squad import exact_match, f1, normalize_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  The  Hill,\tnear an\nOSTRAVA. ", "hill near ostrava"),
        ("a-an-the", "aanthe"),
        ("Anthea and the theatre", "anthea and theatre"),
        ("\u00c9t\u00e9 \u2013 a \u00bbJohn\u2019s\u00ab", "\u00e9t\u00e9 \u2013 \u00bbjohn\u2019s\u00ab"),
        ("The.", ""),
    ],
)
def test_normal_form(text, normal):
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "overlap"),
    [
        ("The nine goats.", ["nine goats"], 1, 1),
        # 2 of 4 predicted words are right, 2 of 2 found: 2 * 0.5 * 1 / 1.5
        ("nine goats on hills", ["nine goats"], 0, 2 / 3),
        # The better of 2 / 3 (1 of 1, 1 of 2) and 2 / 5 (1 of 1, 1 of 4)
        ("goats", ["nine goats", "nine very old goats"], 0, 2 / 3),
        # Repeated words count as often as both answers hold them: 2 of 3 and 2 of 2
        ("so so so", ["so so"], 0, 0.8),
        ("hill", ["nine goats"], 0, 0),
        ("goats nine", ["nine goats"], 0, 1),
        ("", ["nine goats"], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("goats", [], 0, 0),
        ("", ["", "nine goats"], 0, 0),
        ("", [" . "], 1, 1),
    ],
)
def test_exact_match_and_f1(prediction, answers, exact, overlap):
    assert exact_match(prediction, answers) == exact
    assert f1(prediction, answers) == pytest.approx(overlap)
