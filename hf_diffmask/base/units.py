"""Units of several tokens, which are masked together. The first token of a unit stands for it."""

import torch
from torch import Tensor

UNITS = ("token", "word", "sentence")
"""Kinds of units that are found in every text."""


def first_tokens(unit_of: Tensor, there: Tensor) -> Tensor:
    """
    Position of the first token of the unit that each token is a part of.

    Args:
        unit_of (`torch.Tensor` of shape `(B, T)`): Number of each token's unit, from 0; any numbers at padding.
        there (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.

    Returns:
        `torch.Tensor` of shape `(B, T)`, `int64`: At padding the position itself.
    """
    places = torch.arange(unit_of.shape[1], device=unit_of.device).expand_as(unit_of)
    # Padding is a unit of its own, so that no unit begins in it.
    numbers = torch.where(there, unit_of.long() + 1, 0)
    first = torch.full((len(unit_of), int(numbers.max()) + 1), unit_of.shape[1], device=unit_of.device)
    first = first.scatter_reduce(1, numbers, places, "amin")
    return torch.where(there, first.gather(1, numbers), places)


def spread(values: Tensor, first: Tensor | None) -> Tensor:
    """
    Values of units at all their tokens.

    Args:
        values (`torch.Tensor` of shape `(B, T, ...)`): Values, read at the first token of each unit.
        first (`torch.Tensor` of shape `(B, T)`, *optional*): Result of [`first_tokens`]; by default each token is a
            unit.

    Returns:
        `torch.Tensor` of the shape of `values`
    """
    if first is None:
        return values
    return values.gather(1, first.view(*first.shape, *[1] * (values.dim() - 2)).expand_as(values))


def pooled(values: Tensor, first: Tensor | None) -> Tensor:
    """
    Sums of the values of each unit's tokens, at the first token of the unit.

    Args:
        values (`torch.Tensor` of shape `(B, T, ...)`): Values of tokens.
        first (`torch.Tensor` of shape `(B, T)`, *optional*): Result of [`first_tokens`]; by default each token is a
            unit.

    Returns:
        `torch.Tensor` of the shape of `values`: 0 at the other tokens.
    """
    if first is None:
        return values
    index = first.view(*first.shape, *[1] * (values.dim() - 2)).expand_as(values)
    return torch.zeros_like(values).scatter_add(1, index, values)
