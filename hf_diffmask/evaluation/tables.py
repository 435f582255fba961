"""Tables of methods' figures."""

from typing import Any

SHOWN = ("comprehensiveness", "sufficiency")
"""The figures that tables show."""


def table(methods: dict[str, Any]) -> str:
    """
    Table of comprehensiveness and sufficiency, with their intervals.

    Args:
        methods (`dict`): Figures by method.

    Returns:
        `str`: Markdown.
    """
    bounded = any("reached" in found for found in methods.values())
    header = ["method", *SHOWN, "unseen replacement: both", "cost in forwards", "seconds an input"]
    header += ["of the way to the best: both"] if bounded else []
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, found in methods.items():
        figures = [
            f"{(value := found['figures'][figure])['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
            for figure in SHOWN
        ]
        unseen = " / ".join(f"{found['held_out'][figure]['mean']:.3f}" for figure in SHOWN)
        cost = ["", ""] if found["forwards"] is None else [f"{found['forwards']:.1f}", f"{found['seconds']:.4f}"]
        if "reached" in found:
            cost.append(" / ".join(f"{found['reached'][figure]['mean']:.2f}" for figure in SHOWN))
        lines.append(f"| {name} | {' | '.join([*figures, unseen, *cost])} |")
    return "\n".join(lines)


def table_of_replacements(methods: dict[str, Any]) -> str:
    """
    Table of means over all replacements with intervals, and intervals of the difference to the first method.

    Args:
        methods (`dict`): Figures by method.

    Returns:
        `str`: Markdown.
    """
    lead = [f"{figure}, less the first method's" for figure in SHOWN]
    lines = [f"| method | {' | '.join([*SHOWN, *lead])} |", "|---" * 5 + "|"]
    for name, found in methods.items():
        figures, less = found["every_replacement"]["figures"], found["every_replacement"]["less_the_first"]
        cells = [f"{(v := figures[name])['mean']:.3f} ({v['low']:.3f} to {v['high']:.3f})" for name in SHOWN]
        cells += [f"{less[name]['low']:.3f} to {less[name]['high']:.3f}" for name in SHOWN]
        lines.append(f"| {name} | {' | '.join(cells)} |")
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
