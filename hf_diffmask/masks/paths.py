"""Nested masks: one ranking of an input's units, cut at any budget.

The mask for budget `k` keeps the `k` units with the largest scores. A larger budget keeps these units and more.
Shapes: `B` examples, `T` units.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import DiffMaskError
from .masks import Masks, fill
from .thresholds import COST_LEVELS, KEPT_SHARES, UNCALIBRATED, threshold_at


class PathMasks(Masks):
    """One ranking of the units, cut at the threshold for a margin: `objective="path"`."""

    name, has_levels, any_margin, has_evidence = "path", False, True, True
    on_violation = ("keep", "search", "abstain")
    # The last result of `threshold_at`, and what it was computed from: most calls ask for the same margin.
    _last: tuple[Tensor, Tensor, tuple[float, int, int], tuple[Tensor, Tensor]] | None = None

    @classmethod
    def buffers(cls, columns: int) -> dict[str, Tensor]:
        """See [`Masks.buffers`]: thresholds, and the costs of masks at each threshold."""
        return {
            "thresholds": torch.full((columns, len(KEPT_SHARES)), UNCALIBRATED),
            "costs": torch.zeros(columns, len(KEPT_SHARES), 1 + len(COST_LEVELS)),
        }

    def keep(self, logits: Tensor, maskable: Tensor, margin: float) -> Tensor:
        """See [`Masks.keep`]."""
        cuts, _ = self.threshold_at(margin)
        return torch.sigmoid((logits - cuts) / self.config.temperature).masked_fill(~maskable[..., None], 1.0)

    def attribution(self, logits: Tensor, keep_probability: Tensor) -> Tensor:
        """
        See [`Masks.attribution`]: the scores of the last state. With hidden masking the mean over states, because the
        last state holds less than the input.
        """
        return logits[..., -1] if self.config.masks_inputs else logits.mean(-1)

    @property
    def is_calibrated(self) -> bool:
        """See [`Masks.is_calibrated`]: whether the thresholds are known. Until then a path keeps everything."""
        return bool((self.store.thresholds != UNCALIBRATED).all())

    def forget_calibration(self) -> None:
        """See [`Masks.forget_calibration`]: thresholds are wrong for new weights."""
        fill(self.store, self.buffers(len(self.config.columns)))

    def threshold_at(self, margin: float) -> tuple[Tensor, Tensor]:
        """
        The thresholds for a margin, see [`~hf_diffmask.masks.thresholds.threshold_at`].

        Args:
            margin (`float`): The largest cost of a mask.

        Returns:
            `tuple`: Threshold and coverage of each state, `(S,)` each. Without calibration the coverage is 1, because
            the path keeps everything.
        """
        thresholds, costs = self.store.thresholds, self.store.costs
        if thresholds.is_inference() or costs.is_inference():  # their changes are not counted
            return threshold_at(thresholds, costs, margin)
        state, last = (margin, thresholds._version, costs._version), self._last
        if last is None or last[0] is not thresholds or last[1] is not costs or last[2] != state:
            self._last = last = (thresholds, costs, state, threshold_at(thresholds, costs, margin))
        return last[3]

    def coverage(self, margin: float) -> float | None:
        """See [`Masks.coverage`]."""
        return self.threshold_at(margin)[1][-1].item() if self.is_calibrated else None

    def cost_by_share(self) -> dict[str, list[tuple[float, float]]] | None:
        """See [`Masks.cost_by_share`]; empty before calibration."""
        if not self.is_calibrated:
            return {}
        means = self.store.costs[..., 0].tolist()
        return {
            state: list(zip(KEPT_SHARES, of_state, strict=True))
            for state, of_state in zip(self.config.columns[-len(means) :], means, strict=True)
        }

    def check(self, on_violation: str, **asked: Any) -> None:
        """See [`Masks.check`]."""
        if on_violation == "refine":
            raise DiffMaskError('A path needs no refining to be within its margin: use `on_violation="search"`.')


def threshold(scores: Tensor, budget: Tensor, maskable: Tensor) -> Tensor:
    """
    The threshold of a budget: half-way between the lowest kept score and the highest masked score. If all units are
    kept or all are masked, it lies 1 beyond the scores.

    Args:
        scores (`torch.Tensor` of shape `(B, T)`): Higher scores are kept longer.
        budget (`torch.Tensor` of shape `(B,)`): Number of units to keep.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.

    Returns:
        `torch.Tensor` of shape `(B,)`: 0 for inputs without a unit that can be masked.
    """
    ranked = scores.masked_fill(~maskable, float("-inf")).sort(dim=-1, descending=True).values
    beyond = torch.full_like(ranked[:, :1], float("-inf"))
    ranked = torch.cat([-beyond, ranked, beyond], dim=-1)
    last, first = (ranked.gather(1, index[:, None])[:, 0] for index in (budget, budget + 1))
    cut = torch.where(first.isfinite(), (last + first) / 2, last - 1)
    return torch.where(last.isfinite(), cut, first + 1).nan_to_num(0.0, 0.0, 0.0)


def top(scores: Tensor, budget: Tensor, maskable: Tensor) -> Tensor:
    """
    The hard mask for a budget.

    Args:
        scores (`torch.Tensor` of shape `(B, T)`): Higher scores are kept longer.
        budget (`torch.Tensor` of shape `(B,)`): Number of units to keep.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`; the others are always kept.

    Returns:
        `torch.Tensor` of shape `(B, T)`, `bool`: With equal scores, the earlier unit is kept longer.
    """
    order = scores.masked_fill(~maskable, float("-inf")).argsort(dim=-1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < budget[:, None]) | ~maskable
