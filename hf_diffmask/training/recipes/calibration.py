"""Calibration of a path on validation inputs: the scale of its scores, and the costs of its thresholds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...base.running import Batch
from ...explainer.modeling_diffmask import DiffMaskModel
from ...masks.thresholds import COST_LEVELS, KEPT_SHARES

MOST = 256  # inputs


@torch.no_grad()
def calibrate(explainer: DiffMaskModel, batches: Sequence[Batch]) -> None:
    """
    Scales a path's scores, and measures the costs of its masks at increasing thresholds, for every state.

    All inputs have the same thresholds, so an input with much evidence keeps many units. Training does not fix the
    scale of the scores, and a larger scale pushes keep probabilities towards 0 and 1. So scores are first divided by
    their standard deviation. This changes no state's ranking. With hidden masking, it gives all states the same weight
    in their mean.

    Args:
        explainer ([`DiffMaskModel`]): Its `thresholds`, `costs` and scale of scores are changed in place.
        batches (`Sequence[Batch]`): Inputs that were not used for training.
    """
    scores = []
    for batch in batches:
        output = explainer.explain(explainer.record(batch))
        scores.append(output.logits[output.maskable])
    units = torch.cat(scores).double().cpu()
    if not len(units):
        return
    deviation = units.std(0, correction=0)
    deviation = torch.where(deviation > 1e-6, deviation, 1.0)
    explainer.probes.out_weight.div_(deviation[:, None].to(explainer.probes.out_weight))
    units = units / deviation
    cuts = torch.stack([_cuts(of_state) for of_state in units.T])  # (S, G - 1)
    # The first threshold keeps everything.
    cuts = torch.cat([units.amin(0)[:, None] - 1, cuts], dim=1).to(explainer.thresholds)
    costs = []
    for batch in batches:
        recorded = explainer.record(batch)
        output = explainer.explain(recorded)
        found = torch.zeros(*cuts.shape, len(output.target), device=cuts.device)
        for state, of_state in enumerate(cuts):
            for number, cut in enumerate(of_state[1:], 1):
                masked = explainer.masked(recorded, output.logits[..., state] > cut, state)
                found[state, number] = explainer.cost(output.target, masked)
        costs.append(found)
    every = torch.cat(costs, dim=-1)
    spread = torch.quantile(
        every.double(), torch.tensor(COST_LEVELS, dtype=torch.float64, device=every.device), dim=-1
    )
    explainer.thresholds.copy_(cuts)
    explainer.costs.copy_(torch.cat([every.mean(-1, keepdim=True), spread.movedim(0, -1).to(every)], dim=-1))


def _cuts(scores: Tensor) -> Tensor:
    """
    Thresholds that keep the shares `KEPT_SHARES[1:]` of the units; slightly more if scores are equal.

    A threshold lies half-way between two different scores. At a unit's own score, rounding would decide its mask.
    """
    ranked = scores.sort(descending=True).values
    apart = (ranked[:-1] - ranked[1:] > 1e-5).nonzero()[:, 0] + 1  # possible numbers of kept units, except all
    lowest = ranked[-1] - 1
    between = torch.cat([(ranked[apart - 1] + ranked[apart]) / 2, lowest[None]])
    return between[torch.searchsorted(apart, (torch.tensor(KEPT_SHARES[1:]) * len(ranked)).round().long())]
