"""Costs of masks. An explanation preserves the whole output or one choice."""

from typing import ClassVar

from torch import Tensor

from .task import Task


class Preserved:
    """A value of a config's `target`: the part of the output that an explanation preserves."""

    name: ClassVar[str]
    described: ClassVar[str]
    """The preserved part, in one word."""
    figure: ClassVar[str]
    """Name of a mask's cost in results and cards."""
    of_choice: ClassVar[bool]
    """Whether one choice is preserved, which the user can name."""

    def cost(self, task: Task, target: Tensor, masked: Tensor, choice: Tensor | None) -> Tensor:
        """
        Cost of each mask, as the margin measures it.

        Args:
            task ([`Task`]): Reads the outputs.
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
            masked (`torch.Tensor` of the same shape): Output for the masked input.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice to preserve; by default the predicted one.

        Returns:
            `torch.Tensor` of shape `(B,)`
        """
        raise NotImplementedError

    def words(self, task: Task) -> str:
        """
        The cost in words, after "The margin is".

        Args:
            task ([`Task`]): Names the unit.

        Returns:
            `str`
        """
        raise NotImplementedError

    def falls(self, task: Task) -> str:
        """
        The cost as a clause, before "by at most".

        Args:
            task ([`Task`]): Names the unit.

        Returns:
            `str`
        """
        raise NotImplementedError

    def axis(self, task: Task) -> str:
        """
        Axis label for costs.

        Args:
            task ([`Task`]): Names the unit.

        Returns:
            `str`
        """
        raise NotImplementedError


class PreservedOutput(Preserved):
    """The whole output. The cost is the divergence."""

    name, described, figure, of_choice = "distribution", "output", "divergence", False

    def cost(self, task: Task, target: Tensor, masked: Tensor, choice: Tensor | None) -> Tensor:
        """See [`Preserved.cost`]."""
        return task.divergence(target, masked)

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
    """One choice, by default the predicted one. The cost is its drop, below 0 for a rise; see [`Task.drop`]."""

    name, described, figure, of_choice = "prediction", "prediction", "drop", True

    def cost(self, task: Task, target: Tensor, masked: Tensor, choice: Tensor | None) -> Tensor:
        """See [`Preserved.cost`]."""
        return task.drop(target, masked, choice)

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
