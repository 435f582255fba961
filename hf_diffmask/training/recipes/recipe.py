"""What every recipe owes: settings, fields of the explainer, and the objective of a run."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from ...base.running import Batch, Recorded
from ...errors import DiffMaskError
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ..validation import StateRow

# Draws masks in a forward pass of the explainer, runs them, and adds their outputs to its result.
Draw = Callable[[DiffMaskModel, DiffMaskOutput, Recorded], None]


class Objective(nn.Module):
    """
    What a run minimises. Its parameters and buffers are saved in checkpoints.

    A step calls [`Objective.drawn`], runs the explainer with it, and calls [`Objective.step_loss`]. Before the
    optimiser's step it calls [`Objective.before_step`], and after it [`Objective.clamp`].
    """

    def begin(self, explainer: DiffMaskModel) -> None:
        """
        Prepares an explainer that may have been trained before.

        Args:
            explainer ([`DiffMaskModel`]): Changed in place.
        """

    def learns_baseline(self, args: TrainingArguments) -> bool:
        """
        Whether the baseline is learned along with the probes.

        Args:
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            `bool`
        """
        return False

    def drawn(self, seed: int, step: int, batch: Batch) -> Draw:
        """
        The masks of a step: a function of (seed, step, example), so that a run does not depend on how batches are
        split over processes.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            batch ([`Batch`]): With `example_ids`.

        Returns:
            `Callable`
        """
        raise NotImplementedError

    def step_loss(self, explainer: DiffMaskModel, output: DiffMaskOutput, drawn: Any) -> Tensor:
        """
        The loss of a batch.

        Args:
            explainer ([`DiffMaskModel`]): Reads outputs.
            output ([`DiffMaskOutput`]): With the outputs of masks.
            drawn: Result of [`Objective.drawn`].

        Returns:
            `torch.Tensor`: Scalar, a mean over examples.
        """
        raise NotImplementedError

    def before_step(self, reduce: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """
        Learns from all micro-batches of a step, alike on every process.

        Args:
            reduce (`Callable`): Sums a tensor over processes.

        Returns:
            `list[torch.Tensor]`: What has to be finite for the step to count.
        """
        return []

    def clamp(self) -> None:
        """Keeps parameters within their bounds, after the optimiser's step."""

    def optimizer(self, groups: list[dict[str, Any]], args: TrainingArguments) -> torch.optim.Optimizer:
        """
        The optimiser of probes and baseline.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            `torch.optim.Optimizer`
        """
        raise NotImplementedError

    def ranked(self, explainer: DiffMaskModel, recorded: Recorded) -> Tensor | None:
        """
        How well scores rank the units of validation inputs.

        Args:
            explainer ([`DiffMaskModel`]): The explainer.
            recorded ([`Recorded`]): Validation inputs.

        Returns:
            `torch.Tensor` of shape `(B,)` or `None`: Lower is better; `None` where masks are judged instead.
        """
        return None

    def selection(self, ranked: Tensor | None, rows: Sequence[StateRow], config: DiffMaskConfig) -> float:
        """
        What checkpoints are compared by.

        Args:
            ranked (`torch.Tensor` of shape `(N,)`, *optional*): Results of [`Objective.ranked`].
            rows (`Sequence[StateRow]`): The table of states.
            config ([`DiffMaskConfig`]): The explainer's.

        Returns:
            `float`: Lower is better.
        """
        raise NotImplementedError

    def finish(self, explainer: DiffMaskModel, batches: Callable[[], list[Batch]] | None, best: float | None) -> None:
        """
        Completes an explainer after training.

        Args:
            explainer ([`DiffMaskModel`]): Changed in place.
            batches (`Callable`, *optional*): Makes batches of validation inputs; `None` where there are none.
            best (`float`, *optional*): Result of [`Objective.selection`] for the best checkpoint.
        """


class Recipe:
    """One recipe. A new one is a file with a subclass, and a line in the registry."""

    name: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    """Training arguments that apply where the user has not set them."""
    fields: ClassVar[dict[str, Any]]
    """Fields of [`DiffMaskConfig`] that the recipe chooses."""
    relied_on: ClassVar[tuple[str, ...]] = ("objective", "path_gradient")
    """Those of them that cannot be changed."""

    def config(self, masking: str, has_choices: bool, target: str | None) -> dict[str, Any]:
        """
        Fields of an explainer.

        Args:
            masking (`str`): Where units are masked.
            has_choices (`bool`): Whether the task has choices.
            target (`str`, *optional*): What is to be preserved, if the user says so.

        Returns:
            `dict`: Fields of [`DiffMaskConfig`].

        Raises:
            DiffMaskError: If the recipe or the task does not have that target.
        """
        if target is not None:
            raise DiffMaskError(f"The recipe {self.name!r} has no target but the distribution: leave it out.")
        fields = {**self.fields, "masking": masking}
        # What a state shows of a unit is what that state holds of it: a probe that is told the prediction would say
        # what has turned out to be enough for it, whether or not the state holds it already.
        return {**fields, "class_conditional": False, "read_context": False} if masking == "hidden" else fields

    def check(self, args: TrainingArguments, has_validation: bool) -> None:
        """
        Refuses settings that the recipe cannot work with.

        Args:
            args ([`DiffMaskTrainingArguments`]): Settings.
            has_validation (`bool`): Whether there are validation inputs.

        Raises:
            DiffMaskError: If a setting does not fit.
        """

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> Objective:
        """
        The objective of a run.

        Args:
            config ([`DiffMaskConfig`]): The explainer's.
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            [`Objective`]
        """
        raise NotImplementedError
