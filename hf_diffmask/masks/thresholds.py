"""The threshold of a path for a margin, from the costs that calibration measured."""

import torch
from torch import Tensor

# Kept shares of the thresholds, over all calibration inputs.
KEPT_SHARES = (1.0, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.22, 0.16, 0.1, 0.05)
# Quantiles of the costs to save, besides the mean.
COST_LEVELS = tuple(k / 20 for k in range(21))
# Least share of the calibration inputs within a margin at its threshold.
COVERAGE = COST_LEVELS[16]
UNCALIBRATED = -1e4  # below any score


def threshold_at(thresholds: Tensor, costs: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """
    The thresholds for a margin: the mean cost over the calibration inputs is within the margin, and so is the single
    cost for 0.8 of these inputs.

    Args:
        thresholds (`torch.Tensor` of shape `(S, G)`): Measured thresholds of each state.
        costs (`torch.Tensor` of shape `(S, G, 22)`): Mean cost at each threshold, and quantiles at `COST_LEVELS`.
        margin (`float`): The largest cost of a mask.

    Returns:
        `tuple`: Threshold of each state, `(S,)`, and its coverage, `(S,)`: the share of inputs with a cost within the
        margin. Both are interpolated between measured thresholds.
    """
    bound = torch.maximum(costs[..., 0], costs[..., 1 + COST_LEVELS.index(COVERAGE)])
    # The last threshold before the costs first exceed the margin; then interpolate to the next threshold.
    within = (bound <= margin).cummin(-1).values.sum(-1) - 1
    first, second = (index.clamp(0, bound.shape[1] - 1)[:, None] for index in (within, within + 1))
    lower, upper = bound.gather(1, first), bound.gather(1, second)
    part = torch.where(upper > lower, (margin - lower) / (upper - lower).clamp(min=1e-12), 0.0).clamp(0, 1)
    cuts = thresholds.gather(1, first).lerp(thresholds.gather(1, second), part)[:, 0]
    rows = torch.arange(len(bound), device=bound.device)
    quantiles = costs[rows, first[:, 0], 1:].lerp(costs[rows, second[:, 0], 1:], part)
    # Inverse of the quantiles: the share of costs up to the margin.
    step = quantiles.diff(dim=-1)
    passed = torch.where(
        step > 0, (margin - quantiles[:, :-1]) / step.clamp(min=1e-12), (quantiles[:, 1:] <= margin).to(step)
    )
    return cuts, passed.clamp(0, 1).mean(-1)
