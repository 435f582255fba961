"""Data sets of features, and padded batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..errors import DiffMaskError
from .encoding import EncodedText, Text, encode
from .units import with_units
from .windows import windows

# Entries of an item that the base model does not take.
MARKS = ("special_tokens_mask", "explained_mask", "unit_of", "example_ids")


def model_inputs(features: Mapping[str, Any]) -> dict[str, Any]:
    """
    The arguments of the base model among the features of an item or batch.

    Args:
        features (`Mapping`): Features.

    Returns:
        `dict`: All except `MARKS`.
    """
    return {name: value for name, value in features.items() if name not in MARKS}


class Features(torch.utils.data.Dataset):
    """
    A data set of features, for training and validation.

    Args:
        items (`list[dict]`): For each example, the base model's arguments and `special_tokens_mask`, a list of `T`
            numbers each; for a task with outputs at positions also `explained_mask`, and for units of several tokens
            `unit_of`. `input_ids` and `attention_mask` are required.
        of_text (`Sequence[int]`, *optional*): The text of each item, by number; by default each is one of its own.
    """

    def __init__(self, items: list[dict[str, Any]], of_text: Sequence[int] | None = None):
        self.items = items
        self.of_text = list(range(len(items)) if of_text is None else of_text)

    @property
    def lengths(self) -> list[int]:
        """Length of each example in tokens (`list[int]`)."""
        return [len(item["input_ids"]) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.items[index], "example_ids": index}


class Selected(Features):
    """
    Some examples of a data set, in the order of their lengths: it needs the least padding. `example_ids` are their
    numbers in the whole data set.

    A sampler in its place would not do: Accelerate cuts the last batch by the length of the data set.

    Args:
        whole ([`Features`]): The data set.
        numbers (`Sequence[int]`): Numbers of the examples.
    """

    def __init__(self, whole: Features, numbers: Sequence[int]):
        self.numbers = sorted(numbers, key=whole.lengths.__getitem__)
        super().__init__([whole.items[k] for k in self.numbers], [whole.of_text[k] for k in self.numbers])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.items[index], "example_ids": self.numbers[index]}


class TextFeatures(Features):
    """
    A data set of texts: each window is an item.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
        texts (`Iterable`): Texts or pairs, such as a list or a column of a data set.
        length (`int`): Tokens per window. Longer texts become several items.
        unit (`str`, *optional*, defaults to `"token"`): What is masked together, see [`with_units`].
        read (`Callable`, *optional*): Gives the tokens of a text; by default [`encode`].
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        texts: Iterable[Text],
        length: int,
        unit: str = "token",
        read: Callable[[PreTrainedTokenizerBase, Text], EncodedText] = encode,
    ):
        texts, own = list(texts), tokenizer.get_added_vocab()
        progress = tqdm(texts, desc="Tokenizing", unit="text", disable=len(texts) < 10_000)
        parts = [
            (window.features, number)
            for number, text in enumerate(progress)
            for window in windows(with_units(read(tokenizer, text), unit, own), length)
        ]
        super().__init__([features for features, _ in parts], [number for _, number in parts])


def aligned(rows: Sequence[Sequence[bool]], attention_mask: Tensor) -> Tensor:
    """
    Marks of tokens, at their positions in a padded batch.

    Args:
        rows (`Sequence[Sequence[bool]]`): For each input, one mark per token.
        attention_mask (`torch.Tensor` of shape `(B, T)`): 0 at padding, on either side.

    Returns:
        `torch.Tensor` of shape `(B, T)`, `bool`: `False` at padding.
    """
    flat = torch.tensor([mark for row in rows for mark in row], dtype=torch.bool, device=attention_mask.device)
    return torch.zeros_like(attention_mask, dtype=torch.bool).masked_scatter(attention_mask.bool(), flat)


def collate(tokenizer: PreTrainedTokenizerBase, items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """
    A batch of items, padded on the right to the longest item.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Has the padding id.
        items (`list[dict]`): Items of [`Features`].

    Returns:
        `dict[str, torch.Tensor]`: Features `(B, T)`, and `example_ids` `(B,)`.

    Raises:
        DiffMaskError: If inputs differ in length and the tokenizer has no padding token.
    """
    example_ids = [item["example_ids"] for item in items]
    features = [{name: value for name, value in item.items() if name != "example_ids"} for item in items]
    if tokenizer.pad_token_id is None:
        if len({len(item["input_ids"]) for item in features}) > 1:
            raise DiffMaskError("The tokenizer has no padding token: set `tokenizer.pad_token`, or give one input.")
        batch = {name: torch.tensor([item[name] for item in features]) for name in features[0]}
        return {**batch, "example_ids": torch.tensor(example_ids)}
    # The tokenizer pads only what it knows.
    marks = {
        name: pad_sequence([torch.tensor(item.pop(name)) for item in features], batch_first=True)
        for name in ("explained_mask", "unit_of")
        if name in features[0]
    }
    batch = tokenizer.pad(features, padding_side="right", return_tensors="pt", verbose=False)
    return {**batch, **marks, "example_ids": torch.tensor(example_ids)}
