"""What an explanation preserves: the whole output, or one choice."""

from typing import ClassVar

from torch import Tensor

from .task import Task


class Preserved:
    """One value of a config's `target`."""

    name: ClassVar[str]
    described: ClassVar[str]
    """What is preserved, in one word."""
    figure: ClassVar[str]
    """What a mask costs is called so in results and cards."""
    of_choice: ClassVar[bool]
    """Whether it is one choice, which can be asked for."""

    def cost(self, task: Task, target: Tensor, masked: Tensor, choice: Tensor | None) -> Tensor:
        """
        What a mask costs, in the terms of the margin.

        Args:
            task ([`Task`]): Reads the outputs.
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input.
            masked (`torch.Tensor` of the same shape): Output on the masked input.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): By default the predicted one.

        Returns:
            `torch.Tensor` of shape `(B,)`
        """
        raise NotImplementedError

    def loss_of_complement(self, cost: Tensor) -> Tensor:
        """
        How much a complement loses, as a bounded number.

        Args:
            cost (`torch.Tensor`): What keeping the complement alone costs.

        Returns:
            `torch.Tensor` of the same shape.
        """
        raise NotImplementedError

    def words(self, task: Task) -> str:
        """
        What the margin bounds, in words that follow "The margin is".

        Args:
            task ([`Task`]): Names the unit.

        Returns:
            `str`
        """
        raise NotImplementedError

    def falls(self, task: Task) -> str:
        """
        The same as a clause, which "by at most" follows.

        Args:
            task ([`Task`]): Names the unit.

        Returns:
            `str`
        """
        raise NotImplementedError

    def axis(self, task: Task) -> str:
        """
        Label of an axis of costs.

        Args:
            task ([`Task`]): Names the unit.

        Returns:
            `str`
        """
        raise NotImplementedError


class PreservedOutput(Preserved):
    """The whole output: the cost is its divergence."""

    name, described, figure, of_choice = "distribution", "output", "divergence", False

    def cost(self, task: Task, target: Tensor, masked: Tensor, choice: Tensor | None) -> Tensor:
        """See [`Preserved.cost`]."""
        return task.divergence(target, masked)

    def loss_of_complement(self, cost: Tensor) -> Tensor:
        """See [`Preserved.loss_of_complement`]: a divergence has no upper bound."""
        return -(-cost).exp()

    def words(self, task: Task) -> str:
        """See [`Preserved.words`]."""
        return "a divergence"

    def falls(self, task: Task) -> str:
        """See [`Preserved.falls`]."""
        return f"the output diverges (in {task.measured_in})"

    def axis(self, task: Task) -> str:
        """See [`Preserved.axis`]."""
        return f"divergence ({task.measured_in})"


class PreservedChoice(Preserved):
    """One choice, by default the predicted one: the cost is the drop of its probability, below 0 where it rises."""

    name, described, figure, of_choice = "prediction", "prediction", "drop", True

    def cost(self, task: Task, target: Tensor, masked: Tensor, choice: Tensor | None) -> Tensor:
        """See [`Preserved.cost`]."""
        return task.drop(target, masked, choice)

    def loss_of_complement(self, cost: Tensor) -> Tensor:
        """See [`Preserved.loss_of_complement`]."""
        return cost

    def words(self, task: Task) -> str:
        """See [`Preserved.words`]."""
        return task.drop_words

    def falls(self, task: Task) -> str:
        """See [`Preserved.falls`]."""
        return task.falls_words

    def axis(self, task: Task) -> str:
        """See [`Preserved.axis`]."""
        return task.drop_words.removeprefix("a ").rstrip(",")


PRESERVED: dict[str, Preserved] = {one.name: one for one in (PreservedChoice(), PreservedOutput())}
