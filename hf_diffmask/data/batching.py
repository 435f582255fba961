"""Runs a function on many inputs, in batches of similar length."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .features import collate


def in_batches(
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    device: torch.device,
    run: Callable[[dict[str, Tensor]], Sequence[Any]],
    batch_size: int,
    with_ids: bool = False,
) -> list[Any]:
    """
    Results of a function for many inputs, run in batches of similar length.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Pads; without a padding token, inputs run one by one.
        inputs (`Sequence[dict[str, list[int]]]`):
            For each input, the base model's arguments and `special_tokens_mask`.
        device (`torch.device`): Device for the batches.
        run (`Callable`): Maps a batch to one result per row.
        batch_size (`int`): Inputs per batch.
        with_ids (`bool`, *optional*, defaults to `False`): Whether batches include `example_ids`, the inputs' numbers.

    Returns:
        `list`: Results, in the order of the inputs.
    """
    if tokenizer.pad_token_id is None:
        batch_size = 1
    order = sorted(range(len(inputs)), key=lambda k: len(inputs[k]["input_ids"]))
    found: dict[int, Any] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate(tokenizer, [{**inputs[k], "example_ids": k} for k in rows])
        given = {name: value.to(device) for name, value in batch.items() if with_ids or name != "example_ids"}
        found.update(zip(rows, run(given), strict=True))
    return [found[k] for k in range(len(inputs))]
