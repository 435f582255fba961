"""The recipe `fast`: masks for one margin, with faster training than in the paper."""

from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from ...base.running import Recorded
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ...masks.gates import SOFT_TEMPERATURE, draw_with_fading, hard_mask, log_keep_probability
from ...masks.noise import STATE_DRAW, hashed_uniform
from ...masks.units import mean_over_units
from ...masks.votes import keep_at
from .lagrangian import Drawn, LagrangianObjective
from .recipe import Recipe


class FastRecipe(Recipe):
    """A state drawn for each example; Adam; feedback control of the multipliers."""

    name = "fast"
    settings = {  # noqa: RUF012
        "weight_decay": 0.0,
        "max_steps": 400,
        "num_train_epochs": 3.0,  # without effect
        "per_device_train_batch_size": 64,
        "max_grad_norm": 0.0,
        "learning_rate": 2e-3,
        "level_learning_rate": 3e-2,
        "baseline_steps": 60,
        "baseline_learning_rate": 3e-3,
        "multiplier_learning_rate": 0.02,
        "warmup_steps": 50,
        "lr_scheduler_type": "linear",
    }
    fields = {  # noqa: RUF012
        "objective": "lagrangian",
        "mask_special_tokens": False,
        "normalize_states": True,
        "class_conditional": True,
        "read_context": True,
        "path_gradient": True,
        "initial_logit": 3.0,
    }

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> "FastObjective":
        """See [`Recipe.objective`]."""
        rate = args.multiplier_learning_rate
        return FastObjective(config.num_states, args.margin, rate, config.masks_inputs)


class FastObjective(LagrangianObjective):
    """
    The expected keep probability, minimised within the margin, at a state drawn for each example.

    The multipliers are set by proportional and integral control of the violation (Stooke et al. 2020): their logs
    integrate the relative violation, and the violation also acts at once, so they do not overshoot or oscillate.
    The violation comes from a running mean of the divergence. Divergences are near 0 for most examples and large for a
    few, so the clipped violation of one step would be negative on average even if the bound is broken. The loss is
    divided by `1 + lambda`, which keeps both terms in balance.

    Users get hard masks, so the violation is measured with hard masks. The bound on their mean divergence is a
    fraction of the margin, because each single explanation has to meet the margin, and divergences are larger on new
    text.

    Args:
        num_states (`int`): `S`.
        margin (`float`): The largest divergence allowed, in [`Task.measured_in`].
        rate (`float`): Step size of the log-multipliers.
        multiply (`bool`, *optional*, defaults to `True`):
            Whether votes multiply over states. If not, masks of states are independent, and all states count the same.
    """

    START, LOWEST, HIGHEST = 0.1, 0.03, 20.0  # initial value and bounds for multiplier times margin
    SPREAD = 10.0  # largest ratio between the last state's multiplier and another, if votes multiply
    BOUND = 0.58  # bound as a share of the margin
    GAIN = 2.0  # of the proportional control
    DECAY = 0.97  # of the running sums per step, if votes multiply
    MEMORY = 320.0  # time constant of the running sums, in examples of a state, if votes do not multiply
    CHECK_EVERY = 2  # steps between runs of hard masks
    LAST_SHARE = 0.6  # share of examples at the last state, whose mask users get, if votes multiply

    recent: Tensor
    violation: Tensor

    def __init__(self, num_states: int, margin: float, rate: float, multiply: bool = True):
        super().__init__(num_states, multiply, self.START / margin)
        self.margin, self.rate, self.bound = margin, rate, self.BOUND * margin
        self.register_buffer("recent", torch.zeros(2, num_states))
        self.register_buffer("violation", torch.zeros(num_states))

    def draw(self, seed: int, step: int, example_ids: Tensor) -> Tensor:
        """
        The state at which each example is masked in a step. If votes multiply, the last state for `LAST_SHARE` of the
        examples, and another state for the rest; otherwise any state.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            example_ids (`torch.Tensor` of shape `(B,)`): Index of each example in the data set.

        Returns:
            `torch.Tensor` of shape `(B,)`, `int64`.
        """
        uniform = hashed_uniform(seed, step, example_ids, STATE_DRAW)
        if self.multiply:
            return (uniform / (1 - self.LAST_SHARE) * (self.num_states - 1)).long().clamp(max=self.num_states - 1)
        return (uniform * self.num_states).long()

    def run(self, drawn: Drawn, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """See [`LagrangianObjective.run`] and [`draw_with_fading`]; hard masks are run every `CHECK_EVERY` steps."""
        states, maskable = drawn.states, recorded.batch.maskable
        log_keep = log_keep_probability(output["logits"]).masked_fill(~maskable[..., None], 0.0)
        keep = keep_at(log_keep, states, self.multiply).exp()
        soft = keep_at(log_keep_probability(output["logits"], SOFT_TEMPERATURE), states, self.multiply).exp()
        mask = draw_with_fading(keep, soft, drawn.noise[..., :3], maskable)
        if drawn.checks:
            with torch.no_grad():
                output.masked_hard = explainer.masked(recorded, hard_mask(keep), states)
        output.masked = explainer.masked(recorded, mask, states)

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
        # Softened, as in the gradient of the divergence; see `draw_with_fading`.
        soft = log_keep_probability(logits, SOFT_TEMPERATURE)
        kept = mean_over_units(keep_at(soft, states, self.multiply).exp(), maskable)
        multiplier = (self.multipliers * (self.GAIN * self.violation).exp())[states]
        return ((kept + multiplier * divergence) / (1 + multiplier)).mean()

    def update(self, sums: Tensor) -> None:
        """
        Moves the log-multipliers by `rate` times the relative violation of the running mean, clipped to [-1, 1].

        Args:
            sums (`torch.Tensor` of shape `(4, S)`): Result of [`violations`], over all examples of the step.
        """
        # A mean that lags too much makes the masks of a state swing between all and nothing, so the memory is short.
        # If votes multiply, a change at one state also moves all states above.
        decay = self.DECAY if self.multiply else (-sums[0] / self.MEMORY).exp()
        self.recent.mul_(decay).add_(sums[:2])
        count, divergence = self.recent
        relative = divergence / count.clamp(min=1e-6) / self.bound - 1
        self.violation.copy_(torch.where(count > 0, relative.clamp(-1, 1), 0.0))
        self.multipliers.mul_((self.rate * self.violation).exp())

    def clamp(self) -> None:
        """Clips the multipliers, so they can recover; if votes multiply, also to a range around the last state's."""
        self.multipliers.clamp_(self.LOWEST / self.margin, self.HIGHEST / self.margin)
        if not self.multiply:
            return
        last = self.multipliers[-1]
        self.multipliers.clamp_(last / self.SPREAD, last * self.SPREAD)

    def optimizer(self, groups: list[dict[str, Any]], args: TrainingArguments) -> torch.optim.Optimizer:
        """
        Adam for probes and baseline; [`FastObjective.update`] moves the multipliers.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): Give betas and epsilon.

        Returns:
            `torch.optim.Optimizer`
        """
        return torch.optim.Adam(groups, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon)
