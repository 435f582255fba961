"""Sums over the units of an input."""

from torch import Tensor


def mean_over_units(values: Tensor, maskable: Tensor) -> Tensor:
    """
    Mean over the units that can be masked.

    Args:
        values (`torch.Tensor` of shape `(B, T)`): One value a unit.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that count.

    Returns:
        `torch.Tensor` of shape `(B,)`.
    """
    return (values * maskable).sum(-1) / maskable.sum(-1).clamp(min=1)
