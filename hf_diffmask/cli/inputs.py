"""The inputs that a command is to run on."""

from .. import heads
from ..data import Text, load_texts
from ..tasks.squad import is_squad, load_squad


def load_inputs(
    dataset: str,
    task: str,
    text_column: str | None,
    text_pair_column: str | None,
    split: str = "train",
    keep_empty: bool = False,
) -> list[Text]:
    """
    Reads texts or pairs, and for question answering questions with their contexts.

    Args:
        dataset (`str`):
            A data file or the id of a data set; for question answering also a file in the format of SQuAD.
        task (`str`): What the base model predicts, see [`~hf_diffmask.heads.task_of`].
        text_column (`str`, *optional*): Defaults to `text`, or to `question` for question answering.
        text_pair_column (`str`, *optional*): Defaults to none, or to `context` for question answering.
        split (`str`, *optional*, defaults to `"train"`): Which split of a data set on the Hub.
        keep_empty (`bool`, *optional*, defaults to `False`): Whether to keep rows without text.

    Returns:
        `list`: Texts, or pairs of texts.

    Raises:
        DiffMaskError: If the data set cannot be read, lacks a column, or holds no text.
    """
    if task == heads.CLASSIFICATION:
        return load_texts(dataset, text_column or "text", text_pair_column, split, keep_empty)
    if is_squad(dataset):
        return [(question.question, question.context) for question in load_squad(dataset, labelled=False)[0]]
    return load_texts(dataset, text_column or "question", text_pair_column or "context", split, keep_empty)
