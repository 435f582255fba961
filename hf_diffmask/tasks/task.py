"""What every task owes: how a base model's output is read and compared. One subclass a file."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedConfig

from ..base.running import Recorded
from ..errors import DiffMaskError
from .heads import has_head
from .inputs import TaskInputs
from .words import TaskWords


class Task(TaskInputs, TaskWords):
    """
    One kind of prediction. Stateless: its constants, if it has any, come from the explainer's config.

    *Output* means a tensor with one row an example, as [`Task.target`] makes it. A *choice* is one of several answers
    that can be explained by itself, such as a class.

    Args:
        constants (`Mapping[str, Any]`, *optional*): The config's `task_constants`.
    """

    name: ClassVar[str]
    """As in `config.task` and in the front matter of a card."""
    auto_class: ClassVar[Any]
    """The class of Transformers that loads base models."""
    described: ClassVar[str]
    """What the task covers, in a few words, for errors."""
    by_unit: ClassVar[bool] = False
    """Whether the last dimension of an output counts units, and so differs between batches."""
    padding: ClassVar[float] = 0.0
    """Value of an output at padding, where it counts units."""
    has_choices: ClassVar[bool] = True
    """Whether there are choices to explain."""

    def __init__(self, constants: Mapping[str, Any] | None = None):
        self.constants = constants or {}

    @classmethod
    def fits(cls, heads: Iterable[str], config: PreTrainedConfig) -> bool:
        """
        Whether a base model is of this task. Nothing is loaded.

        Args:
            heads (`Iterable[str]`): Names of the model's class and of the classes that it derives from.
            config ([`~transformers.PreTrainedConfig`]): The model's.

        Returns:
            `bool`
        """
        return has_head(heads, cls.auto_class)

    def measured_constants(self, outputs: Callable[[], Tensor]) -> dict[str, float]:
        """
        Measures the task's constants on training inputs.

        Args:
            outputs (`Callable`): Runs the base model on some training inputs: outputs `(N, ...)`.

        Returns:
            `dict[str, float]`: For `config.task_constants`; none by default.
        """
        return {}

    def target(self, output: Any, attention_mask: Tensor | None = None) -> Tensor:
        """
        Reads the output of the base model.

        Args:
            output: What its `forward` returned.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding.

        Returns:
            `torch.Tensor` of shape `(B, ...)`, at least `float32`: log-probabilities in nats, or what the task
            predicts instead.
        """
        raise NotImplementedError

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        How far the output moved (paper, equation 3).

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input.
            masked (`torch.Tensor` of the same shape): Output on the masked input.

        Returns:
            `torch.Tensor` of shape `(B,)`: 0 or more, in the unit that [`Task.measured_in`] names.
        """
        raise NotImplementedError

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        Whether the prediction is unchanged.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input.
            masked (`torch.Tensor` of the same shape): Output on the masked input.

        Returns:
            `torch.Tensor` of shape `(B,)`, `bool`.
        """
        raise NotImplementedError

    def confidence(self, target: Tensor) -> Tensor:
        """
        How sure the prediction is: log-odds, where there are probabilities.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B,)`.
        """
        raise NotImplementedError

    def choices(self, config: PreTrainedConfig) -> int:
        """
        How many choices there are.

        Args:
            config ([`~transformers.PreTrainedConfig`]): The base model's, or the explainer's, which has the same
                labels.

        Returns:
            `int`: 0 where only the whole output can be explained.
        """
        return 0

    def choice_names(self, config: PreTrainedConfig) -> list[str]:
        """
        Names of the choices, by number.

        Args:
            config ([`~transformers.PreTrainedConfig`]): The base model's.

        Returns:
            `list[str]`
        """
        return []

    def predicted(self, target: Tensor) -> Tensor:
        """
        The choice that is predicted.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B,)`, `int64`.
        """
        raise NotImplementedError

    def choice_log_probabilities(self, target: Tensor) -> Tensor:
        """
        How likely each choice is.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output.

        Returns:
            `torch.Tensor` of shape `(B, K)`: Log-probabilities in nats, for `K` choices.

        Raises:
            DiffMaskError: If the task has no choices.
        """
        raise DiffMaskError(f"The task {self.name} has no choices: only the whole output can be explained.")

    def log_probability(self, target: Tensor, masked: Tensor) -> Tensor:
        """
        Log-probability of what is predicted.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input, which says what is predicted.
            masked (`torch.Tensor` of the same shape): Output on the masked input.

        Returns:
            `torch.Tensor` of shape `(B,)`: In nats.
        """
        return self.choice_log_probabilities(masked).gather(-1, self.predicted(target)[:, None])[:, 0]

    def value(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """
        One number for a masked input: log-odds of a choice, `log p / (1 - p)`, which evidence adds up to.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input, which says what is predicted.
            masked (`torch.Tensor` of the same shape): Output on the masked input.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): By default the choice that `target` predicts.

        Returns:
            `torch.Tensor` of shape `(B,)`: In nats.
        """
        logs = self.choice_log_probabilities(masked)
        chosen = (self.predicted(target) if choice is None else choice)[:, None]
        others = logs.scatter(-1, chosen, float("-inf")).logsumexp(-1)
        return logs.gather(-1, chosen)[:, 0] - others

    def drop(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """
        How much less likely a choice is on the masked input.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input.
            masked (`torch.Tensor` of the same shape): Output on the masked input.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): By default the choice that `target` predicts.

        Returns:
            `torch.Tensor` of shape `(B,)`: Drop of the probability; below 0 where it rises.
        """
        chosen = (self.predicted(target) if choice is None else choice)[:, None]
        before, after = (
            self.choice_log_probabilities(output).gather(-1, chosen)[:, 0].exp() for output in (target, masked)
        )
        return before - after

    def signed(self, evidence: Tensor, choice: Tensor) -> Tensor:
        """
        Evidence with the sign that users see.

        Args:
            evidence (`torch.Tensor` of shape `(B, T, S)`): Evidence for the choice that is explained.
            choice (`torch.Tensor` of shape `(B,)`): That choice.

        Returns:
            `torch.Tensor` of the shape of `evidence`: Above 0 for the choice, by default.
        """
        return evidence

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """
        Positions that the model's head reads.

        Args:
            recorded ([`Recorded`]): A batch that was run.
            asked (`torch.Tensor` of shape `(B,)`, *optional*): The choice that is explained.

        Returns:
            `torch.Tensor` of shape `(B, P, T)`: For each of `P` places weights over the positions, which add up to 1.

        Raises:
            DiffMaskError: If it is not known which positions the head reads.
        """
        raise NotImplementedError
