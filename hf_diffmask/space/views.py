"""Content of the page: fixed texts, style, and results as HTML."""

from typing import Any

from ..display.certificate import judged, units_of
from ..display.colors import paint
from ..display.grid import shown, stated
from ..display.wording import predicted
from ..errors import DiffMaskError
from .files import SUFFIXES
from .settings import Settings

INTRODUCTION = """# What does the model need?

An explainer by [Differentiable Masking](https://arxiv.org/abs/2004.14992) ranks the tokens of a text, in one forward
pass of the model, by what its prediction needs, and says what dropping the others does to the output. That is what
*suffices* to preserve the output, and not *why* it is what it is."""
WHAT_IF = "Choose the tokens that stay; the others are masked. Explain a text first."
COMPARE = "The same text under three methods, with what each costs in passes of the model, forward and backward."
EXAMPLES = [
    "a warm and quietly funny film , even if the plot is a little thin",
    "the cast is lovely , but two hours of this are two hours too many",
    "not bad at all",
]
CANCELLED = "<p>Cancelled.</p>"

CSS = """
#explanation, #comparison { font-size: 1rem; }
#tokens label { padding: 0.15rem 0.4rem; }
.refusal { border-left: 0.3rem solid #c62828; padding: 0.3rem 0.7rem; }
.compared { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 1rem; }
:is(#changed, #changed-what-if, #changed-compare):not(:has(p)) { display: none; }
.changed { border-left: 0.3rem solid #b07800; padding: 0.3rem 0.7rem; }
"""
# What a click on Explain asks for. The time makes a second click on the same text another request.
ASK = """(text, pair, explainer) =>
  [{text: text, pair: pair || '', explainer: explainer || '', at: Date.now()}]"""
ASK_NOTHING = "() => [null]"
# Runs in the browser at each edit: whether text and explainer are still those that the views are for.
CHANGED = """(text, pair, explainer, asked, compared) => {
  const told = (shown, again) => {
    if (!shown || shown.refusal) return '';
    const other = shown.explainer !== (explainer || '') ? 'explainer' : 'text';
    const same = shown.text === text && shown.pair === (pair || '') && shown.explainer === (explainer || '');
    return same ? '' : `<p class="changed" role="status">The ${other} has changed: ${again}.</p>`;
  };
  return [told(asked, 'explain it again'), told(asked, 'explain it again'), told(compared, 'compare again')];
}"""


def limits(settings: Settings) -> str:
    """
    The limits for files, in words.

    Args:
        settings ([`Settings`]): The limits.

    Returns:
        `str`: Markdown.
    """
    return (
        f"A {', '.join(SUFFIXES)} file of up to {settings.rows:,} rows, {settings.upload_megabytes:g} MB, and "
        f"{settings.characters:,} characters a text. Files are deleted within a day."
    )


def refusal(error: DiffMaskError) -> str:
    """
    The message of an error, highlighted.

    Args:
        error ([`DiffMaskError`]): The error.

    Returns:
        `str`: HTML.
    """
    return f'<p class="refusal" role="alert">{shown(error)}</p>'


def probabilities(prediction: dict[str, Any]) -> dict[str, float]:
    """
    A prediction in the form for `gradio.Label`.

    Args:
        prediction (`dict`): `whole` or `masked` of [`~hf_diffmask.pipeline.what_if.what_if`].

    Returns:
        `dict[str, float]`: Probabilities by label, or without probabilities the score of the prediction.
    """
    return prediction.get("probabilities") or {predicted(prediction): prediction["score"]}


def claim(found: dict[str, Any], count: int) -> str:
    """
    The check of a visitor's own mask: the effect of dropped tokens on the output.

    Args:
        found (`dict`): A result of [`~hf_diffmask.pipeline.what_if.what_if`].
        count (`int`): Number of ordinary tokens in the input.

    Returns:
        `str`: HTML.
    """
    dropped = count - (len(found["kept"]) - found["special"])
    check = judged({**found, **found["whole"]}, f"Dropping {dropped} of {count} {units_of(found)}")
    return f'<div class="dm-grid">{stated(check)}</div>'


def comparison(methods: list[dict[str, Any]]) -> str:
    """
    Several methods side by side.

    Args:
        methods (`list[dict]`): Result of [`Service.compare`].

    Returns:
        `str`: HTML. For each method: coloured tokens, cost, and faithfulness if measured.
    """
    return (
        f'<div class="dm-grid compared">{"".join(map(_method, methods))}</div><p>Bright: what speaks most for the '
        "prediction; dark: nothing, or what speaks against it. Each method has a scale of its own: hover for "
        "scores.</p>"
    )


def progressed(done: int, count: int) -> str:
    """
    Progress of a batch.

    Args:
        done (`int`): Number of explained texts.
        count (`int`): Number of texts in the file.

    Returns:
        `str`: HTML.
    """
    return f"<p>{done} of {count} texts.</p>"


def finished(count: int) -> str:
    """
    Message after a batch, with the formats of its results.

    Args:
        count (`int`): Number of explained texts.

    Returns:
        `str`: HTML.
    """
    return f"<p>{count} texts explained: as parquet, as JSON lines, and as a page.</p>"


def _method(compared: dict[str, Any]) -> str:
    """One method. Colours show scores divided by its largest score; scores below 0 count as 0."""
    tokens = [token for token in compared["tokens"] if not token["special"]]
    largest = max((token["score"] for token in tokens), default=0.0)
    units = []
    for token in tokens:
        value = max(0.0, token["score"] / largest) if largest > 0 else 0.0
        units.append(
            f'<span class="dm-unit" style="{paint(value)}" title="score {token["score"]:+.4f}">'
            f"{shown(token['token'])}</span>"
        )
    passes = f"{compared['passes']} pass{'es' * (compared['passes'] > 1)} of the model"
    took, bare = 1000 * compared["seconds"], 1000 * compared["bare_seconds"]
    cost = f"{passes}, {took:.0f} ms beside {bare:.0f} ms of a bare one"
    faithful = ""
    if "comprehensiveness" in compared:
        figures = f"comprehensiveness {compared['comprehensiveness']:.3f}, sufficiency {compared['sufficiency']:.3f}"
        faithful = f"<br>{figures} here"
    return (
        f'<section><h3>{shown(compared["method"])}</h3><p class="dm-units">{" ".join(units)}</p>'
        f'<p class="dm-quiet">{cost}{faithful}</p></section>'
    )
