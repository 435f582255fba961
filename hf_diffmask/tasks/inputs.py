"""How a task takes its inputs. The defaults are those of a text, or of a pair of texts."""

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerBase

from ..data.encoding import EncodedText, Text
from ..errors import DiffMaskError


class TaskInputs:
    """The part of [`Task`] that takes inputs."""

    columns: ClassVar[tuple[str, str | None]] = ("text", None)
    """Default columns of a data set: the text, and the second text of a pair."""

    def check(self, item: Any, what: str) -> Text:
        """
        Checks one input.

        Args:
            item (`Any`): A text, a pair, or a `dict` of `text` and `text_pair`.
            what (`str`): What to call it in an error.

        Returns:
            `str` or `tuple[str, str]`

        Raises:
            DiffMaskError: If it is no text, or empty.
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
        Reads a file in a format of the task's own.

        Args:
            dataset (`str`): The file.
            limit (`int`, *optional*): Most inputs to read.

        Returns:
            `list` or `None`: `None` for a file in no such format.
        """
        return None

    def check_room(self, encoded: EncodedText, length: int) -> None:
        """
        Refuses an input that cannot be split into windows.

        Args:
            encoded ([`EncodedText`]): The input.
            length (`int`): Tokens that fit into a window.

        Raises:
            DiffMaskError: If a window has no room for what each window needs.
        """

    def with_room(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], length: int) -> list[Text]:
        """
        The inputs that can be split into windows; a warning counts the others.

        Args:
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
            texts (`Sequence`): Inputs.
            length (`int`): Tokens that fit into a window.

        Returns:
            `list`

        Raises:
            DiffMaskError: If there is none.
        """
        return list(texts)
