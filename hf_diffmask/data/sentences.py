"""Sentences of a text."""

from ..errors import DiffMaskError
from .spans import Span


def sentences(text: str) -> list[Span]:
    """
    Start and end of each sentence, in characters. They cover the whole text.

    The library `sentencex` finds them, with the abbreviations of English and the punctuation of all languages.

    Args:
        text (`str`): The text.

    Returns:
        `list[tuple[int, int]]`: In the order of the text, white space after a sentence included.

    Raises:
        DiffMaskError: If the library is missing.
    """
    try:
        from sentencex import get_sentence_boundaries
    except ImportError as error:
        raise DiffMaskError('Sentences need the library sentencex: pip install "sentencex>=1.0".') from error
    return [(one["start_index"], one["end_index"]) for one in get_sentence_boundaries("en", text)]
