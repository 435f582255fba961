"""Tables of methods' figures."""

from collections.abc import Sequence
from typing import Any

SHOWN = ("comprehensiveness", "sufficiency")
"""The figures that tables show."""
GROUPS = ("unseen", "seen")
"""Groups of replacements: those that training did not use, and those that it did."""


def table(methods: dict[str, Any], seen: Sequence[str] = ()) -> str:
    """
    Table of comprehensiveness and sufficiency, with their intervals, and under each other replacement. Means over the
    unseen and the seen replacements include the preset's own.

    Args:
        methods (`dict`): Figures by method.
        seen (`Sequence[str]`, *optional*): Replacements that the explainer saw in training.

    Returns:
        `str`: Markdown.
    """
    bounded = any("reached" in found for found in methods.values())
    first: dict[str, Any] = next(iter(methods.values()), {})
    groups = [group for group in GROUPS if group in first]
    columns = [*(_named(name, seen) for name in first.get("by_held_out", ())), *(f"mean of {one}" for one in groups)]
    header = ["method", *SHOWN, *(f"{name}: both" for name in columns), "cost in forwards", "seconds an input"]
    header += ["of the way to the best: both"] if bounded else []
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, found in methods.items():
        cells = [_with_interval(found["figures"][figure]) for figure in SHOWN]
        for both in (*found["by_held_out"].values(), *(found[group]["figures"] for group in groups)):
            cells.append(" / ".join(f"{both[figure]['mean']:.3f}" for figure in SHOWN))
        cells += ["", ""] if found["forwards"] is None else [f"{found['forwards']:.1f}", f"{found['seconds']:.4f}"]
        if "reached" in found:
            cells.append(" / ".join(f"{found['reached'][figure]['mean']:.2f}" for figure in SHOWN))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_replacements(methods: dict[str, Any], group: str = "every_replacement") -> str:
    """
    Table of means over replacements with intervals, and intervals of the difference to the first method.

    Args:
        methods (`dict`): Figures by method.
        group (`str`, *optional*, defaults to `"every_replacement"`): Or `"unseen"` or `"seen"`.

    Returns:
        `str`: Markdown.
    """
    lead = [f"{figure}, less the first method's" for figure in SHOWN]
    lines = [f"| method | {' | '.join([*SHOWN, *lead])} |", "|---" * 5 + "|"]
    for name, found in methods.items():
        figures, less = found[group]["figures"], found[group]["less_the_first"]
        cells = [_with_interval(figures[figure]) for figure in SHOWN]
        cells += [f"{less[figure]['low']:.3f} to {less[figure]['high']:.3f}" for figure in SHOWN]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_random_masks(methods: dict[str, Any], seen: Sequence[str] = ()) -> str:
    """
    Table of LDS and R2 under each replacement, and of their means over the unseen and the seen ones.

    Args:
        methods (`dict`): Figures by method.
        seen (`Sequence[str]`, *optional*): Replacements that the explainer saw in training.

    Returns:
        `str`: Markdown. R2 is empty for scores that are no log-odds.
    """
    first: dict[str, Any] = next(iter(methods.values()), {"lds": {"by_replacement": {}}})["lds"]
    groups = [group for group in GROUPS if group in first]
    columns = [*(_named(name, seen) for name in first["by_replacement"]), *(f"mean of {one}" for one in groups)]
    header = [f"{figure}, {column}" for figure in ("LDS", "R2") for column in columns]
    lines = [f"| method | {' | '.join(header)} |", "|---" * (1 + len(header)) + "|"]
    for method, found in methods.items():
        cells = []
        for of_figure in (found["lds"], found["r2"]):
            parts = of_figure and [*of_figure["by_replacement"].values(), *(of_figure[group] for group in groups)]
            cells += [_with_interval(one) if one["inputs"] else "" for one in parts] if parts else [""] * len(columns)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_more(methods: dict[str, Any]) -> str:
    """
    Table of the further figures.

    Args:
        methods (`dict`): Figures by method.

    Returns:
        `str`: Markdown.
    """
    figures = list(dict.fromkeys(figure for found in methods.values() for figure in found))
    lines = [f"| method | {' | '.join(figures)} |", "|---" * (1 + len(figures)) + "|"]
    for name, found in methods.items():
        cells = [f"{found[figure]['mean']:.3f}" if figure in found else "" for figure in figures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _named(replacement: str, seen: Sequence[str]) -> str:
    return f"{replacement} ({'seen' if replacement in seen else 'unseen'})"
