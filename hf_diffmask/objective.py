"""The objectives: the constrained one with its multipliers, and that of a path.

    minimise  E[ how much is kept ]   subject to   E[ D( f(x) || f(x_hat) ) ] <= margin        (paper, equation 4)

as a saddle point: the probes and the baseline descend, one multiplier for each state ascends. Two recipes, one class
each. What a step learns about its constraint is kept as sums over examples ([`violations`]): they are added up over
micro-batches and processes first, and the multipliers are then updated once, alike on every process.
"""

from typing import Any

import torch
from torch import Tensor, nn

from . import heads
from .configuration_diffmask import DiffMaskConfig
from .gates import SOFT_TEMPERATURE, hashed_uniform, keep_at, log_keep_probability
from .outputs import DiffMaskOutput
from .paths import scores_at
from .training_args import DiffMaskTrainingArguments

# Separates the noise that draws states and budgets from the noise of the gates.
_DRAW, _BUDGET = 7919, 104729


def mean_over_units(values: Tensor, maskable: Tensor) -> Tensor:
    """
    Mean over the units that can be masked.

    Args:
        values (`torch.Tensor` of shape `(B, T)`): One value a unit.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that count.

    Returns:
        `torch.Tensor` of shape `(B,)`.
    """
    return (values * maskable).sum(-1) / maskable.sum(-1).clamp(min=1)


def violations(states: Tensor, divergence: Tensor, agreement: Tensor, kept: Tensor, num_states: int) -> Tensor:
    """
    Sums over a batch, for each state.

    Args:
        states (`torch.Tensor` of shape `(B,)`): State of each example.
        divergence (`torch.Tensor` of shape `(B,)`): Divergence in nats.
        agreement (`torch.Tensor` of shape `(B,)`): Whether the prediction is unchanged.
        kept (`torch.Tensor` of shape `(B,)`): Expected share of units kept.
        num_states (`int`): `S`.

    Returns:
        `torch.Tensor` of shape `(4, S)`: Count, and sums of divergence, agreement and share kept.
    """
    values = torch.stack([torch.ones_like(divergence), divergence, agreement.to(divergence), kept]).detach()
    return values.new_zeros(4, num_states).index_add_(1, states, values)


class FastObjective(nn.Module):
    """
    The recipe `fast`: each example draws its own state, and what counts is the expected keep probability itself.

    The multipliers are controlled in proportion to the violation and by its sum (Stooke et al. 2020): their logs move
    by the violation relative to the bound, and the violation also acts at once, so that they neither overshoot nor
    swing. It is clipped, and taken of a running mean: a divergence is close to 0 for most examples and large for a
    few, so that the clipped violation of the few examples that draw a state in one step would be negative on average
    even where the bound is broken. The loss is divided by `1 + lambda`, so that neither term drowns the other.

    The violation is that of hard masks, which are what is handed out. The bound on their mean divergence is a part of
    the margin, since each explanation is held to the margin alone, and since divergences are larger on new text.

    Args:
        num_states (`int`): `S`.
        margin (`float`): Divergence in nats that masking may cost.
        rate (`float`): Step size of the log-multipliers.
        multiply (`bool`, *optional*, defaults to `True`):
            Whether votes multiply over states. If not, no state's mask depends on another's, and all count the same.
    """

    START, LOWEST, HIGHEST = 0.1, 0.03, 20.0  # of the multipliers times the margin: of divergences in margins
    SPREAD = 10.0  # between the multiplier of the last state and those of the others
    BOUND = 0.58  # of the margin
    GAIN = 2.0  # of the violation that acts at once
    DECAY = 0.97  # of the running sums, a step, where votes multiply
    MEMORY = 320.0  # examples of a state that its running sums reach back over, where they do not
    CHECK_EVERY = 2  # steps between those whose hard masks are run
    LAST_SHARE = 0.6  # of examples that draw the last state, whose mask is the one handed out, where votes multiply

    recent: Tensor
    violation: Tensor

    def __init__(self, num_states: int, margin: float, rate: float, multiply: bool = True):
        super().__init__()
        self.num_states, self.margin, self.rate, self.multiply = num_states, margin, rate, multiply
        self.bound = self.BOUND * margin
        self.multipliers = nn.Parameter(torch.full((num_states,), self.START / margin), requires_grad=False)
        self.register_buffer("recent", torch.zeros(2, num_states))
        self.register_buffer("violation", torch.zeros(num_states))

    def draw(self, seed: int, step: int, example_ids: Tensor) -> Tensor:
        """
        The state at which each example is masked in a step: the last for `LAST_SHARE` of them, else any other; where
        votes do not multiply, any.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            example_ids (`torch.Tensor` of shape `(B,)`): Index of each example in the data set.

        Returns:
            `torch.Tensor` of shape `(B,)`, `int64`.
        """
        uniform = hashed_uniform(seed, step, example_ids, _DRAW)
        if self.multiply:
            return (uniform / (1 - self.LAST_SHARE) * (self.num_states - 1)).long().clamp(max=self.num_states - 1)
        return (uniform * self.num_states).long()

    def loss(self, logits: Tensor, maskable: Tensor, states: Tensor, divergence: Tensor) -> Tensor:
        """
        The Lagrangian, a mean over examples.

        Args:
            logits (`torch.Tensor` of shape `(B, T, S)`): Gate logit of each vote.
            maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked.
            states (`torch.Tensor` of shape `(B,)`): State of each example.
            divergence (`torch.Tensor` of shape `(B,)`): Divergence in nats.

        Returns:
            `torch.Tensor`: Scalar.
        """
        # The softened probability, as in the gradient of the divergence: see `draw_on_paths`.
        soft = log_keep_probability(logits, SOFT_TEMPERATURE)
        kept = mean_over_units(keep_at(soft, states, self.multiply).exp(), maskable)
        multiplier = (self.multipliers * (self.GAIN * self.violation).exp())[states]
        return ((kept + multiplier * divergence) / (1 + multiplier)).mean()

    def update(self, sums: Tensor) -> None:
        """
        Moves the log-multipliers by the relative violation of the running mean, clipped to [-1, 1].

        Args:
            sums (`torch.Tensor` of shape `(4, S)`): Result of [`violations`], over all examples of the step.
        """
        # A mean that lags behind makes the masks of a state swing between all and nothing: it reaches no further back
        # than it takes to be settled. Where votes multiply, what one state learns moves all above it.
        decay = self.DECAY if self.multiply else (-sums[0] / self.MEMORY).exp()
        self.recent.mul_(decay).add_(sums[:2])
        count, divergence = self.recent
        relative = divergence / count.clamp(min=1e-6) / self.bound - 1
        self.violation.copy_(torch.where(count > 0, relative.clamp(-1, 1), 0.0))
        self.multipliers.mul_((self.rate * self.violation).exp())

    def clamp(self) -> None:
        """Keeps the multipliers where they can come back from, and, where votes multiply, near the last state's."""
        self.multipliers.clamp_(self.LOWEST / self.margin, self.HIGHEST / self.margin)
        if not self.multiply:
            return
        last = self.multipliers[-1]
        self.multipliers.clamp_(last / self.SPREAD, last * self.SPREAD)

    def optimizer(self, groups: list[dict[str, Any]], args: DiffMaskTrainingArguments) -> torch.optim.Optimizer:
        """
        Adam over probes and baseline; the multipliers need none.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): Give betas and epsilon.

        Returns:
            `torch.optim.Optimizer`
        """
        return torch.optim.Adam(groups, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon)


class LookaheadRMSprop(torch.optim.RMSprop):
    """
    Centred RMSprop inside Lookahead (Zhang et al. 2019): every 6 steps the weights move back half-way to where they
    were 6 steps before.

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
        # RMSprop sets its own state up only while there is none, so that ours must come after it.
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


class PaperObjective(nn.Module):
    """
    The authors' published recipe: one state for a whole batch, and what counts is the log keep probability.

    The multipliers ascend by RMSprop inside Lookahead, too, but by themselves: at the full rate from the first step,
    where that of the probes warms up, and each at the steps that draw its state alone. Else the divergence is out of
    bounds long before they can answer. They stay within [0, 200]. A state that has become sparse and faithful is drawn
    10 times less often.

    Args:
        num_states (`int`): `S`.
        margin (`float`): Divergence in nats that masking may cost.
        rate (`float`): Learning rate of the multipliers.
        multiply (`bool`, *optional*, defaults to `True`): Whether votes multiply over states.
    """

    SPARSE, FAITHFUL, SETTLED, DECAY = 0.1, 0.75, 100, 0.9
    SMOOTHING, EPSILON = 0.99, 1e-8  # of RMSprop
    CHECK_EVERY = 1

    draws: Tensor
    square: Tensor
    slow: Tensor
    running_agreement: Tensor
    running_kept: Tensor

    def __init__(self, num_states: int, margin: float, rate: float, multiply: bool = True):
        super().__init__()
        self.num_states, self.bound, self.rate, self.multiply = num_states, margin, rate, multiply
        self.multipliers = nn.Parameter(torch.ones(num_states), requires_grad=False)
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
            `torch.Tensor` of shape `(B,)`, `int64`: The same state for all.
        """
        done = (self.running_kept < self.SPARSE) & (self.running_agreement > self.FAITHFUL)
        weights = torch.where(done & (self.draws > self.SETTLED), 0.1, 1.0)
        uniform = hashed_uniform(seed, torch.tensor([step], device=weights.device), _DRAW)
        state = torch.searchsorted(weights.cumsum(0) / weights.sum(), uniform).clamp(max=self.num_states - 1)
        return state.expand(len(example_ids))

    def loss(self, logits: Tensor, maskable: Tensor, states: Tensor, divergence: Tensor) -> Tensor:
        """
        The Lagrangian, a mean over examples; arguments as [`FastObjective.loss`].

        Args:
            logits (`torch.Tensor` of shape `(B, T, S)`): Gate logit of each vote.
            maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked.
            states (`torch.Tensor` of shape `(B,)`): State of each example.
            divergence (`torch.Tensor` of shape `(B,)`): Divergence in nats.

        Returns:
            `torch.Tensor`: Scalar.
        """
        kept = mean_over_units(keep_at(log_keep_probability(logits), states, self.multiply), maskable)
        return (kept + self.multipliers[states] * (divergence - self.bound)).mean()

    def update(self, sums: Tensor) -> None:
        """
        Moves the multiplier of the state that was drawn, and follows that state.

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

    def optimizer(self, groups: list[dict[str, Any]], args: DiffMaskTrainingArguments) -> torch.optim.Optimizer:
        """
        Centred RMSprop inside Lookahead over probes and baseline; the multipliers move by themselves.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): Without effect.

        Returns:
            `torch.optim.Optimizer`
        """
        return LookaheadRMSprop(groups)


def path_loss(
    preserved: str, target: Tensor, masked: Tensor, left_out: Tensor, classes: Tensor | None = None
) -> Tensor:
    """
    What a mask loses, and what its complement still has.

    Args:
        preserved (`str`): `"prediction"` or `"distribution"`, see [`DiffMaskConfig`].
        target (`torch.Tensor` of shape `(B, C)` or `(B, 2, T)`): Log-probabilities on the whole input, in nats.
        masked (`torch.Tensor` of the same shape): On the units that the mask keeps.
        left_out (`torch.Tensor` of the same shape): On those that it leaves out.
        classes (`torch.Tensor` of shape `(B,)`, *optional*): The class explained; by default the predicted one.

    Returns:
        `torch.Tensor` of shape `(B,)`: Of a class the log-probability that is lost plus the probability that is left;
        of the distribution the divergence of the mask, plus `exp(-D)` of its complement.
    """
    if preserved == "distribution":
        return heads.divergence(target, masked) + (-heads.divergence(target, left_out)).exp()
    classes = target.argmax(-1) if classes is None else classes
    whole, kept, left = (values.gather(-1, classes[:, None])[:, 0] for values in (target, masked, left_out))
    return whole - kept + left.exp()


class PathObjective(nn.Module):
    """
    A ranking of the units instead of a set: whatever the budget, those that stay preserve the prediction, and the
    others, alone, lose it.

    Each example draws a budget. There is no constraint while training, and no multiplier: the margin is met
    afterwards, by choosing the budget (`calibrate`).

    With input masking the masks of all states are of the same units, and one ranking is the best of all. The last
    state's scores are trained on it, and those below learn to tell them from their own state and whatever else
    probes are told: the prediction, and how sure it is. With hidden masking each example draws a state, at which it is
    masked.

    Args:
        num_states (`int`): `S`.
        target (`str`): `"prediction"` or `"distribution"`, see [`DiffMaskConfig`].
        masks_inputs (`bool`, *optional*, defaults to `True`): Whether the masks of all states are of the inputs.
    """

    LOWEST, HIGHEST = 0.03, 0.63  # share of the units that a budget is
    PENALTY = 1e-3  # of squares; what learns from them alone minds only their ratio to what gradients are clipped at
    CHECK_EVERY = 0

    def __init__(self, num_states: int, target: str, masks_inputs: bool = True):
        super().__init__()
        self.num_states, self.target, self.masks_inputs = num_states, target, masks_inputs

    def draw(self, seed: int, step: int, example_ids: Tensor) -> tuple[Tensor, Tensor]:
        """
        The state whose scores mask each example in a step, and its budget.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            example_ids (`torch.Tensor` of shape `(B,)`): Index of each example in the data set.

        Returns:
            `tuple`: States, `(B,)`, `int64`; budgets as shares of the units, `(B,)`.
        """
        if self.masks_inputs:
            states = torch.full_like(example_ids, self.num_states - 1)
        else:
            states = (hashed_uniform(seed, step, example_ids, _DRAW) * self.num_states).long()
        shares = self.LOWEST + (self.HIGHEST - self.LOWEST) * hashed_uniform(seed, step, example_ids, _BUDGET)
        return states, shares

    def loss(self, output: DiffMaskOutput, states: Tensor) -> Tensor:
        """
        What the kept units lose, and what the left-out ones have, a mean over examples; and, for little, squared
        scores and, with input masking, the squared distances of lower states' scores from them.

        Args:
            output ([`DiffMaskOutput`]): With `masked` and `left_out`.
            states (`torch.Tensor` of shape `(B,)`): State of each example.

        Returns:
            `torch.Tensor`: Scalar.
        """
        terms = path_loss(self.target, output["target"], output["masked"], output["left_out"])
        scores = scores_at(output["logits"], states)
        squares = scores.square()
        if self.masks_inputs:
            squares = squares + (output["logits"][..., :-1] - scores.detach()[..., None]).square().sum(-1)
        return (terms + self.PENALTY * mean_over_units(squares, output["maskable"])).mean()

    def optimizer(self, groups: list[dict[str, Any]], args: DiffMaskTrainingArguments) -> torch.optim.Optimizer:
        """
        AdamW.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): Give betas, epsilon and weight decay.

        Returns:
            `torch.optim.Optimizer`
        """
        return torch.optim.AdamW(
            groups, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon, weight_decay=args.weight_decay
        )


Objective = FastObjective | PaperObjective | PathObjective


def objective_of(config: DiffMaskConfig, args: DiffMaskTrainingArguments) -> Objective:
    """
    The objective of a recipe.

    Args:
        config ([`DiffMaskConfig`]): The explainer's.
        args ([`DiffMaskTrainingArguments`]): Give recipe, margin and the multipliers' step size.

    Returns:
        [`FastObjective`], [`PaperObjective`] or [`PathObjective`]
    """
    if args.recipe == "path":
        return PathObjective(config.num_states, config.target, config.masks_inputs)
    lagrangian = FastObjective if args.recipe == "fast" else PaperObjective
    return lagrangian(config.num_states, args.margin, args.multiplier_learning_rate, config.votes_multiply)
