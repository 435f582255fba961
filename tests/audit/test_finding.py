"""Verdicts on an excess of accuracy, and the table of findings."""

import pytest

from hf_diffmask.audit.finding import Finding, _judged, format_findings
from hf_diffmask.audit.thresholds import CLASS_CONDITIONAL, ENOUGH, READABLE

MANY = range(ENOUGH)


@pytest.mark.parametrize(
    ("excess", "base_rate", "texts", "class_conditional", "verdict", "note"),
    [
        (READABLE, 0.6, MANY, False, "pass", ""),
        (READABLE + 1e-9, 0.6, MANY, False, "fail", ""),
        (-0.2, 1 - 2 * READABLE, MANY, False, "pass", ""),
        (0.5, 0.901, MANY, False, "reported", "nearly all inputs are of one class: there is nothing to read"),
        (0.5, 0.6, [*range(ENOUGH - 1), 0, 1], False, "reported",
         "fewer than 500 texts: too few to judge an accuracy by"),
        (0.5, 0.99, [0], True, "reported", CLASS_CONDITIONAL),
    ],
)  # fmt: skip
def test_verdicts_of_an_excess(excess, base_rate, texts, class_conditional, verdict, note):
    assert _judged(excess, base_rate, texts, class_conditional) == (verdict, note)


def test_the_table_of_findings():
    findings = [
        Finding("pattern", "Is it said?", "pass", {"accuracy": 0.51234567, "texts": 1200}, ""),
        Finding("seeds", "Do they agree?", "not checked", {}, "there are none"),
        Finding("margin", "Is it met?", "fail", {"outside": 0.25}, "by far"),
    ]
    assert format_findings(findings).splitlines() == [
        "| test | verdict | found |",
        "|---|---|---|",
        "| `pattern` Is it said? | **pass** | accuracy 0.5123, texts 1200 |",
        "| `seeds` Do they agree? | **not checked** | there are none |",
        "| `margin` Is it met? | **fail** | outside 0.25; by far |",
    ]
    assert format_findings([]).count("\n") == 1
