"""Data sets of features, and padded batches."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..errors import DiffMaskError
from .encoding import Text, encode
from .windows import windows


class Features(torch.utils.data.Dataset):
    """
    A data set of features, for training and validation.

    Args:
        items (`list[dict]`): For each example, the base model's arguments and `special_tokens_mask`, a list of `T`
            numbers each. `input_ids` and `attention_mask` are required.
    """

    def __init__(self, items: list[dict[str, Any]]):
        self.items = items

    @property
    def lengths(self) -> list[int]:
        """Length of each example in tokens (`list[int]`)."""
        return [len(item["input_ids"]) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.items[index], "example_ids": index}


class TextFeatures(Features):
    """
    A data set of texts: each window is an item.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
        texts (`Iterable`): Texts or pairs, such as a list or a column of a data set.
        length (`int`): Tokens per window. Longer texts become several items.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Iterable[Text], length: int):
        texts = list(texts)
        progress = tqdm(texts, desc="Tokenizing", unit="text", disable=len(texts) < 10_000)
        super().__init__([window.features for text in progress for window in windows(encode(tokenizer, text), length)])


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
    batch = tokenizer.pad(features, padding_side="right", return_tensors="pt", verbose=False)
    return {**batch, "example_ids": torch.tensor(example_ids)}
