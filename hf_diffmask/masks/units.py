"""Means over units."""

from torch import Tensor


def mean_over_units(values: Tensor, maskable: Tensor) -> Tensor:
    """
    Mean over the units that can be masked; 0 without such units.

    Args:
        values (`torch.Tensor` of shape `(B, T)`): One value per unit.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked.

    Returns:
        `torch.Tensor` of shape `(B,)`.
    """
    return (values * maskable).sum(-1) / maskable.sum(-1).clamp(min=1)
