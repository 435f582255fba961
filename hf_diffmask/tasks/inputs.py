"""Checks and reads the inputs of a task. The defaults are for a text or a pair of texts."""

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerBase

from ..data.encoding import EncodedText, Text
from ..errors import DiffMaskError


class TaskInputs:
    """The part of [`Task`] that checks and reads inputs."""

    columns: ClassVar[tuple[str, str | None]] = ("text", None)
    """Default columns of a data set: the text, and the second text of a pair."""

    def check(self, item: Any, what: str) -> Text:
        """
        The input, checked.

        Args:
            item (`Any`): A text, a pair, or a `dict` with `text` and `text_pair`.
            what (`str`): Name of the input in an error.

        Returns:
            `str` or `tuple[str, str]`

        Raises:
            DiffMaskError: If the input is no text, or empty.
        """
        if isinstance(item, dict) and "text" in item:
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
        return parts[0] if len(parts) == 1 else (parts[0], parts[1])

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

    def check_room(self, encoded: EncodedText, length: int) -> None:
        """
        Refuses an input that cannot be split into windows.

        Args:
            encoded ([`EncodedText`]): The input.
            length (`int`): Tokens that fit into a window.

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
