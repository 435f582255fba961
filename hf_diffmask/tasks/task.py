"""Interface of a task: reads and compares outputs of a base model. One subclass per file."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from ..base.head import READS
from ..base.running import Recorded
from ..errors import DiffMaskError
from .heads import has_head
from .inputs import TaskInputs
from .words import TaskWords


class Task(TaskInputs, TaskWords):
    """
    One kind of prediction. Stateless: constants, if any, come from the explainer's config.

    An *output* is a tensor with one row per example, from [`Task.target`]. A *choice* is a class or answer that can be
    asked for.

    Args:
        constants (`Mapping[str, Any]`, *optional*): The config's `task_constants`.
    """

    name: ClassVar[str]
    """Value of `config.task` and of the front matter of a card."""
    auto_class: ClassVar[Any]
    """The Transformers class that loads base models."""
    described: ClassVar[str]
    """Supported models in a few words, for errors."""
    by_unit: ClassVar[bool] = False
    """Whether the last dimension of an output is the units; its size then differs between batches."""
    padding: ClassVar[float] = 0.0
    """Value of an output at padding, with `by_unit`."""
    has_choices: ClassVar[bool] = True
    """Whether there are choices to explain."""
    exclusive: ClassVar[bool] = True
    """Whether exactly one choice holds. Of two such choices, evidence for one is evidence against the other."""
    at_positions: ClassVar[bool] = False
    """Whether an output is that of some positions in the text, which `explained_mask` names."""
    explains_any: ClassVar[bool] = True
    """With `at_positions`: whether any token can be explained, not only [`Task.parts`]."""
    value_bounds: ClassVar[tuple[float, float]] = (-6.0, 6.0)
    """Least and largest log-odds that evidence adds up to, in nats."""

    def __init__(self, constants: Mapping[str, Any] | None = None):
        self.constants = constants or {}

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """
        Whether a base model has this task. Loads nothing.

        Args:
            class_names (`Iterable[str]`): Names of the model's class and its base classes.
            config ([`~transformers.PreTrainedConfig`]): The model's config.

        Returns:
            `bool`
        """
        return has_head(class_names, cls.auto_class)

    @classmethod
    def given_constants(
        cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> dict[str, Any]:
        """
        The task's constants that a base model's config and tokenizer give.

        Args:
            config, tokenizer: Those of the base model; the tokenizer if it is at hand.

        Returns:
            `dict`: For `config.task_constants`; none by default.
        """
        return {}

    def measured_constants(self, outputs: Callable[[], Tensor]) -> dict[str, float]:
        """
        The task's constants, measured on training inputs.

        Args:
            outputs (`Callable`): Runs the base model on some training inputs and returns outputs `(N, ...)`.

        Returns:
            `dict[str, float]`: For `config.task_constants`; none by default.
        """
        return {}

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """
        The task's output, from the output of the base model.

        Args:
            output: Result of the base model's `forward`.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding.
            explained (`torch.Tensor` of shape `(B, T)`, *optional*): With `at_positions`: the positions asked for.

        Returns:
            `torch.Tensor` of shape `(B, ...)`, at least `float32`: log-probabilities or log-odds in nats, or the
            number that the task predicts.
        """
        raise NotImplementedError

    def target_at(self, target: Tensor, explained: Tensor) -> Tensor:
        """
        For a task with `at_positions`: the output at some positions, from the output at each position.

        Args:
            target (`torch.Tensor` of shape `(B, T, ...)`): Result of [`Task.target`] without `explained`.
            explained (`torch.Tensor` of shape `(B, T)`, `bool`): The positions, at least one for each input.

        Returns:
            `torch.Tensor` of shape `(B, ...)`
        """
        raise NotImplementedError

    def parts(self, target: Tensor, ids: Tensor, special: Tensor, config: PreTrainedConfig) -> list[list[int]]:
        """
        For a task with `at_positions`: the parts of one input that are explained by default.

        Args:
            target (`torch.Tensor` of shape `(T, ...)`): Output at each position, see [`Task.target`].
            ids (`torch.Tensor` of shape `(T,)`): Token ids.
            special (`torch.Tensor` of shape `(T,)`, `bool`): Special tokens.
            config ([`~transformers.PreTrainedConfig`]): The base model's config.

        Returns:
            `list[list[int]]`: Positions of each part, in the order of the text.
        """
        raise NotImplementedError

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        Divergence of the masked output from the whole output (paper, equation 3).

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
            masked (`torch.Tensor` of the same shape): Output for the masked input.

        Returns:
            `torch.Tensor` of shape `(B,)`: 0 or more, in the unit that [`Task.measured_in`] names.
        """
        raise NotImplementedError

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        Whether the prediction is unchanged.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
            masked (`torch.Tensor` of the same shape): Output for the masked input.

        Returns:
            `torch.Tensor` of shape `(B,)`, `bool`.
        """
        raise NotImplementedError

    def confidence(self, target: Tensor) -> Tensor:
        """
        Confidence of the prediction: log-odds, if the task has probabilities.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B,)`.
        """
        raise NotImplementedError

    def choices(self, config: PreTrainedConfig) -> int:
        """
        Number of choices.

        Args:
            config ([`~transformers.PreTrainedConfig`]): Config of the base model, or of the explainer, which has the
                same labels.

        Returns:
            `int`: 0 if only the whole output can be explained.
        """
        return 0

    def choice_names(self, config: PreTrainedConfig) -> list[str]:
        """
        Names of the choices, by number.

        Args:
            config ([`~transformers.PreTrainedConfig`]): The base model's config.

        Returns:
            `list[str]`
        """
        return []

    def predicted(self, target: Tensor) -> Tensor:
        """
        The predicted choice.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B,)`, `int64`.
        """
        raise NotImplementedError

    def holding(self, target: Tensor) -> Tensor:
        """
        Which choices hold: by default only the predicted one.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B, K)`, `bool`.
        """
        logs = self.choice_log_probabilities(target)
        return torch.zeros_like(logs, dtype=torch.bool).scatter(-1, self.predicted(target)[:, None], True)

    def choice_log_probabilities(self, target: Tensor) -> Tensor:
        """
        Log-probability of each choice.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B, K)`: In nats, for `K` choices.

        Raises:
            DiffMaskError: If the task has no choices.
        """
        raise DiffMaskError(f"The task {self.name} has no choices: only the whole output can be explained.")

    def log_probability(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        Log-probability of the original prediction on the masked input.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input; its prediction is used.
            masked (`torch.Tensor` of the same shape): Output for the masked input.

        Returns:
            `torch.Tensor` of shape `(B,)`: In nats.
        """
        return self.choice_log_probabilities(masked).gather(-1, self.predicted(target)[:, None])[:, 0]

    def value(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """
        Log-odds of a choice on the masked input, `log(p / (1 - p))`. Evidence is additive in log-odds.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input; its prediction is used.
            masked (`torch.Tensor` of the same shape): Output for the masked input.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): By default the choice predicted by `target`.

        Returns:
            `torch.Tensor` of shape `(B,)`: In nats.
        """
        logs = self.choice_log_probabilities(masked)
        chosen = (self.predicted(target) if choice is None else choice)[:, None]
        others = logs.scatter(-1, chosen, float("-inf")).logsumexp(-1)
        return logs.gather(-1, chosen)[:, 0] - others

    def kept(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        The part of a masked output that ablations keep.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
            masked (`torch.Tensor` of the same shape): Output for the masked input.

        Returns:
            `torch.Tensor` of shape `(B, K)`: Log-probability of each choice. Without choices `K` is 1, and the number
            is [`Task.value`].
        """
        return self.choice_log_probabilities(masked) if self.has_choices else self.value(target, masked)[:, None]

    def log_odds(self, kept: Tensor) -> Tensor:
        """
        Log-odds of each choice, `log(p / (1 - p))`, within `value_bounds`.

        Args:
            kept (`torch.Tensor` of shape `(..., K)`): From [`Task.kept`].

        Returns:
            `torch.Tensor` of shape `(..., K)`: In nats. NaN stays NaN.
        """
        if self.has_choices:
            # For the most probable choice, from the others: 1 - p has no digits left where p is nearly 1.
            top = kept.argmax(-1, keepdim=True)
            others = kept.scatter(-1, top, float("-inf")).logsumexp(-1, keepdim=True)
            kept = kept - torch.log1p(-kept.exp()).scatter(-1, top, others)
        return kept.clamp(*self.value_bounds)

    def drop(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """
        Drop of a choice on the masked input.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
            masked (`torch.Tensor` of the same shape): Output for the masked input.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): By default the choice predicted by `target`.

        Returns:
            `torch.Tensor` of shape `(B,)`: Drop of the probability; below 0 for a rise.
        """
        chosen = (self.predicted(target) if choice is None else choice)[:, None]
        before, after = (
            self.choice_log_probabilities(output).gather(-1, chosen)[:, 0].exp() for output in (target, masked)
        )
        return before - after

    def signed(self, evidence: Tensor, choice: Tensor) -> Tensor:
        """
        Evidence with the sign shown to users.

        Args:
            evidence (`torch.Tensor` of shape `(B, T, S)`): Evidence for the explained choice.
            choice (`torch.Tensor` of shape `(B,)`): The explained choice.

        Returns:
            `torch.Tensor` of the shape of `evidence`: By default above 0 for evidence for the choice.
        """
        return evidence

    @property
    def knows_positions(self) -> bool:
        """Whether the positions that the model's head reads are known, see [`Task.positions`] (`bool`)."""
        return self.constants.get("reads") in READS

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """
        Weights of the positions that the model's head reads.

        Args:
            recorded ([`Recorded`]): The base model's output and states.
            asked (`torch.Tensor` of shape `(B,)`, *optional*): The explained choice.

        Returns:
            `torch.Tensor` of shape `(B, P, T)`: For each of the head's `P` reads, weights of positions, with sum 1.

        Raises:
            DiffMaskError: If the positions that the head reads are unknown.
        """
        raise NotImplementedError
