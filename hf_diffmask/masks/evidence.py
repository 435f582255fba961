"""Masks from evidence in log-odds: the smallest set of units whose predicted cost is within the margin."""

from typing import Any

import torch
from torch import Tensor

from ..errors import DiffMaskError
from .paths import PathMasks, threshold
from .scored import Scored


class EvidenceMasks(PathMasks):
    """
    One ranking of the units, cut where the predicted cost reaches a threshold: `objective="ablation"`.

    Scores add up in log-odds, so the evidence of the units that a mask leaves out predicts its cost. Thresholds are
    predicted costs. Calibration measures the real costs of the masks at each threshold.
    """

    name, has_levels, any_margin, has_evidence = "ablation", False, True, True
    adds_up = True
    on_violation = ("keep", "search", "abstain")
    cut_words = "Each mask is the smallest set of tokens whose predicted cost is below a threshold."

    @classmethod
    def buffers(cls, columns: int) -> dict[str, Tensor]:
        """See [`Masks.buffers`]: one row, for the explanation head; all columns use its threshold."""
        return super().buffers(1)

    def compared(self, scored: Scored) -> Tensor:
        """See [`PathMasks.compared`]: the predicted cost of the masks without a unit."""
        store, hidden = self.store, ~scored.maskable[..., None]
        # The scores are the evidence for one choice.
        evidence = scored.logits[..., None] if store.preserved.of_choice else scored.evidence
        assert evidence is not None
        order = scored.logits.masked_fill(hidden, float("-inf")).argsort(dim=1, descending=True, stable=True)
        ranked = evidence.masked_fill(hidden[..., None], 0.0).gather(1, order[..., None].expand_as(evidence))
        # For each rank, the evidence of the units of this rank and below.
        lost = ranked.flip(1).cumsum(1).flip(1)
        batch, length, columns, _ = lost.shape
        cost = store.preserved.predicted_cost(store.task, scored.target, lost.flatten(1, 2), scored.choice)
        # A mask keeps a unit if all smaller masks cost more than the threshold.
        needed = cost.view(batch, length, columns).cummin(1).values
        return torch.empty_like(needed).scatter_(1, order, needed)

    def keep(self, scored: Scored, margin: float) -> Tensor:
        """See [`Masks.keep`]: a unit's distance in score from the last kept unit gives its keep probability."""
        cuts, _ = self.threshold_at(margin)
        maskable = scored.maskable
        size = ((self.compared(scored) > cuts) & maskable[..., None]).sum(1)
        scores = scored.logits.transpose(1, 2).flatten(0, 1)
        each = maskable[:, None].expand(-1, scored.logits.shape[-1], -1).flatten(0, 1)
        cut = threshold(scores, size.flatten(), each).view_as(size)
        keep = torch.sigmoid((scored.logits - cut[:, None]) / self.config.temperature)
        return keep.masked_fill(~maskable[..., None], 1.0)

    def check(self, on_violation: str, **asked: Any) -> None:
        """See [`Masks.check`]."""
        super().check(on_violation, **asked)
        if asked.get("refine_steps"):
            raise DiffMaskError("`refine_steps` is for paths: this explainer was trained with --recipe ablation.")
