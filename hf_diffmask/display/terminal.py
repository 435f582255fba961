"""Coloured text of an explanation, for terminals."""

from typing import Any

from .certificate import FAILS, HOLDS, UNCHECKED, certificate
from .colors import color as color_of
from .colors import is_light
from .wording import fate, predicted, visible

# A mark of ASCII, and the number of the colour: green, red and yellow.
_MARKS = {HOLDS: ("[+]", 32), FAILS: ("[!]", 31), UNCHECKED: ("[?]", 33)}


def to_text(result: dict[str, Any], color: bool) -> str:
    """
    Text of an explanation, for a terminal.

    Args:
        result (`dict`): A result of the pipeline.
        color (`bool`): Whether to use ANSI colours.

    Returns:
        `str`: Prediction, tokens, certificate with a mark for its state, and one line for each ordinary token: the
        state that dropped the token, or for a path whether the token is kept. For a skipped row, why.
    """
    if "error" in result:
        return visible(result["error"])

    def paint(text: str, value: float, kept: bool) -> str:
        if not color:
            return text if kept else f"({text})"
        red, green, blue = color_of(value)
        return f"\x1b[{'30' if is_light(value) else '97'};48;2;{red};{green};{blue}m{text}\x1b[0m"

    names, tokens, checked = result["states"], result["tokens"], certificate(result)
    mark, number = _MARKS[checked.state]
    mark = f"\x1b[{number}m{mark}\x1b[0m" if color else mark
    shown = [visible(token["token"]) for token in tokens]
    width = max((len(text) for text in shown), default=0)
    lines = [
        f"{predicted(result)} {result['score']:.3f}",
        " ".join(paint(text, token["score"], token["kept"]) for text, token in zip(shown, tokens, strict=True)),
        f"{mark} {checked.words}",
    ]
    for text, token in zip(shown, tokens, strict=True):
        if token["special"]:
            continue
        end = fate(token, names, "kept to the end")
        lines.append(f"  {text:<{width}}  {token['score']:.2f}  {paint('    ', token['score'], True)}  {end}")
    return "\n".join(lines)
