"""The scale of a path's scores, and which threshold a margin asks for, both measured on validation inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .modeling_diffmask import COST_LEVELS, KEPT_SHARES, DiffMaskModel

MOST = 256  # inputs that costs are measured on


@torch.no_grad()
def calibrate(explainer: DiffMaskModel, batches: Sequence[dict[str, Tensor]]) -> None:
    """
    Measures what the masks of a path cost at thresholds that keep less and less, at every state.

    Thresholds are the same for all inputs, so that an input of much evidence keeps much. They lie half-way between
    scores of all units. Training leaves the scale of scores open, and masks are the harder the larger it is: they are
    divided by their standard deviation first, which changes no state's ranking and lets keep probabilities tell units
    apart; with hidden masking, states then count alike in the mean over them.

    Args:
        explainer ([`DiffMaskModel`]): Its `thresholds` and `costs` are filled in, and its scores scaled.
        batches (`Sequence[dict[str, torch.Tensor]]`):
            What the base model takes, and `special_tokens_mask`, `(B, T)` each; inputs that nothing was trained on.
    """
    scores = []
    for batch in batches:
        output = explainer(**batch)
        scores.append(output.logits[output.maskable])
    units = torch.cat(scores).double().cpu()
    if not len(units):
        return
    deviation = units.std(0, correction=0)
    deviation = torch.where(deviation > 1e-6, deviation, 1.0)
    explainer.probes.out_weight.div_(deviation[:, None].to(explainer.probes.out_weight))
    units = units / deviation
    # Half-way between two scores: a cut at a unit's own score would leave it to rounding whether the unit stays.
    ranked = units.sort(dim=0, descending=True).values
    staying = (torch.tensor(KEPT_SHARES[1:]) * len(units)).round().long().clamp(1, max(1, len(units) - 1))
    cuts = ((ranked[staying - 1] + ranked[staying.clamp(max=len(units) - 1)]) / 2).T  # (S, G - 1)
    # The first keeps everything.
    cuts = torch.cat([units.amin(0)[:, None] - 1, cuts], dim=1).to(explainer.thresholds)
    costs = []
    for batch in batches:
        features = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
        recorded = explainer.record(**features)
        output = explainer(**batch, recorded=recorded)
        found = torch.zeros(*cuts.shape, len(output.target), device=cuts.device)
        for state, of_state in enumerate(cuts):
            for number, cut in enumerate(of_state[1:], 1):
                kept = (output.logits[..., state] > cut) | ~output.maskable
                masked = explainer.masked_forward(kept, state, recorded, **features)
                found[state, number] = explainer.cost(output.target, masked)
        costs.append(found)
    every = torch.cat(costs, dim=-1)
    spread = torch.quantile(
        every.double(), torch.tensor(COST_LEVELS, dtype=torch.float64, device=every.device), dim=-1
    )
    explainer.thresholds.copy_(cuts)
    explainer.costs.copy_(torch.cat([every.mean(-1, keepdim=True), spread.movedim(0, -1).to(every)], dim=-1))
