"""Noise that depends only on seed, step, and example or unit."""

import torch
from torch import Tensor

# Counter that separates the noise of states from the noise of gates.
STATE_DRAW = 7919


def hashed_uniform(*counters: int | Tensor) -> Tensor:
    """
    Uniform noise in (0, 1) that depends only on its counters.

    The same (seed, step, example, unit, state) gives the same number on every rank, device and batch layout. So the
    split of a batch over processes does not change training. The mixing step comes from SplitMix64 (Steele et al.
    2014).

    Args:
        counters (`int` or `torch.Tensor` of `int64`): Integers, broadcast against one another; at least one tensor.

    Returns:
        `torch.Tensor`: `float32`, multiples of 2^-23 plus 2^-24, in the broadcast shape.
    """

    def shift(value: Tensor, bits: int) -> Tensor:  # logical; >> of int64 is arithmetic
        return (value >> bits) & ((1 << (64 - bits)) - 1)

    state = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        # Constants of SplitMix64 as signed 64-bit integers; products wrap around as in C.
        state = (state + counter + 1) * -7046029254386353131
        state = (state ^ shift(state, 30)) * -4658895280553007687
        state = (state ^ shift(state, 27)) * -7723592293110705685
        state = state ^ shift(state, 31)
    return (shift(state, 41).to(torch.float32) + 0.5) * 2.0**-23


def gate_noise(seed: int, step: int, example_ids: Tensor, attention_mask: Tensor, num_states: int) -> Tensor:
    """
    Noise for every gate in a training step. Units are counted without padding, so its side does not matter.

    Args:
        seed (`int`): Seed of the run.
        step (`int`): Training step.
        example_ids (`torch.Tensor` of shape `(B,)`): Index of each example in the data set.
        attention_mask (`torch.Tensor` of shape `(B, T)`): 0 at padding.
        num_states (`int`): `S`.

    Returns:
        `torch.Tensor` of shape `(B, T, S)`: Uniform noise in (0, 1).
    """
    units = attention_mask.cumsum(-1)[..., None]
    states = torch.arange(num_states, device=example_ids.device)
    return hashed_uniform(seed, step, example_ids[:, None, None], units, states)


def gaussian_noise(maskable: Tensor, width: int, seed: int, step: int) -> Tensor:
    """
    Standard normal noise for each feature of each unit, independent of the rest of the batch.

    The `k`-th unit that can be masked gets the same draw in every input. Inputs are explained one by one, so shared
    draws do no harm, and padding and order of a batch change nothing.

    Args:
        maskable (`torch.BoolTensor` of shape `(B, T)`): Units that can be masked.
        width (`int`): Number `d` of features.
        seed (`int`): Seed.
        step (`int`): Number of the draw.

    Returns:
        `torch.Tensor` of shape `(B, T, d)`, `float32`; without meaning at units that cannot be masked.
    """
    numbers = torch.arange(maskable.shape[1], device=maskable.device)
    features = torch.arange(width, device=maskable.device)
    draws = torch.special.ndtri(hashed_uniform(seed, step, numbers[:, None], features))
    return draws[(maskable.cumsum(-1) - 1).clamp(min=0)]
