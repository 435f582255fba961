"""Hard masks at every state, measured: what an explainer is chosen by and what its table of states shows."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks import paths
from ..masks.gates import hard_mask

BUDGETS = (0.1, 0.2, 0.3, 0.5)  # shares of the units that a ranking is judged at
COLUMNS = ("kept", "units", "divergence", "agreement", "within_margin")


class StateRow(NamedTuple):
    """One line of the table of states: hard masks at one state over a data set."""

    state: str
    kept_share: float
    """Tokens kept over tokens, special ones left out of both."""
    divergence: float
    """Mean over examples, in nats."""
    agreement: float
    """Share of examples whose prediction is unchanged."""
    within_margin: float
    """Share of examples whose divergence, or drop of the class's probability, is at most the margin."""


@torch.no_grad()
def measure(explainer: DiffMaskModel, recorded: Recorded, states: list[int] | None = None) -> Tensor:
    """
    Runs a batch under the hard masks of states, one masked pass each.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): What the base model computes on the whole inputs.
        states (`list[int]`, *optional*): Which `S` states; all by default.

    Returns:
        `torch.Tensor` of shape `(B, S, 5)`: For each example and state the columns of `COLUMNS`.
    """
    output, task = explainer.explain(recorded), explainer.task
    units = recorded.batch.units & ~recorded.batch.special
    masks = hard_mask(output.keep_probability)
    rows = []
    for state in range(masks.shape[-1]) if states is None else states:
        masked = explainer.masked(recorded, masks[..., state], state)
        columns = [
            (masks[..., state] & units).sum(-1),
            units.sum(-1),
            task.divergence(output.target, masked),
            task.agreement(output.target, masked),
            explainer.cost(output.target, masked) <= explainer.margin(),
        ]
        rows.append(torch.stack([column.float() for column in columns], dim=-1))
    return torch.stack(rows, dim=1)


@torch.no_grad()
def measure_ranking(explainer: DiffMaskModel, recorded: Recorded) -> Tensor:
    """
    How well scores of a path rank: what the masks of a few budgets cost, less what their complements do, with the
    baseline in the place of what is gone. With hidden masking a mean over states, else by the scores of the last one.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): What the base model computes on the whole inputs.

    Returns:
        `torch.Tensor` of shape `(B,)`: Lower is better; see [`Preserved.loss_of_complement`].
    """
    output, found = explainer.explain(recorded), []
    for state in explainer.config.judged_states:
        for share in BUDGETS:
            shares = torch.full((len(output.target),), share, device=output.target.device)
            kept = paths.top(output.logits[..., state], paths.budgets(shares, output.maskable), output.maskable)
            for mask in (kept, ~kept):
                found.append(explainer.cost(output.target, explainer.masked(recorded, mask, state)))
    kept_cost, left_out_cost = torch.stack(found, dim=-1).unflatten(-1, (-1, 2)).unbind(-1)
    return (kept_cost - explainer.preserved.loss_of_complement(left_out_cost)).mean(-1)


def table_of_states(names: list[str], measured: Tensor) -> list[StateRow]:
    """
    Sums measurements up.

    Args:
        names (`list[str]`): Names of the `S` states.
        measured (`torch.Tensor` of shape `(N, S, 5)`): Results of [`measure`], over all examples.

    Returns:
        `list[StateRow]`: One row for each state.
    """
    kept, units, *_ = measured.sum(0).unbind(-1)
    means = measured.mean(0)
    shares = kept / units.clamp(min=1)
    return [
        StateRow(name, shares[k].item(), *(means[k, column].item() for column in (2, 3, 4)))
        for k, name in enumerate(names)
    ]


def format_table(rows: list[StateRow]) -> str:
    """
    The table of states as text.

    Args:
        rows (`list[StateRow]`): Its rows.

    Returns:
        `str`: Markdown.
    """
    lines = ["| state | kept | divergence | same prediction | within margin |", "|---|---|---|---|---|"]
    lines += [f"| {row.state} | {' | '.join(f'{value:.3f}' for value in row[1:])} |" for row in rows]
    return "\n".join(lines)


def cost_by_share(explainer: DiffMaskModel, rows: list[StateRow]) -> dict[str, list[tuple[float, float]]]:
    """
    What masks cost by the share that they keep: the data of a card's plot.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        rows (`list[StateRow]`): Its table of states.

    Returns:
        `dict[str, list[tuple[float, float]]]`: Points of share and mean cost: of a path a line for each state, over
        the inputs that it was calibrated on, and else one point for each state, in nats.
    """
    points = explainer.masks.cost_by_share()
    return {row.state: [(row.kept_share, row.divergence)] for row in rows} if points is None else points
