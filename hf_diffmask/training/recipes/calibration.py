"""The scale of a path's scores, and which threshold a margin asks for, both measured on validation inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...base.running import Batch
from ...explainer.modeling_diffmask import DiffMaskModel
from ...masks.thresholds import COST_LEVELS, KEPT_SHARES

MOST = 256  # inputs that costs are measured on


@torch.no_grad()
def calibrate(explainer: DiffMaskModel, batches: Sequence[Batch]) -> None:
    """
    Measures what the masks of a path cost at thresholds that keep less and less, at every state.

    Thresholds are the same for all inputs, so that an input of much evidence keeps much. Training leaves the scale of
    scores open, and masks are the harder the larger it is: they are divided by their standard deviation first, which
    changes no state's ranking and lets keep probabilities tell units apart; with hidden masking, states then count
    alike in the mean over them.

    Args:
        explainer ([`DiffMaskModel`]): Its `thresholds` and `costs` are filled in, and its scores scaled.
        batches (`Sequence[Batch]`): Inputs that nothing was trained on.
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
    # The first keeps everything.
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
    Thresholds that the shares of `KEPT_SHARES` after the first are above, or as little more as equal scores allow.

    Each lies half-way between two scores that differ: at a unit's own score rounding would decide whether it stays.
    """
    ranked = scores.sort(descending=True).values
    apart = (ranked[:-1] - ranked[1:] > 1e-5).nonzero()[:, 0] + 1  # numbers of units that can stay, short of all
    lowest = ranked[-1] - 1
    between = torch.cat([(ranked[apart - 1] + ranked[apart]) / 2, lowest[None]])
    return between[torch.searchsorted(apart, (torch.tensor(KEPT_SHARES[1:]) * len(ranked)).round().long())]
