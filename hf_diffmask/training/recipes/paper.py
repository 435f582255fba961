"""
The recipe `paper`: masks for one margin, as the authors published it.

    minimise  E[ how much is kept ]   subject to   E[ D( f(x) || f(x_hat) ) ] <= margin        (paper, equation 4)

This is solved as a saddle point: probes and baseline descend; one multiplier for each state ascends. Each step sums
violations of the constraint over examples ([`violations`]), micro-batches and processes. Then the multipliers get one
update, the same on every process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments
from transformers.utils import logging

from ...base.running import Batch, Recorded
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ...masks.gates import log_keep_probability, sample
from ...masks.noise import STATE_DRAW, gate_noise, hashed_uniform
from ...masks.units import mean_over_units
from ...masks.votes import counting_votes, keep_at
from ..validation import StateRow
from .lookahead import LookaheadRMSprop
from .recipe import Objective, Recipe

logger = logging.get_logger(__name__)


class PaperRecipe(Recipe):
    """One state for a whole batch; RMSprop inside Lookahead; Hard Concrete gates."""

    name = "paper"
    settings = {  # noqa: RUF012
        "weight_decay": 0.0,
        "max_steps": 3000,
        "num_train_epochs": 3.0,  # without effect
        "per_device_train_batch_size": 64,
        "max_grad_norm": 0.0,
        "learning_rate": 3e-4,
        "level_learning_rate": 3e-4,
        "baseline_steps": 0,
        "baseline_learning_rate": 1e-3,
        "multiplier_learning_rate": 0.3,
        "warmup_steps": 1200,
        "lr_scheduler_type": "constant_with_warmup",
    }
    fields = {  # noqa: RUF012
        "objective": "lagrangian",
        "mask_special_tokens": False,
        "normalize_states": False,
        "class_conditional": False,
        "read_context": False,
        "path_gradient": False,
        "initial_logit": 5.0,
    }
    relied_on = ("objective", "path_gradient")

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> "PaperObjective":
        """See [`Recipe.objective`]."""
        rate = args.multiplier_learning_rate
        return PaperObjective(config.num_states, args.margin, rate, config.masks_inputs)


@dataclass
class Drawn:
    """The masks of one step."""

    states: Tensor
    """`(B,)`: state at which each example is masked."""
    noise: Tensor
    """`(B, T, S)`: uniform noise in (0, 1)."""
    multiply: bool
    """Whether votes multiply over states."""

    def __call__(self, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """Draws Hard Concrete gates (paper, section 3.2) and runs the masks; see [`Objective.drawn`]."""
        gates = sample(output["logits"], self.noise)
        counted = counting_votes(self.states, gates.shape[-1], self.multiply)
        output.masked = explainer.masked(recorded, gates.masked_fill(~counted, 1.0).prod(-1), self.states)


class PaperObjective(Objective):
    """
    The authors' published objective: the log keep probability, minimised at one state for a whole batch.

    The multipliers ascend by RMSprop inside Lookahead as well, but not in the probes' optimiser. They have no warm-up,
    and each moves only at the steps that draw its state. Otherwise the divergence would leave the bounds long before
    the multipliers react. They stay within [0, 200]. A state that has become sparse and faithful is drawn 10 times
    less often.

    Args:
        num_states (`int`): `S`.
        margin (`float`): The largest divergence allowed, in [`Task.measured_in`].
        rate (`float`): Learning rate of the multipliers.
        multiply (`bool`, *optional*, defaults to `True`): Whether votes multiply over states.
    """

    SPARSE, FAITHFUL, SETTLED, DECAY = 0.1, 0.75, 100, 0.9
    SMOOTHING, EPSILON = 0.99, 1e-8  # of the multipliers' RMSprop

    sums: Tensor
    draws: Tensor
    square: Tensor
    slow: Tensor
    running_agreement: Tensor
    running_kept: Tensor

    def __init__(self, num_states: int, margin: float, rate: float, multiply: bool = True):
        super().__init__()
        self.num_states, self.multiply = num_states, multiply
        self.bound, self.rate = margin, rate
        self.multipliers = nn.Parameter(torch.ones(num_states), requires_grad=False)
        self.register_buffer("sums", torch.zeros(4, num_states), persistent=False)
        self.register_buffer("draws", torch.zeros(num_states))
        self.register_buffer("square", torch.zeros(num_states))
        self.register_buffer("slow", torch.ones(num_states))
        self.register_buffer("running_agreement", torch.ones(num_states))
        self.register_buffer("running_kept", torch.ones(num_states))

    def learns_baseline(self, args: TrainingArguments) -> bool:
        """See [`Objective.learns_baseline`]: if `baseline_steps` is 0."""
        return args.baseline_steps == 0

    def draw(self, seed: int, step: int, example_ids: Tensor) -> Tensor:
        """
        The state at which the batch of a step is masked.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            example_ids (`torch.Tensor` of shape `(B,)`): Index of each example in the data set.

        Returns:
            `torch.Tensor` of shape `(B,)`, `int64`: The same state for all examples.
        """
        done = (self.running_kept < self.SPARSE) & (self.running_agreement > self.FAITHFUL)
        weights = torch.where(done & (self.draws > self.SETTLED), 0.1, 1.0)
        uniform = hashed_uniform(seed, torch.tensor([step], device=weights.device), STATE_DRAW)
        state = torch.searchsorted(weights.cumsum(0) / weights.sum(), uniform).clamp(max=self.num_states - 1)
        return state.expand(len(example_ids))

    def drawn(self, seed: int, step: int, batch: Batch) -> Drawn:
        """See [`Objective.drawn`]."""
        assert batch.example_ids is not None
        noise = gate_noise(seed, step, batch.example_ids, batch.units.long(), self.num_states)
        return Drawn(self.draw(seed, step, batch.example_ids), noise, self.multiply)

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
        kept = mean_over_units(keep_at(log_keep_probability(logits), states, self.multiply), maskable)
        return (kept + self.multipliers[states] * (divergence - self.bound)).mean()

    def step_loss(self, explainer: DiffMaskModel, output: DiffMaskOutput, drawn: Drawn) -> Tensor:
        """See [`Objective.step_loss`]; also adds up the violations of the step."""
        task, states, masked = explainer.task, drawn.states, output["masked"]
        divergence = task.divergence(output["target"], masked)
        at_state = states[:, None, None].expand(-1, drawn.noise.shape[1], 1)
        kept = mean_over_units(output.keep_probability.gather(-1, at_state)[..., 0], output.maskable)
        agreement = task.agreement(output.target, masked)
        self.sums += violations(states, divergence, agreement, kept, self.num_states)
        return self.loss(output.logits, output.maskable, states, divergence)

    def before_step(self, reduce: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """See [`Objective.before_step`]: one update of the multipliers."""
        sums = reduce(self.sums)
        if sums.isfinite().all():
            self.update(sums)
        self.sums = torch.zeros_like(self.sums)
        return [sums]

    def update(self, sums: Tensor) -> None:
        """
        Moves the multiplier of the drawn state, and updates its running means.

        Args:
            sums (`torch.Tensor` of shape `(4, S)`): Result of [`violations`], over all examples of the step.
        """
        drawn = sums[0] > 0
        means = sums[1:] / sums[0].clamp(min=1)
        violation = means[0] - self.bound
        square = self.SMOOTHING * self.square + (1 - self.SMOOTHING) * violation.square()
        self.square.copy_(torch.where(drawn, square, self.square))
        step = self.rate * violation / (self.square.sqrt() + self.EPSILON)
        self.multipliers.add_(torch.where(drawn, step, 0.0))
        self.draws += drawn
        synced = drawn & (self.draws % LookaheadRMSprop.PERIOD == 0)
        self.slow.lerp_(self.multipliers, torch.where(synced, LookaheadRMSprop.ALPHA, 0.0))
        self.multipliers.copy_(torch.where(synced, self.slow, self.multipliers))
        for running, mean in ((self.running_agreement, means[1]), (self.running_kept, means[2])):
            running.copy_(torch.where(drawn, self.DECAY * running + (1 - self.DECAY) * mean, running))

    def clamp(self) -> None:
        """Keeps the multipliers in [0, 200]."""
        self.multipliers.clamp_(0, 200)

    def optimizer(self, groups: list[dict[str, Any]], args: TrainingArguments) -> torch.optim.Optimizer:
        """
        Centred RMSprop inside Lookahead for probes and baseline; [`PaperObjective.update`] moves the multipliers.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): No effect.

        Returns:
            `torch.optim.Optimizer`
        """
        return LookaheadRMSprop(groups)

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
