"""Explanations to look at: a self-contained page, and coloured text for terminals. Everything shown is escaped."""

import unicodedata
from collections.abc import Iterable
from html import escape
from typing import Any

# Cividis (Nunez et al. 2018), perceptually uniform and the same to colour-blind eyes, at 0, 1/4, 1/2, 3/4 and 1.
_SCALE = [(0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 175, 111), (254, 232, 56)]

# Of every page; a page's own follows.
PAGE_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --back: #ffffff; --line: #d0d0d0; --quiet: #5c5c5c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececec; --back: #16181c; --line: #44484f; --quiet: #a9adb5; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto;
  padding: 1rem; }
section { border-top: 1px solid var(--line); }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; }
.scroll:focus { outline: 2px solid var(--quiet); }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.15rem 0.5rem; text-align: right; white-space: nowrap; }
"""

_STYLE = """
body { max-width: 70rem; }
section { padding: 1rem 0; }
th[scope=row] { text-align: left; position: sticky; left: 0; background: var(--back); }
.unit { padding: 0.1rem 0.25rem; border-radius: 0.2rem; white-space: pre-wrap; }
.dropped { text-decoration: line-through; }
"""


def _color(value: float) -> tuple[int, int, int]:
    position = min(max(value, 0.0), 1.0) * (len(_SCALE) - 1)
    low = min(int(position), len(_SCALE) - 2)
    part = position - low
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(_SCALE[low], _SCALE[low + 1], strict=True))
    return red, green, blue


def _paint(value: float) -> str:
    red, green, blue = _color(value)
    # Relative luminance decides between black and white text, both well above a contrast of 4.5.
    light = (0.2126 * red + 0.7152 * green + 0.0722 * blue) > 115
    return f"background: rgb({red}, {green}, {blue}); color: {'#000' if light else '#fff'}"


def visible(text: str) -> str:
    """
    Makes control and format characters visible, so that a text can neither hide nor steer a terminal.

    Args:
        text (`str`): Any text.

    Returns:
        `str`: The same with such characters as `\\x1b` or `\\u202e` written out.
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char
        for char in text
    )


def dropped_at(token: dict[str, Any], states: list[str]) -> str | None:
    """
    The state from which on a token is masked. With hidden masking one that a state drops can come back above.

    Args:
        token (`dict`): A token of the pipeline's result.
        states (`list[str]`): Names of the states.

    Returns:
        `str` or `None`: Its name; `None` for a token that the last state keeps.
    """
    kept = [number for number, keep in enumerate(token["states"]) if keep > 0.5]
    first = kept[-1] + 1 if kept else 0
    return states[first] if first < len(states) else None


def _fate(token: dict[str, Any], states: list[str], kept: str) -> str:
    """What becomes of a token. Masks of a path are not nested over states: whether the one handed out keeps it."""
    if "evidence" in token:
        return "kept" if token["kept"] else "dropped"
    dropped = dropped_at(token, states)
    return kept if dropped is None else f"dropped at {dropped}"


def certificate(result: dict[str, Any]) -> str:
    """
    What an explanation claims and whether it was checked, in plain words.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`: One sentence.
    """
    moves = f"the output by {result.get('divergence', 0.0):.3f} nats"
    if "drop" in result:
        name = result.get("explained_label", result.get("label"))
        moves = f"the probability of {visible(str(name))} by {-result['drop']:+.3f}"
    if result.get("abstained"):
        return (
            f"No explanation: the one at state {result['state']} would move {moves}, outside the margin of "
            f"{result['margin']:g}."
        )
    dropped = f"{100 * (1 - result['kept_share']):.0f} % of the tokens can go at state {result['state']}"
    if "divergence" not in result:
        return f"{dropped} (not verified)."
    stays = "the prediction stays" if result["same_prediction"] else "the prediction changes"
    within = "within" if result["within_margin"] else "outside"
    return f"{dropped}: this moves {moves}, {within} the margin of {result['margin']:g}, and {stays}."


def predicted(result: dict[str, Any]) -> str:
    """
    What the base model predicts, in a form that can be shown.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`: Its label or answer.
    """
    return visible(str(result["label"] if "label" in result else result["answer"] or "(no answer)"))


def _section(result: dict[str, Any]) -> str:
    names = result["states"]
    units, rows = [], []
    for token in result["tokens"]:
        text = escape(visible(token["token"]))
        where = "special token" if token["special"] else f"characters {token['start']} to {token['end']}"
        title = escape(f"score {token['score']:.3f}, {where}")
        kept = "unit" if token["kept"] else "unit dropped"
        units.append(f'<span class="{kept}" style="{_paint(token["score"])}" title="{title}">{text}</span>')
        cells = "".join(f'<td style="{_paint(value)}">{value:.2f}</td>' for value in token["states"])
        rows.append(
            f'<tr><th scope="row">{text}</th><td>{token["score"]:.2f}</td>{cells}'
            f"<td>{escape(_fate(token, names, 'kept').removeprefix('dropped at '))}</td></tr>"
        )
    column = "mask" if any("evidence" in token for token in result["tokens"]) else "dropped at"
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return f"""<section>
<h2>{escape(predicted(result))} <span class="quiet">{result["score"]:.3f}</span></h2>
<p>{" ".join(units)}</p>
<p class="quiet">{escape(certificate(result))}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Keep probability of each token at each state">
<table><thead><tr><th scope="col">token</th><th scope="col">score</th>{header}<th scope="col">{column}</th></tr>
</thead><tbody>
{chr(10).join(rows)}
</tbody></table></div>
</section>"""


def to_html(results: Iterable[dict[str, Any]], title: str = "Attributions by Differentiable Masking") -> str:
    """
    A page that needs nothing else: for each input its tokens, and the heat map tokens x states.

    Args:
        results (`Iterable[dict]`): Results of the pipeline.
        title (`str`, *optional*): Title of the page.

    Returns:
        `str`: HTML without scripts or outside resources.
    """
    sections = "\n".join(_section(result) for result in results)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{PAGE_STYLE}{_STYLE}</style></head>
<body><h1>{escape(title)}</h1>
<p class="quiet">Colour and number: the probability that a token is kept, from 0 (dark) to 1 (bright). Struck out: the
mask drops it; the line below each text says what that does to the output.</p>
{sections}
</body></html>
"""


def to_text(result: dict[str, Any], color: bool) -> str:
    """
    An explanation for a terminal.

    Args:
        result (`dict`): A result of the pipeline.
        color (`bool`): Whether to use ANSI colours.

    Returns:
        `str`: The prediction, the tokens, the certificate, and a line a token with the state that dropped it, or of a
        path whether it is kept.
    """

    def paint(text: str, value: float, kept: bool) -> str:
        if not color:
            return text if kept else f"({text})"
        red, green, blue = _color(value)
        front = "30" if (0.2126 * red + 0.7152 * green + 0.0722 * blue) > 115 else "97"
        return f"\x1b[{front};48;2;{red};{green};{blue}m{text}\x1b[0m"

    names, tokens = result["states"], result["tokens"]
    shown = [visible(token["token"]) for token in tokens]
    width = max((len(text) for text in shown), default=0)
    lines = [
        f"{predicted(result)} {result['score']:.3f}",
        " ".join(paint(text, token["score"], token["kept"]) for text, token in zip(shown, tokens, strict=True)),
        certificate(result),
    ]
    for text, token in zip(shown, tokens, strict=True):
        if token["special"]:
            continue
        fate = _fate(token, names, "kept to the end")
        lines.append(f"  {text:<{width}}  {token['score']:.2f}  {paint('    ', token['score'], True)}  {fate}")
    return "\n".join(lines)
