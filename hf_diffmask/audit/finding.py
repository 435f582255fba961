"""Finding of one audit test, and a table of findings."""

from collections.abc import Sequence
from typing import NamedTuple

from .thresholds import CLASS_CONDITIONAL, ENOUGH, READABLE


class Finding(NamedTuple):
    """Finding of one audit test."""

    name: str
    question: str
    verdict: str
    """`"pass"`, `"fail"`, `"reported"` if it cannot be judged, or `"not checked"`."""
    figures: dict[str, float]
    note: str


def _judged(excess: float, base_rate: float, texts: Sequence[int], class_conditional: bool) -> tuple[str, str]:
    """Verdict and note for an accuracy that exceeds its references by `excess`."""
    if class_conditional:
        return "reported", CLASS_CONDITIONAL
    if base_rate > 1 - 2 * READABLE:
        return "reported", "nearly all inputs are of one class: there is nothing to read"
    if len(set(texts)) < ENOUGH:
        return "reported", f"fewer than {ENOUGH} texts: too few to judge an accuracy by"
    return _verdict(excess <= READABLE), ""


def _verdict(passed: bool) -> str:
    return "pass" if passed else "fail"


def format_findings(findings: Sequence[Finding]) -> str:
    """
    Findings as a Markdown table.

    Args:
        findings (`Sequence[Finding]`): Result of [`~hf_diffmask.audit.run.audit`].

    Returns:
        `str`: Markdown.
    """
    lines = ["| test | verdict | found |", "|---|---|---|"]
    for one in findings:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in one.figures.items())
        found = "; ".join(part for part in (figures, one.note) if part)
        lines.append(f"| `{one.name}` {one.question} | **{one.verdict}** | {found} |")
    return "\n".join(lines)
