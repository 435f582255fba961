"""Calibration on validation inputs: the costs of masks at increasing thresholds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...base.running import Batch, Recorded
from ...explainer.modeling_diffmask import DiffMaskModel
from ...masks.thresholds import COST_LEVELS, KEPT_SHARES

MOST = 256  # inputs


@torch.no_grad()
def calibrate(explainer: DiffMaskModel, batches: Sequence[Batch]) -> None:
    """
    Measures the costs of masks at increasing thresholds, for the columns that have thresholds: all states of a path,
    or only the explanation head.

    All inputs have the same thresholds, so an input with much evidence keeps many units. If one choice is preserved,
    an input counts once for each choice that holds.

    Args:
        explainer ([`DiffMaskModel`]): Its `thresholds` and `costs` are changed in place.
        batches (`Sequence[Batch]`): Inputs that were not used for training.
    """
    values, count = [], len(explainer.thresholds)
    for batch in batches:
        recorded, choices = _cases(explainer, explainer.record(batch))
        logits, _ = explainer.probes.score(recorded, choices)
        values.append(logits[recorded.batch.maskable][:, -count:])
    units = torch.cat(values).double().cpu()
    if not len(units):
        return
    cuts = torch.stack([_cuts(of_state) for of_state in units.T])  # (S, G - 1)
    # The first threshold keeps everything.
    cuts = torch.cat([units.amin(0)[:, None] - 1, cuts], dim=1).to(explainer.thresholds)
    costs = []
    for batch in batches:
        recorded, choices = _cases(explainer, explainer.record(batch))
        logits = explainer.probes.score(recorded, choices)[0][..., -count:]
        found = torch.zeros(*cuts.shape, len(recorded.target), device=cuts.device)
        for column, of_column in enumerate(cuts):
            for number, cut in enumerate(of_column[1:], 1):
                masked = explainer.masked(recorded, logits[..., column] > cut, column - count)
                found[column, number] = explainer.cost(recorded.target, masked, choices)
        costs.append(found)
    every = torch.cat(costs, dim=-1)
    spread = torch.quantile(
        every.double(), torch.tensor(COST_LEVELS, dtype=torch.float64, device=every.device), dim=-1
    )
    explainer.thresholds.copy_(cuts)
    explainer.costs.copy_(torch.cat([every.mean(-1, keepdim=True), spread.movedim(0, -1).to(every)], dim=-1))


def _cases(explainer: DiffMaskModel, recorded: Recorded) -> tuple[Recorded, Tensor | None]:
    """The inputs, one row for each choice that holds, or for the predicted one if none does; and these choices."""
    if not explainer.preserved.of_choice:
        return recorded, None
    holds = explainer.task.holding(recorded.target)
    none = ~holds.any(-1)
    holds[none, explainer.task.predicted(recorded.target)[none]] = True
    rows, choices = holds.nonzero(as_tuple=True)
    return (recorded if len(rows) == len(holds) else recorded.rows(rows)), choices


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
