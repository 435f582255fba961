"""The grid tokens x states of one explanation: HTML without scripts, for pages, notebooks and the Space."""

import uuid
from html import escape
from typing import Any

from .colors import paint
from .wording import certificate, fate, kept_at, predicted, visible

# Shared by all grids. Unpainted parts inherit their colours, for dark pages.
STYLE = """
.dm-grid { color: inherit; overflow-wrap: anywhere; }
.dm-grid fieldset { border: 0; margin: 0.5rem 0; padding: 0; min-width: 0; }
.dm-grid legend, .dm-grid .dm-quiet { opacity: 0.8; }
.dm-grid fieldset span { display: inline-block; margin-right: 0.8rem; white-space: nowrap; }
.dm-grid fieldset label { display: inline; margin-left: 0.2rem; }
.dm-grid th button { text-decoration: underline; }
.dm-grid .dm-units { display: none; line-height: 2; margin: 0.5rem 0; }
.dm-grid button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
.dm-grid .dm-unit { border-radius: 0.2rem; padding: 0 0.3rem; white-space: pre-wrap; }
.dm-grid .dm-dropped { text-decoration: line-through; }
.dm-grid button:focus-visible, .dm-grid input:focus-visible, .dm-grid .dm-scroll:focus-visible {
  outline: 3px solid currentColor; outline-offset: 2px; }
.dm-grid .dm-curve { margin: auto; padding: 1rem; max-width: min(90vw, 30rem); background: Canvas; color: CanvasText;
  border: 2px solid currentColor; border-radius: 0.4rem; }
.dm-grid svg { max-width: 100%; height: auto; overflow: visible; }
.dm-grid .dm-scroll { overflow-x: auto; }
.dm-grid table { border-collapse: collapse; font-size: 0.85rem; }
.dm-grid th, .dm-grid td { padding: 0.15rem 0.5rem; text-align: right; white-space: nowrap; }
.dm-grid th[scope=row] { text-align: left; }
"""


class Attribution(dict):
    """The pipeline's result for one input: a `dict` that notebooks show as a grid."""

    def _repr_html_(self) -> str:
        return grid(self)


def shown(text: object) -> str:
    """
    HTML text for any object, with markup, template braces and control characters escaped.

    Args:
        text (`object`): Any object.

    Returns:
        `str`
    """
    safe = escape(visible(str(text)))
    # Pages fill templates: braces in a text must not act as placeholders.
    return safe.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")


def grid(result: dict[str, Any], name: str | None = None) -> str:
    """
    HTML for one explanation: prediction, certificate, tokens coloured by score at a selectable state, each token's
    curve over states, and a table of all values.

    Args:
        result (`dict`): A result of the pipeline.
        name (`str`, *optional*): Prefix of ids, unique on the page; random by default.

    Returns:
        `str`: A self-contained HTML fragment.
    """
    name = name or f"dm-{uuid.uuid4().hex[:10]}"
    head = f'<p><strong>{shown(predicted(result))}</strong> <span class="dm-quiet">{result["score"]:.3f}</span></p>'
    claim = f'<p class="dm-certificate">{shown(certificate(result))}</p>'
    if not result["tokens"]:
        return f'<div class="dm-grid"><style>{STYLE}</style>{head}{claim}</div>'
    states = result["states"]
    rules = "\n".join(
        f"#{name}:has(#{name}-s{number}:checked) .dm-s{number} {{ display: block; }}" for number in range(len(states))
    )
    choices = "".join(
        f'<span><input type="radio" name="{name}" id="{name}-s{number}"{" checked" * (state == result["state"])}>'
        f'<label for="{name}-s{number}">{shown(state)}</label></span> '
        for number, state in enumerate(states)
    )
    lines = "\n".join(_line(result, number, name) for number in range(len(states)))
    curves = "\n".join(_curve(token, states, f"{name}-t{unit}") for unit, token in enumerate(result["tokens"]))
    return f"""<div class="dm-grid" id="{name}"><style>{STYLE}{rules}</style>
{head}
{claim}
<fieldset><legend>Kept by state</legend>{choices}</fieldset>
{lines}
{curves}
{_table(result, name)}
</div>"""


def _line(result: dict[str, Any], number: int, name: str) -> str:
    """The tokens, coloured by their scores at one state."""
    units = []
    for unit, token in enumerate(result["tokens"]):
        value = token["states"][number]
        where = "special token" if token["special"] else f"characters {token['start']} to {token['end']}"
        kept = kept_at(result, token, number)
        title = f"{'kept' if kept else 'dropped'}, score {value:.3f}, {where}"
        if "evidence" in token and result["states"][number] == result["state"]:
            title = f"{title}, evidence {token['evidence']:+.3f}"
        units.append(
            f'<button type="button" class="dm-unit{"" if kept else " dm-dropped"}" popovertarget="{name}-t{unit}" '
            f'style="{paint(value)}" title="{title}">{shown(token["token"])}</button>'
        )
    state = shown(result["states"][number])
    return f'<p class="dm-units dm-s{number}" aria-label="Tokens at state {state}">{" ".join(units)}</p>'


def _curve(token: dict[str, Any], states: list[str], name: str) -> str:
    """A token's score over states, drawn and in words."""
    width, height, last = 360, 90, max(1, len(states) - 1)
    points = [(width * number / last, height * (1 - value)) for number, value in enumerate(token["states"])]
    values = ", ".join(f"{shown(state)} {value:.3f}" for state, value in zip(states, token["states"], strict=True))
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="currentColor"/>' for x, y in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"""<figure class="dm-curve" id="{name}" popover><figcaption>{shown(token["token"])}: {values}</figcaption>
<svg viewBox="-10 -10 {width + 20} {height + 20}" width="{width + 20}" role="img" aria-hidden="true">
<path d="M0 0V{height}H{width}M0 {height / 2}H{width}" fill="none" stroke="currentColor" opacity="0.4"/>
<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/>{dots}</svg></figure>"""


def _table(result: dict[str, Any], name: str) -> str:
    states = result["states"]
    column = "mask" if any("evidence" in token for token in result["tokens"]) else "dropped at"
    header = "".join(f'<th scope="col">{shown(state)}</th>' for state in states)
    rows = []
    for unit, token in enumerate(result["tokens"]):
        cells = "".join(f'<td style="{paint(value)}">{value:.2f}</td>' for value in token["states"])
        opens = f'<button type="button" popovertarget="{name}-t{unit}">{shown(token["token"])}</button>'
        rows.append(
            f'<tr><th scope="row">{opens}</th>'
            f"<td>{token['score']:.2f}</td>{cells}"
            f"<td>{shown(fate(token, states, 'kept').removeprefix('dropped at '))}</td></tr>"
        )
    return f"""<div class="dm-scroll" tabindex="0" role="region" aria-label="Score of each token at each state">
<table><thead><tr><th scope="col">token</th><th scope="col">score</th>{header}<th scope="col">{column}</th></tr>
</thead><tbody>
{chr(10).join(rows)}
</tbody></table></div>"""
