"""Measures hard masks at every state, for selecting a checkpoint and for the table of states."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import hard_mask

COLUMNS = ("kept", "units", "divergence", "agreement", "within_margin")


class StateRow(NamedTuple):
    """One row of the table of states: hard masks at one state, over a data set."""

    state: str
    kept_share: float
    """Kept tokens over all tokens of the data set, without special tokens."""
    divergence: float
    """Mean over examples, in [`Task.measured_in`]."""
    agreement: float
    """Share of examples whose prediction is unchanged."""
    within_margin: float
    """Share of examples with a cost (divergence, or drop of the choice) of at most the margin."""


@torch.no_grad()
def measure(explainer: DiffMaskModel, recorded: Recorded, states: list[int] | None = None) -> Tensor:
    """
    Figures of hard masks for a batch, with one masked forward pass for each state.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        states (`list[int]`, *optional*): Numbers of the `S` states; by default all.

    Returns:
        `torch.Tensor` of shape `(B, S, 5)`: The columns of `COLUMNS` for each example and state.
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


def table_of_states(names: list[str], measured: Tensor) -> list[StateRow]:
    """
    The table of states from measurements.

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
        rows (`list[StateRow]`): Rows of the table.

    Returns:
        `str`: Markdown.
    """
    lines = ["| state | kept | divergence | same prediction | within margin |", "|---|---|---|---|---|"]
    lines += [f"| {row.state} | {' | '.join(f'{value:.3f}' for value in row[1:])} |" for row in rows]
    return "\n".join(lines)


def cost_by_share(explainer: DiffMaskModel, rows: list[StateRow]) -> dict[str, list[tuple[float, float]]]:
    """
    Mean cost of masks by kept share, for the plot in a card.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        rows (`list[StateRow]`): Its table of states.

    Returns:
        `dict[str, list[tuple[float, float]]]`: Points (kept share, mean cost) for each state. Evidence has a point
        for each threshold, over the calibration inputs. Votes have one point, with the divergence as cost.
    """
    points = explainer.masks.cost_by_share()
    return {row.state: [(row.kept_share, row.divergence)] for row in rows} if points is None else points
