"""Part of speech and entity type of each word, from spaCy."""

from collections.abc import Sequence
from typing import NamedTuple

from ..data.encoding import clean
from ..errors import DiffMaskError, reason


class Tag(NamedTuple):
    """A word with the tagger's labels."""

    start: int
    """Offset of the word's first character in the text."""
    end: int
    """Offset of the character after the word."""
    pos: str
    """Part of speech, one of the 17 of Universal Dependencies such as `"ADJ"`; empty if the tagger gives none."""
    entity: str
    """Type of the word's entity, in the tagger's terms such as `"PERSON"`; empty if the word is in no entity."""


def tag(texts: Sequence[str], model: str = "en_core_web_sm") -> list[list[Tag]]:
    """
    Tagged words of texts. Needs the optional package spaCy and a spaCy model.

    Args:
        texts (`Sequence[str]`): The texts.
        model (`str`, *optional*, defaults to `"en_core_web_sm"`): Name or folder of a spaCy model.

    Returns:
        `list[list[Tag]]`: The words of each text in order, without white space.

    Raises:
        DiffMaskError: If spaCy or the model is missing; the message says how to install both.
    """
    try:
        import spacy

        tagger = spacy.load(model)
    # spaCy raises OSError for a missing model, ValueError for a model of another version.
    except (ImportError, OSError, ValueError) as error:
        raise DiffMaskError(
            f"Parts of speech and entity types need spaCy and its model {model}: pip install 'hf-diffmask[tagging]', "
            f"then python -m spacy download {model} ({reason(error)})."
        ) from error
    return [
        [Tag(word.idx, word.idx + len(word), word.pos_, word.ent_type_) for word in document if not word.is_space]
        for document in tagger.pipe([clean(text) for text in texts])
    ]
