"""Reads queries, keys and values of a base model while it runs, without changing it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .padding import Part
from .taps import Taps

# Positional arguments of `scaled_dot_product_attention`, in order.
ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


class BlockAttention(NamedTuple):
    """What a block gave to `scaled_dot_product_attention`, for `t` positions. Tensors of the base model: no copies."""

    query: Tensor
    """`(b, H, t, d_h)`."""
    key: Tensor
    """`(b, G, t, d_h)`: for each group of heads; `G` divides `H`."""
    value: Tensor
    """`(b, G, t, d_v)`."""
    mask: Tensor | None
    """Broadcasts to `(b, H, t, t)`: `bool`, `True` where a query may attend to a key, or numbers to add to scores."""
    is_causal: bool
    """Whether a position attends to itself and earlier positions only."""
    scale: float | None
    """Factor of the scores; by default `1 / sqrt(d_h)`."""


@dataclass(frozen=True)
class Attention:
    """Queries, keys and values of all blocks. They take about three times the memory of the states."""

    units: Tensor
    """`(B, T)`, `bool`: `False` at padding."""
    runs: list[list[BlockAttention]]
    """For each run of the base model, `L` blocks."""
    parts: list[Part]
    """The rows and positions of each run; empty if the batch ran as it is."""


class AttentionReader(TorchFunctionMode):
    """
    Keeps what each block gives to `scaled_dot_product_attention`, in the thread that entered it and until it is left.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        shape (`torch.Size`): `(b, t)`, the shape of the run.
    """

    def __init__(self, model: PreTrainedModel, shape: torch.Size):
        super().__init__()
        self._model, self._shape = model, shape
        self._block: int | None = None
        self._found: list[list[dict[str, Any]]] = []

    def tap(self, taps: Taps, blocks: Sequence[nn.Module]) -> None:
        """
        Adds functions that say which block runs.

        Args:
            taps ([`Taps`]): The taps of the run.
            blocks (`Sequence[torch.nn.Module]`): The `L` blocks.
        """
        self._found = [[] for _ in blocks]
        for block in dict.fromkeys(blocks):
            # A block may run several times.
            numbers = iter([number for number, one in enumerate(blocks) if one is block])
            taps.on_input(block, partial(self._enter, numbers))
            taps.on_output(block, self._leave)

    def _enter(self, numbers: Iterator[int], args: tuple, kwargs: dict[str, Any]) -> None:
        self._block = next(numbers, None)

    def _leave(self, args: tuple, output: Any) -> None:
        self._block = None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention and self._block is not None:
            self._found[self._block].append({**dict(zip(ARGUMENTS, args, strict=False)), **kwargs})
        return func(*args, **kwargs)

    def blocks(self) -> list[BlockAttention]:
        """
        What was read.

        Returns:
            `list[BlockAttention]`: For each block.

        Raises:
            DiffMaskError: If a block did not attend exactly once, or in another layout.
        """
        if any(len(calls) != 1 for calls in self._found):
            raise DiffMaskError(unreadable(self._model))
        found = [self._one(calls[0]) for calls in self._found]
        if not all(map(self._fits, found)) or len({(one.query.shape[1], one.value.shape[3]) for one in found}) != 1:
            raise DiffMaskError(unreadable(self._model))
        return found

    def _one(self, call: dict[str, Any]) -> BlockAttention:
        query, mask = call["query"], call.get("attn_mask")
        if self._shape[1] == 1 and query.dim() == 4:  # heads of a group may stand in the place of positions
            query, mask = query.reshape(len(query), -1, 1, query.shape[-1]), None
        if mask is not None and mask.dim() < 4:
            mask = mask[(None,) * (4 - mask.dim())]
        return BlockAttention(query, call["key"], call["value"], mask, call.get("is_causal", False), call.get("scale"))

    def _fits(self, block: BlockAttention) -> bool:
        rows, length = self._shape
        return (
            all(one.dim() == 4 and (len(one), one.shape[2]) == (rows, length) for one in block[:3])
            and block.query.shape[1] % block.key.shape[1] == 0
            and block.key.shape[1] == block.value.shape[1]
        )


def unreadable(model: PreTrainedModel) -> str:
    """
    Why flow cannot be read from a model.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `str`: One sentence that says what to do.
    """
    name, used = type(model).__name__, model.config._attn_implementation
    if model._supports_sdpa and used != "sdpa":
        return (
            f"Flow cannot be read from {name} with attn_implementation={used!r}: load the base model with "
            'attn_implementation="sdpa".'
        )
    return (
        f"Flow cannot be read from {name}, whose blocks do not each call PyTorch's scaled_dot_product_attention once: "
        "train the explainer without flow."
    )
