"""The constrained objective of the recipes `fast` and `paper`, solved as a saddle point.

    minimise  E[ how much is kept ]   subject to   E[ D( f(x) || f(x_hat) ) ] <= margin        (paper, equation 4)

Probes and baseline descend; one multiplier for each state ascends. Each step sums violations of the constraint over
examples ([`violations`]), micro-batches and processes. Then the multipliers get one update, the same on every process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import TrainingArguments
from transformers.utils import logging

from ...base.running import Batch, Recorded
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ...masks.noise import gate_noise
from ...masks.units import mean_over_units
from ..validation import StateRow
from .recipe import Objective

logger = logging.get_logger(__name__)


@dataclass
class Drawn:
    """The masks of one step."""

    objective: "LagrangianObjective"
    states: Tensor
    """`(B,)`: state at which each example is masked."""
    noise: Tensor
    """`(B, T, max(S, 3))`: uniform noise in (0, 1)."""
    checks: bool
    """Whether the violations of this step are counted."""

    def __call__(self, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """Draws the masks and runs them; see [`Objective.drawn`]."""
        self.objective.run(self, explainer, output, recorded)


class LagrangianObjective(Objective):
    """
    The constrained objective.

    Args:
        num_states (`int`): `S`.
        multiply (`bool`): Whether votes multiply over states.
        start (`float`): First value of the multipliers.
    """

    CHECK_EVERY: ClassVar[int] = 1  # steps between counts of the violations
    num_states: int
    multiply: bool
    multipliers: nn.Parameter
    sums: Tensor

    def __init__(self, num_states: int, multiply: bool, start: float):
        super().__init__()
        self.num_states, self.multiply = num_states, multiply
        self.multipliers = nn.Parameter(torch.full((num_states,), start), requires_grad=False)
        self.register_buffer("sums", torch.zeros(4, num_states), persistent=False)

    def draw(self, seed: int, step: int, example_ids: Tensor) -> Tensor:
        """
        The state at which each example is masked in a step.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            example_ids (`torch.Tensor` of shape `(B,)`): Index of each example in the data set.

        Returns:
            `torch.Tensor` of shape `(B,)`, `int64`.
        """
        raise NotImplementedError

    def run(self, drawn: Drawn, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """
        Draws masks and runs them.

        Args:
            drawn ([`Drawn`]): States and noise.
            explainer ([`DiffMaskModel`]): The explainer.
            output ([`DiffMaskOutput`]): `masked` is added, and `masked_hard` if hard masks are run.
            recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        """
        raise NotImplementedError

    def loss(self, logits: Tensor, maskable: Tensor, states: Tensor, divergence: Tensor) -> Tensor:
        """
        The Lagrangian, a mean over examples.

        Args:
            logits (`torch.Tensor` of shape `(B, T, S)`): Gate logit of each vote.
            maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked.
            states (`torch.Tensor` of shape `(B,)`): State of each example.
            divergence (`torch.Tensor` of shape `(B,)`): Divergence of the masked output.

        Returns:
            `torch.Tensor`: Scalar.
        """
        raise NotImplementedError

    def update(self, sums: Tensor) -> None:
        """
        Moves the multipliers.

        Args:
            sums (`torch.Tensor` of shape `(4, S)`): Result of [`violations`], over all examples of the step.
        """
        raise NotImplementedError

    def learns_baseline(self, args: TrainingArguments) -> bool:
        """See [`Objective.learns_baseline`]: if `baseline_steps` is 0."""
        return args.baseline_steps == 0

    def drawn(self, seed: int, step: int, batch: Batch) -> Drawn:
        """See [`Objective.drawn`]."""
        assert batch.example_ids is not None
        states = self.draw(seed, step, batch.example_ids)
        noise = gate_noise(seed, step, batch.example_ids, batch.units.long(), max(self.num_states, 3))
        return Drawn(self, states, noise, step % self.CHECK_EVERY == 0)

    def step_loss(self, explainer: DiffMaskModel, output: DiffMaskOutput, drawn: Drawn) -> Tensor:
        """See [`Objective.step_loss`]; also adds up the violations of the step."""
        task, states = explainer.task, drawn.states
        loss = self.loss(output.logits, output.maskable, states, task.divergence(output["target"], output["masked"]))
        if drawn.checks:
            checked = output["masked"] if output.masked_hard is None else output["masked_hard"]
            at_state = states[:, None, None].expand(-1, drawn.noise.shape[1], 1)
            kept = mean_over_units(output.keep_probability.gather(-1, at_state)[..., 0], output.maskable)
            divergence, agreement = task.divergence(output.target, checked), task.agreement(output.target, checked)
            self.sums += violations(states, divergence, agreement, kept, self.num_states)
        return loss

    def before_step(self, reduce: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """See [`Objective.before_step`]: one update of the multipliers."""
        sums = reduce(self.sums)
        if sums.isfinite().all():
            self.update(sums)
        self.sums = torch.zeros_like(self.sums)
        return [sums]

    def selection(self, ranked: Tensor | None, rows: Sequence[StateRow], config: DiffMaskConfig) -> float:
        """
        See [`Objective.selection`]: the kept share if the divergence is within the margin, else 1 plus the divergence;
        mean over the judged states.
        """
        judged = [rows[number] for number in config.judged_states]
        shares = [row.kept_share if row.divergence <= config.margin else 1 + row.divergence for row in judged]
        return sum(shares) / len(shares)

    def finish(self, explainer: DiffMaskModel, batches: Callable[[], list[Batch]] | None, best: float | None) -> None:
        """See [`Objective.finish`]: warns if no checkpoint meets the margin. A mean over states cannot show this."""
        if len(explainer.config.judged_states) == 1 and best is not None and best > 1:
            logger.warning(
                f"No checkpoint meets the margin of {explainer.margin():g}: the best has a divergence of "
                f"{best - 1:.3f}. Train for longer with --max_steps, or allow a larger --margin."
            )


def violations(states: Tensor, divergence: Tensor, agreement: Tensor, kept: Tensor, num_states: int) -> Tensor:
    """
    Sums over a batch for each state.

    Args:
        states (`torch.Tensor` of shape `(B,)`): State of each example.
        divergence (`torch.Tensor` of shape `(B,)`): Divergence of each example.
        agreement (`torch.Tensor` of shape `(B,)`): Whether the prediction is unchanged.
        kept (`torch.Tensor` of shape `(B,)`): Expected kept share.
        num_states (`int`): `S`.

    Returns:
        `torch.Tensor` of shape `(4, S)`: Number of examples, and sums of divergence, agreement and kept share.
    """
    values = torch.stack([torch.ones_like(divergence), divergence, agreement.to(divergence), kept]).detach()
    return values.new_zeros(4, num_states).index_add_(1, states, values)
