"""Checks and reads the inputs of a task. The defaults are for a text or a pair of texts."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from transformers import PreTrainedTokenizerBase

from ..data.encoding import EncodedText, Text, encode
from ..errors import DiffMaskError


def whole_number(value: Any) -> int | None:
    """
    An integer of any library as an `int`.

    Args:
        value (`Any`): Such as an `int`, a NumPy integer, or a PyTorch tensor with one integer.

    Returns:
        `int` or `None`: `None` for everything else. `True` and `False` are no numbers.
    """
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        return None
    try:
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return None


class TaskInputs:
    """The part of [`Task`] that checks and reads inputs."""

    columns: ClassVar[tuple[str, str | None]] = ("text", None)
    """Default columns of a data set: the text, and the second text of a pair."""

    def check(self, item: Any, what: str) -> Text:
        """
        The input, checked.

        Args:
            item (`Any`): A text, a pair as a tuple, or a mapping with `text` and `text_pair`.
            what (`str`): Name of the input in an error.

        Returns:
            `str` or `tuple[str, str]`

        Raises:
            DiffMaskError: If the input is no text, or empty.
        """
        if isinstance(item, Mapping) and "text" in item:
            parts = [item["text"], *([item["text_pair"]] if item.get("text_pair") is not None else [])]
        else:
            parts = list(item) if isinstance(item, tuple) and len(item) == 2 else [item]
        for part in parts:
            if not isinstance(part, str):
                raise DiffMaskError(
                    f"{what} is no text but of type {type(part).__name__}: give a string, or a pair as "
                    '{"text": ..., "text_pair": ...}.'
                )
            if not part.strip():
                raise DiffMaskError(f"{what} is empty: give a text with at least one visible character.")
        texts = [str(part) for part in parts]  # NumPy's texts become plain ones
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])

    def encoded(
        self, tokenizer: PreTrainedTokenizerBase, text: Text, what: str, draw: torch.Generator | None = None
    ) -> EncodedText:
        """
        The tokens of an input.

        Args:
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
            text (`str` or `tuple[str, str]`): The input, from [`Task.check`].
            what (`str`): Name of the input in an error.
            draw (`torch.Generator`, *optional*): For data sets: draws what is explained, if the input does not say.

        Returns:
            [`EncodedText`]

        Raises:
            DiffMaskError: If the input does not say what is explained, and nothing is drawn.
        """
        return encode(tokenizer, text)

    def read(self, dataset: str, limit: int | None = None) -> list[Text] | None:
        """
        The inputs in a file, if the file has a format that only this task reads.

        Args:
            dataset (`str`): The file.
            limit (`int`, *optional*): Largest number of inputs.

        Returns:
            `list` or `None`: `None` for a file in another format.
        """
        return None

    def check_room(self, encoded: EncodedText, length: int, what: str = "The input") -> None:
        """
        Refuses an input that cannot be split into windows.

        Args:
            encoded ([`EncodedText`]): The input.
            length (`int`): Tokens that fit into a window.
            what (`str`, *optional*, defaults to `"The input"`): Name of the input in an error.

        Raises:
            DiffMaskError: If a window has no room for the part that every window must hold, such as a question.
        """

    def with_room(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], length: int) -> list[Text]:
        """
        The inputs that can be split into windows, by default all. A warning counts the others.

        Args:
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
            texts (`Sequence`): Inputs.
            length (`int`): Tokens that fit into a window.

        Returns:
            `list`

        Raises:
            DiffMaskError: If no input can be split.
        """
        return list(texts)
