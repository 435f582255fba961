"""Part of speech and entity type of each word, by spaCy."""

from collections.abc import Sequence
from typing import NamedTuple

from ..data.encoding import clean
from ..errors import DiffMaskError, reason


class Tag(NamedTuple):
    """A word and what the tagger says of it."""

    start: int
    """Its first character in the text."""
    end: int
    """The character after its last."""
    pos: str
    """Part of speech, one of the 17 of Universal Dependencies such as `"ADJ"`; empty if the tagger knows none."""
    entity: str
    """Type of the entity that the word is part of, in the tagger's own terms such as `"PERSON"`; empty if of none."""


def tag(texts: Sequence[str], model: str = "en_core_web_sm") -> list[list[Tag]]:
    """
    Tags the words of texts. It needs the optional spaCy and one of its models.

    Args:
        texts (`Sequence[str]`): The texts.
        model (`str`, *optional*, defaults to `"en_core_web_sm"`): A spaCy model: its name, or a folder.

    Returns:
        `list[list[Tag]]`: The words of each text in order, without blanks.

    Raises:
        DiffMaskError: If spaCy or the model is not there; the message says how to get both.
    """
    try:
        import spacy

        tagger = spacy.load(model)
    # spaCy raises OSError for a model that is not there, ValueError for one that is of another version.
    except (ImportError, OSError, ValueError) as error:
        raise DiffMaskError(
            f"Parts of speech and entity types need spaCy and its model {model}: pip install 'hf-diffmask[tagging]', "
            f"then python -m spacy download {model} ({reason(error)})."
        ) from error
    return [
        [Tag(word.idx, word.idx + len(word), word.pos_, word.ent_type_) for word in document if not word.is_space]
        for document in tagger.pipe([clean(text) for text in texts])
    ]
