"""Reads the inputs of a command."""

from dataclasses import dataclass, field

from ..data.encoding import Text
from ..data.reading import load_texts
from ..errors import DiffMaskError
from ..tasks.task import Task


@dataclass(kw_only=True)
class DatasetArguments:
    """Which part of a data set to read."""

    text_column: str | None = field(
        default=None, metadata={"help": "Column with the text. Default: text; for question answering: question."}
    )
    text_pair_column: str | None = field(
        default=None,
        metadata={"help": "Column with the second text of a pair. Default: none; for question answering: context."},
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Configuration of a data set on the Hub, if it has several."}
    )
    dataset_split: str = field(default="train", metadata={"help": "Split of a data set on the Hub, such as test."})
    streaming: bool = field(
        default=False,
        metadata={"help": "Read rows on demand instead of downloading the whole data set first."},
    )


def load_inputs(
    dataset: str,
    task: Task,
    which: DatasetArguments | None = None,
    keep_empty: bool = False,
    limit: int | None = None,
    split: str | None = None,
) -> list[Text]:
    """
    Texts or pairs of a data set; for question answering, questions with their contexts.

    Args:
        dataset (`str`):
            A data file or a data set id; for question answering also a file in SQuAD format.
        task ([`Task`]): Task of the base model.
        which ([`DatasetArguments`], *optional*): Columns, configuration and split.
        keep_empty (`bool`, *optional*, defaults to `False`): Whether to keep rows without text.
        limit (`int`, *optional*): Read only the first `limit` inputs.
        split (`str`, *optional*): Split of a data set on the Hub, in place of the split in `which`.

    Returns:
        `list`: Texts, or pairs of texts.

    Raises:
        DiffMaskError: If `limit` is below 1, or the data set cannot be read, lacks a column, or holds no text.
    """
    which = DatasetArguments() if which is None else which
    if limit is not None and limit < 1:
        raise DiffMaskError(f"The number of inputs must be at least 1, but is {limit}.")
    if (found := task.read(dataset, limit)) is not None:
        return found
    text, pair = task.columns
    text, pair = which.text_column or text, which.text_pair_column or pair
    split = split or which.dataset_split
    return load_texts(dataset, text, pair, split, keep_empty, which.dataset_config, which.streaming, limit)
