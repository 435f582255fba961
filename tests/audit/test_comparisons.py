"""Comparisons of two explainers, checked by hand."""

import pytest
from scipy.stats import spearmanr

from hf_diffmask.audit.comparisons import correlations, random_base, seeds
from hf_diffmask.errors import DiffMaskError
from tests.audit.helpers import one


def test_correlations_leave_special_tokens_out():
    scores, others = [9.0, 0.1, 0.4, 0.3, 0.9, 9.0], [-5.0, 0.2, 0.1, 0.6, 0.7, 8.0]
    marks = [1, 0, 0, 0, 0, 1]
    same = one(scores=[9.0, 1.0, 1.0, 1.0, 1.0, 9.0])
    found = correlations([one(scores=scores), one(scores=scores)], [one(scores=others), same], [marks, marks])
    assert found == [pytest.approx(spearmanr(scores[1:-1], others[1:-1]).statistic)], "the second input has no ranking"
    with pytest.raises(DiffMaskError, match="no input whose tokens both explainers rank"):
        correlations([same], [same], [marks])


def test_verdicts_by_correlation():
    marks, up, down = [[0, 0, 0]], [one(scores=[1, 2, 3])], [one(scores=[3, 2, 1])]
    middle = [one(scores=[1, 3, 2])]
    for same in (up, down):
        assert random_base(up, same, marks, 0.5, 0.1).verdict == "fail", "a reversed ranking gets the same verdict"
    both = random_base(up * 2, [*up, *down], marks * 2, 0.5, 0.1)
    assert both.verdict == "pass" and both.figures["rank_correlation"] == 0.0
    free = random_base(up * 2, [*up, *down], marks * 2, 0.1, 0.1)
    assert free.verdict == "reported" and "nothing to learn" in free.note
    assert (
        random_base(up, None, marks, 0.0, 0.0).verdict == "not checked"
        and seeds(up, [], marks).verdict == "not checked"
    )
    found = seeds(up, [up, middle], marks)
    assert found.figures["rank_correlation"] == pytest.approx((1.0 + 0.5 + 0.5) / 3) and found.verdict == "pass"
    assert found.figures["lowest"] == pytest.approx(0.5) and seeds(up, [down], marks).verdict == "fail"


def test_what_is_nothing_but_rounding_is_not_judged():
    same = [one(scores=(0.1, 0.5, 0.9))] * 3
    assert random_base(same, same, [[0, 0, 0]] * 3, 1e-3, 1e-4).verdict == "fail"
    said = random_base(same, same, [[0, 0, 0]] * 3, 5e-7, 1e-7)
    assert said.verdict == "reported" and "no more than rounding" in said.note
