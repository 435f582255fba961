"""The recipe `paper`: masks for one margin, as the authors published it."""

from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from ...base.running import Recorded
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ...masks.gates import log_keep_probability, sample
from ...masks.noise import STATE_DRAW, hashed_uniform
from ...masks.units import mean_over_units
from ...masks.votes import counting_votes, keep_at
from .lagrangian import Drawn, LagrangianObjective
from .recipe import Recipe


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

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> "PaperObjective":
        """See [`Recipe.objective`]."""
        rate = args.multiplier_learning_rate
        return PaperObjective(config.num_states, args.margin, rate, config.masks_inputs)


class LookaheadRMSprop(torch.optim.RMSprop):
    """
    Centred RMSprop inside Lookahead (Zhang et al. 2019): every 6 steps the weights move half-way back to their values
    6 steps before.

    Args:
        groups (`list[dict]`): Parameter groups.
    """

    ALPHA, PERIOD = 0.5, 6

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, centered=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; see [`torch.optim.RMSprop`]."""
        parameters = [value for group in self.param_groups for value in group["params"] if value.grad is not None]
        # RMSprop sets up its state only if the state is empty, so "slow" is added after its step.
        before = {value: value.clone() for value in parameters if "slow" not in self.state[value]}
        result = super().step(closure)
        for value in parameters:
            state = self.state[value]
            if value in before:
                state["slow"] = before[value]
            if int(state["step"]) % self.PERIOD == 0:
                state["slow"].lerp_(value, self.ALPHA)
                value.copy_(state["slow"])
        return result


class PaperObjective(LagrangianObjective):
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
    CHECK_EVERY = 1

    draws: Tensor
    square: Tensor
    slow: Tensor
    running_agreement: Tensor
    running_kept: Tensor

    def __init__(self, num_states: int, margin: float, rate: float, multiply: bool = True):
        super().__init__(num_states, multiply, 1.0)
        self.bound, self.rate = margin, rate
        self.register_buffer("draws", torch.zeros(num_states))
        self.register_buffer("square", torch.zeros(num_states))
        self.register_buffer("slow", torch.ones(num_states))
        self.register_buffer("running_agreement", torch.ones(num_states))
        self.register_buffer("running_kept", torch.ones(num_states))

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

    def run(self, drawn: Drawn, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """See [`LagrangianObjective.run`]: Hard Concrete gates (paper, section 3.2)."""
        gates = sample(output["logits"], drawn.noise[..., : self.num_states])
        counted = counting_votes(drawn.states, self.num_states, self.multiply)
        output.masked = explainer.masked(recorded, gates.masked_fill(~counted, 1.0).prod(-1), drawn.states)

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
