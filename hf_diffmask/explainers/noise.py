"""Noise that methods of explanation add to hidden states."""

import torch
from torch import Tensor

from ..gates import hashed_uniform


def gaussian_noise(maskable: Tensor, width: int, seed: int, step: int) -> Tensor:
    """
    Standard normal noise of each feature of each unit, the same whatever else is in the batch.

    Units are counted from the first that can be masked, and the `k`-th of each input gets the same draw: inputs are
    explained one by one, so that nothing is lost by it, and padding and order of a batch change nothing.

    Args:
        maskable (`torch.BoolTensor` of shape `(B, T)`): Units that can be masked.
        width (`int`): Number `d` of features.
        seed (`int`): Seed.
        step (`int`): Number of the draw.

    Returns:
        `torch.Tensor` of shape `(B, T, d)`, `float32`; of no meaning at units that cannot be masked.
    """
    numbers = torch.arange(maskable.shape[1], device=maskable.device)
    features = torch.arange(width, device=maskable.device)
    draws = torch.special.ndtri(hashed_uniform(seed, step, numbers[:, None], features))
    return draws[(maskable.cumsum(-1) - 1).clamp(min=0)]
