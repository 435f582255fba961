"""The grid tokens x states of one explanation: HTML without scripts, for pages, notebooks and the Space."""

import uuid
from html import escape
from typing import Any

from .certificate import ICONS, Certificate, certificate, certificate_at
from .colors import paint
from .wording import at_state, fate, kept_at, predicted, visible

# Shared by all grids. Unpainted parts inherit their colours, for dark pages.
STYLE = """
.dm-grid { color: inherit; overflow-wrap: anywhere; }
.dm-grid fieldset { border: 0; margin: 0.5rem 0; padding: 0; min-width: 0; }
.dm-grid legend, .dm-grid .dm-quiet { opacity: 0.8; }
.dm-grid fieldset span { display: inline-block; margin-right: 0.8rem; white-space: nowrap; }
.dm-grid fieldset label { display: inline; margin-left: 0.2rem; }
.dm-grid th button { text-decoration: underline; }
.dm-grid .dm-certificate { border-left: 0.3rem solid; padding: 0.2rem 0.7rem; }
.dm-grid .dm-certificate[data-state="holds"] { border-color: #2e7d32; }
.dm-grid .dm-certificate[data-state="does not hold"] { border-color: #c62828; }
.dm-grid .dm-certificate[data-state="not checked"] { border-color: #b07800; border-left-style: dashed; }
.dm-grid .dm-at { display: none; }
.dm-grid .dm-units { line-height: 2; margin: 0.5rem 0; }
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


def stated(found: Certificate) -> str:
    """
    A certificate as a paragraph, with colour and icon of its state.

    Args:
        found ([`Certificate`]): The certificate.

    Returns:
        `str`: HTML. Its colours need `STYLE`, and an element of the class `dm-grid` around it.
    """
    icon = f'<span aria-hidden="true">{ICONS[found.state]}</span>'
    return f'<p class="dm-certificate" data-state="{found.state}">{icon} {shown(found.words)}</p>'


def grid(result: dict[str, Any], name: str | None = None, states: bool = True) -> str:
    """
    HTML for one explanation: prediction, certificate, tokens coloured by score at a state, each token's curve over
    states, and a table of all values.

    Args:
        result (`dict`): A result of the pipeline.
        name (`str`, *optional*): Prefix of ids, unique on the page; random by default.
        states (`bool`, *optional*, defaults to `True`): Whether readers can choose the state. Certificate, tokens and
            mask follow the choice. If not, all are shown for the state of the result.

    Returns:
        `str`: A self-contained HTML fragment. For a row that was skipped, why.
    """
    if "error" in result:
        return f"<p>{shown(result['error'])}</p>"
    name = name or f"dm-{uuid.uuid4().hex[:10]}"
    head = f'<p><strong>{shown(predicted(result))}</strong> <span class="dm-quiet">{result["score"]:.3f}</span></p>'
    if not result["tokens"]:
        return f'<div class="dm-grid"><style>{STYLE}</style>{head}{stated(certificate(result))}</div>'
    names = result["states"]
    numbers = list(range(len(names))) if states else [names.index(result["state"])]
    curves = "\n".join(_curve(token, names, f"{name}-t{unit}") for unit, token in enumerate(result["tokens"]))
    return f"""<div class="dm-grid" id="{name}"><style>{STYLE}{_rules(numbers, name)}</style>
{head}
{_at(numbers, [stated(certificate_at(result, number)) for number in numbers])}
{_choices(result, name) if states else ""}
{_at(numbers, [_line(result, number, name) for number in numbers])}
{curves}
{_table(result, numbers, name)}
</div>"""


def _at(numbers: list[int], parts: list[str], tag: str = "div") -> str:
    """Parts for several states, of which the chosen one is shown; without a choice the only part."""
    if len(numbers) == 1:
        return parts[0]
    return "".join(
        f'<{tag} class="dm-at dm-s{number}">{part}</{tag}>' for number, part in zip(numbers, parts, strict=True)
    )


def _rules(numbers: list[int], name: str) -> str:
    """CSS that shows the chosen state."""
    if len(numbers) == 1:
        return ""
    return "\n".join(f"#{name}:has(#{name}-s{k}:checked) .dm-s{k} {{ display: block; }}" for k in numbers)


def _choices(result: dict[str, Any], name: str) -> str:
    """A radio button for each state."""
    choices = "".join(
        f'<span><input type="radio" name="{name}" id="{name}-s{number}"{" checked" * (state == result["state"])}>'
        f'<label for="{name}-s{number}">{shown(state)}</label></span> '
        for number, state in enumerate(result["states"])
    )
    return f"<fieldset><legend>Kept by state</legend>{choices}</fieldset>"


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
    at = shown(at_state(result["states"][number]) or " of the explanation")
    return f'<p class="dm-units" aria-label="Tokens{at}">{" ".join(units)}</p>'


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


def _table(result: dict[str, Any], numbers: list[int], name: str) -> str:
    """All values. For a path, score and mask are for the shown state; else the last column says what drops a token."""
    states = result["states"]
    is_path = any("evidence" in token for token in result["tokens"])
    header = "".join(f'<th scope="col">{shown(state)}</th>' for state in states)
    rows = []
    for unit, token in enumerate(result["tokens"]):
        cells = "".join(f'<td style="{paint(value)}">{value:.2f}</td>' for value in token["states"])
        opens = f'<button type="button" popovertarget="{name}-t{unit}">{shown(token["token"])}</button>'
        score, end = f"{token['score']:.2f}", shown(fate(token, states, "kept").removeprefix("dropped at "))
        if is_path:
            score = _at(numbers, [f"{token['states'][number]:.2f}" for number in numbers], "span")
            kept = [kept_at(result, token, number) for number in numbers]
            end = _at(numbers, ["kept" if one else "dropped" for one in kept], "span")
        rows.append(f'<tr><th scope="row">{opens}</th><td>{score}</td>{cells}<td>{end}</td></tr>')
    return f"""<div class="dm-scroll" tabindex="0" role="region" aria-label="Score of each token at each state">
<table><thead><tr><th scope="col">token</th><th scope="col">score</th>{header}<th scope="col">\
{"mask" if is_path else "dropped at"}</th></tr>
</thead><tbody>
{chr(10).join(rows)}
</tbody></table></div>"""
