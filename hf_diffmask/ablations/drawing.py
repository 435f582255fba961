"""Draws random masks over the units of inputs."""

import torch
from torch import Tensor

from ..masks.noise import hashed_uniform

LONG = 64
"""Inputs with more units also get masks near the whole input, and masks that leave out neighbours."""
NEAR = 8
"""A mask near the whole input leaves out at most one in `NEAR` units."""
# Counters that separate this noise from the noise of training. Masks that score have noise of their own.
_SIZE, _UNIT, _START, _SCORING = 67867967, 86028121, 122949823, 141650939


def draw_masks(seed: int, ids: Tensor, maskable: Tensor, count: int) -> Tensor:
    """
    Masks to fit to, in pairs: masks `2k` and `2k + 1` are complements.

    A mask depends only on the seed, the number of the input in its data set, the number of the mask, and the rank of
    a unit among the units that can be masked. So padding, order, batches and processes do not change it.

    The number of kept units is uniform on `1..n-1`. Of inputs with more than [`LONG`] units, only each third pair has
    such sizes. The next pair has a mask near the whole input, which leaves out `1..n/8` units, and its complement. The
    third has a mask that leaves out neighbours: one run of `1..n-1` units, which may go over the end to the start.

    Args:
        seed (`int`): Seed of the masks.
        ids (`torch.Tensor` of shape `(B,)`): Number of each input in its data set.
        maskable (`torch.Tensor` of shape `(B, T)`, `bool`): Units that can be masked.
        count (`int`): `M`, the number of masks for each input.

    Returns:
        `torch.Tensor` of shape `(B, M, T)`, `bool`: `True` at kept units. `False` at units that cannot be masked; the
        base model always sees them. An input with one unit has the masks that keep it and leave it out.
    """
    pairs = torch.arange((count + 1) // 2, device=maskable.device)[:, None]
    rows, allowed = ids[:, None, None], maskable[:, None]
    units = allowed.cumsum(-1) - 1
    numbers = units[..., -1:] + 1
    size = _up_to(numbers - 1, seed, rows, pairs, _SIZE)
    order = _ranks(hashed_uniform(seed, rows, pairs, units, _UNIT).masked_fill(~allowed, 2.0))
    kept = order < size
    if bool((numbers > LONG).any()):
        near = order >= _up_to(numbers // NEAR, seed, rows, pairs, _SIZE)
        start = _up_to(numbers, seed, rows, pairs, _START)
        apart = (units - start) % numbers.clamp(min=1) >= size
        special = torch.where(pairs % 3 == 1, near, apart)
        kept = torch.where((numbers > LONG) & (pairs % 3 > 0), special, kept)
    both = torch.stack([kept & allowed, ~kept & allowed], dim=2)
    return both.flatten(1, 2)[:, :count]


def half_masks(seed: int, ids: Tensor, maskable: Tensor, count: int) -> Tensor:
    """
    Masks to score with: each unit is kept with probability 0.5. They share no noise with [`draw_masks`].

    Args:
        seed (`int`): Seed of the masks.
        ids (`torch.Tensor` of shape `(B,)`): Number of each input in its data set.
        maskable (`torch.Tensor` of shape `(B, T)`, `bool`): Units that can be masked.
        count (`int`): `M`, the number of masks for each input.

    Returns:
        `torch.Tensor` of shape `(B, M, T)`, `bool`: `True` at kept units, `False` at units that cannot be masked.
    """
    numbers = torch.arange(count, device=maskable.device)[:, None]
    allowed = maskable[:, None]
    units = allowed.cumsum(-1) - 1
    return (hashed_uniform(seed, ids[:, None, None], numbers, units, _SCORING) < 0.5) & allowed


def _up_to(most: Tensor, *counters: int | Tensor) -> Tensor:
    """Uniform integers from 1 to `most`; 1 where `most` is below 1."""
    most = most.clamp(min=1)
    return 1 + (hashed_uniform(*counters).double() * most).long().clamp(max=most - 1)


def _ranks(values: Tensor) -> Tensor:
    """Rank of each value in the last dimension, from 0; equal values in their order."""
    return values.argsort(dim=-1, stable=True).argsort(dim=-1)
