"""Text as Markdown, escaped."""

import re
from html import escape

from .wording import visible


def markdown(text: str) -> str:
    """
    Escapes a text for a card.

    Args:
        text (`str`): Any text.

    Returns:
        `str`: The text in one line, without active markup.
    """
    return re.sub(r"([\\`*_\[\]{}|~#!])", r"\\\1", escape(visible(text)))


def emphasised(text: str, spans: list[tuple[int, int]]) -> str:
    """
    Sets parts of a text in bold.

    Args:
        text (`str`): The text.
        spans (`list[tuple[int, int]]`): Start and end of each part, in characters, in order.

    Returns:
        `str`: Escaped Markdown. Parts separated only by white space are merged.
    """
    joined: list[list[int]] = []
    for start, end in spans:
        if joined and not text[joined[-1][1] : start].strip():
            joined[-1][1] = end
        elif text[start:end].strip():
            joined.append([start, end])
    parts, last = [], 0
    for start, end in joined:
        parts += [markdown(text[last:start]), f"**{markdown(text[start:end])}**"]
        last = end
    return "".join([*parts, markdown(text[last:])])


def without_images(text: str) -> str:
    """
    Turns images into links, and drawings into code.

    Args:
        text (`str`): Anybody's Markdown.

    Returns:
        `str`: Markdown that makes a page load nothing. A picture's address could belong to any server.
    """
    text = re.sub(r"!+(?=\[)", "", text)
    return re.sub(r"(`{3}|~{3})([ \t]*)mermaid", r"\1\2text", text)
