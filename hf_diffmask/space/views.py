"""What the page shows: its fixed texts and style, and results as HTML."""

from typing import Any

from ..display.colors import paint
from ..display.grid import shown
from ..display.wording import effect, predicted
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
.compared .dm-units { display: block; }
"""
# The grid has a radio button for each state, so that it works without scripts. The slider checks one of them.
SHOW_STATE = """(number) => {
  const choices = document.querySelectorAll('#explanation input[type=radio]');
  if (choices.length) choices[Math.min(number, choices.length - 1)].checked = true;
  return [];
}"""


def limits(settings: Settings) -> str:
    """
    The limits on files, in words.

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
    The sentence of an error, set off from other text.

    Args:
        error ([`DiffMaskError`]): The error.

    Returns:
        `str`: HTML.
    """
    return f'<p class="refusal" role="alert">{shown(error)}</p>'


def probabilities(prediction: dict[str, Any]) -> dict[str, float]:
    """
    A prediction as `gradio.Label` takes it.

    Args:
        prediction (`dict`): `whole` or `masked` of [`~hf_diffmask.pipeline.what_if.what_if`].

    Returns:
        `dict[str, float]`: Probabilities by label. Without those, the score of what is predicted.
    """
    return prediction.get("probabilities") or {predicted(prediction): prediction["score"]}


def claim(found: dict[str, Any], count: int) -> str:
    """
    What dropping tokens does to the output, in one sentence.

    Args:
        found (`dict`): A result of [`~hf_diffmask.pipeline.what_if.what_if`].
        count (`int`): Tokens of the input that are not special.

    Returns:
        `str`: HTML.
    """
    dropped = count - (len(found["kept"]) - found["special"])
    does = effect({**found, **found["whole"]})
    return f"<p>Dropping {dropped} of {count} tokens {shown(does)}.</p>"


def comparison(methods: list[dict[str, Any]]) -> str:
    """
    Several methods side by side.

    Args:
        methods (`list[dict]`): What [`Service.compare`] returns.

    Returns:
        `str`: HTML: of each method the coloured tokens, the cost, and the faithfulness if it was measured.
    """
    return (
        f'<div class="dm-grid compared">{"".join(map(_method, methods))}</div><p>Bright: what speaks most for the '
        "prediction; dark: nothing, or what speaks against it. Each method has a scale of its own: hover for "
        "scores.</p>"
    )


def progressed(done: int, count: int) -> str:
    """
    How far a batch is.

    Args:
        done (`int`): Texts that are explained.
        count (`int`): Texts of the file.

    Returns:
        `str`: HTML.
    """
    return f"<p>{done} of {count} texts.</p>"


def finished(count: int) -> str:
    """
    That a batch is done, and in which forms its results are there.

    Args:
        count (`int`): Texts that are explained.

    Returns:
        `str`: HTML.
    """
    return f"<p>{count} texts explained: as parquet, as JSON lines, and as a page.</p>"


def _method(compared: dict[str, Any]) -> str:
    """One method. Colours are shares of its largest score."""
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
