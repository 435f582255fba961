"""Base classes of recipes and objectives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainingArguments

from ...base.running import Batch, Recorded
from ...data.features import Features
from ...errors import DiffMaskError
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ..validation import StateRow

# Draws masks in a forward pass of the explainer, runs them, and adds the masked outputs to its result.
Draw = Callable[[DiffMaskModel, DiffMaskOutput, Recorded], None]


class TrainingData(NamedTuple):
    """The inputs of a run."""

    training: Features
    """Training inputs."""
    validation: Features | None
    """Validation inputs."""
    tokenizer: PreTrainedTokenizerBase
    """The base model's tokenizer."""
    args: Any
    """Settings, [`DiffMaskTrainingArguments`]."""
    autocast: Callable[[], AbstractContextManager]
    """Makes the autocast context for the base model."""
    processes: Any
    """The processes of the run, an [`~accelerate.Accelerator`]."""
    some: Callable[[int], Iterator[Batch]]
    """Makes batches of the first training inputs in the seed's order, at most a number of them."""


class Objective(nn.Module):
    """
    The loss of a run. Checkpoints save its parameters and buffers.

    For each batch, the trainer calls [`Objective.drawn`], runs the explainer with the result, and calls
    [`Objective.step_loss`]. It calls [`Objective.before_step`] before the optimiser's step and [`Objective.clamp`]
    after the step.
    """

    needs_labels: ClassVar[bool] = False
    """Whether a ranking is judged by labels, which only the run's own validation inputs have."""

    def begin(self, explainer: DiffMaskModel) -> None:
        """
        Prepares an explainer for training; it may have been trained before.

        Args:
            explainer ([`DiffMaskModel`]): Changed in place.
        """

    def learns_baseline(self, args: TrainingArguments) -> bool:
        """
        Whether the baseline is learned together with the probes.

        Args:
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            `bool`
        """
        return False

    def part(self, numbers: Tensor, use: str) -> Tensor:
        """
        The validation inputs for one use.

        Args:
            numbers (`torch.Tensor` of shape `(N,)`): Numbers of the inputs in the validation set.
            use (`str`): `"select"` (the best checkpoint), `"calibrate"` or `"report"`.

        Returns:
            `torch.Tensor` of shape `(N,)`, `bool`: By default all inputs for every use.
        """
        return torch.ones_like(numbers, dtype=torch.bool)

    def prepare(self, explainer: DiffMaskModel, data: "TrainingData") -> None:
        """
        Makes what training needs besides the inputs, such as labels. Runs before the first step of every run.

        Args:
            explainer ([`DiffMaskModel`]): With its baseline.
            data ([`TrainingData`]): The inputs.
        """

    def brings_baseline(self, explainer: DiffMaskModel, args: TrainingArguments) -> bool:
        """
        Sets the baseline, if the objective has one that was learned before.

        Args:
            explainer ([`DiffMaskModel`]): Its baseline is changed in place.
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            `bool`: Whether it has; otherwise training learns a baseline.
        """
        return False

    def drawn(self, seed: int, step: int, batch: Batch) -> Draw:
        """
        The masks of a step. They depend only on (seed, step, example), so the split of batches over processes does
        not change a run.

        Args:
            seed (`int`): Seed of the run.
            step (`int`): Training step.
            batch ([`Batch`]): With `example_ids`.

        Returns:
            `Callable`: See `Draw`.
        """
        raise NotImplementedError

    def step_loss(self, explainer: DiffMaskModel, output: DiffMaskOutput, drawn: Any) -> Tensor:
        """
        The loss of a batch.

        Args:
            explainer ([`DiffMaskModel`]): The explainer.
            output ([`DiffMaskOutput`]): Its output, with the masked outputs.
            drawn: Result of [`Objective.drawn`].

        Returns:
            `torch.Tensor`: Scalar, a mean over examples.
        """
        raise NotImplementedError

    def before_step(self, reduce: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """
        Updates the objective from all micro-batches of a step; the update is the same on every process.

        Args:
            reduce (`Callable`): Sums a tensor over processes.

        Returns:
            `list[torch.Tensor]`: Values that must be finite; otherwise training stops.
        """
        return []

    def clamp(self) -> None:
        """Clips parameters to their bounds after the optimiser's step."""

    def optimizer(self, groups: list[dict[str, Any]], args: TrainingArguments) -> torch.optim.Optimizer:
        """
        The optimiser for probes and baseline.

        Args:
            groups (`list[dict]`): Parameter groups with their learning rates.
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            `torch.optim.Optimizer`
        """
        raise NotImplementedError

    def ranked(self, explainer: DiffMaskModel, recorded: Recorded) -> Tensor | None:
        """
        Quality of the ranking of units in validation inputs.

        Args:
            explainer ([`DiffMaskModel`]): The explainer.
            recorded ([`Recorded`]): Validation inputs.

        Returns:
            `torch.Tensor` of shape `(B, ...)` or `None`: Lower is better; `None` if masks are evaluated instead.
        """
        return None

    def selection(self, ranked: Tensor | None, rows: Sequence[StateRow], config: DiffMaskConfig) -> float | None:
        """
        The figure that selects the best checkpoint.

        Args:
            ranked (`torch.Tensor` of shape `(N, ...)`, *optional*): Results of [`Objective.ranked`].
            rows (`Sequence[StateRow]`): The table of states.
            config ([`DiffMaskConfig`]): The explainer's config.

        Returns:
            `float` or `None`: Lower is better. `None` if it needs labels, and the inputs have none.
        """
        raise NotImplementedError

    def figures(self, ranked: Tensor | None, config: DiffMaskConfig) -> dict[str, float]:
        """
        Further figures of validation inputs.

        Args:
            ranked (`torch.Tensor` of shape `(N, ...)`, *optional*): Results of [`Objective.ranked`].
            config ([`DiffMaskConfig`]): The explainer's config.

        Returns:
            `dict[str, float]`: None by default.
        """
        return {}

    def finish(self, explainer: DiffMaskModel, batches: Callable[[], list[Batch]] | None, best: float | None) -> None:
        """
        Completes an explainer after training.

        Args:
            explainer ([`DiffMaskModel`]): Changed in place.
            batches (`Callable`, *optional*): Makes batches of validation inputs; `None` if there are none.
            best (`float`, *optional*): Result of [`Objective.selection`] for the best checkpoint.
        """


class Recipe:
    """A recipe. To add one, write a subclass in a new file and add it to the registry."""

    name: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    """Defaults of training arguments."""
    own_settings: ClassVar[tuple[str, ...]] = ()
    """Training arguments that only this recipe uses."""
    fields: ClassVar[dict[str, Any]]
    """Fields of [`DiffMaskConfig`] that the recipe sets."""
    validation_inputs: ClassVar[int] = 256
    """Largest number of validation inputs that are taken from the training inputs."""
    takes_ablations: ClassVar[bool] = False
    """Whether the recipe learns from ablations."""
    needs_gradients: ClassVar[bool] = True
    """Whether the base model must give gradients to state 0."""
    relied_on: ClassVar[tuple[str, ...]] = ("objective",)
    """Names in `fields` that cannot be changed."""

    def config(self, masking: str, has_choices: bool, target: str | None) -> dict[str, Any]:
        """
        Config fields for an explainer.

        Args:
            masking (`str`): Where units are masked.
            has_choices (`bool`): Whether the task has choices.
            target (`str`, *optional*): What to preserve, if the user gives it.

        Returns:
            `dict`: Fields of [`DiffMaskConfig`].

        Raises:
            DiffMaskError: If the recipe or the task does not have this target.
        """
        if target is not None:
            raise DiffMaskError(f"The recipe {self.name!r} has no target but the distribution: leave it out.")
        return {**self.fields, "masking": masking}

    def check(self, args: TrainingArguments, has_validation: bool) -> None:
        """
        Refuses settings that do not fit the recipe.

        Args:
            args ([`DiffMaskTrainingArguments`]): Settings.
            has_validation (`bool`): Whether there are validation inputs.

        Raises:
            DiffMaskError: If a setting does not fit.
        """

    def complete(self, args: TrainingArguments, inputs: int) -> None:
        """
        Fills in settings that depend on the data.

        Args:
            args ([`DiffMaskTrainingArguments`]): Changed in place.
            inputs (`int`): Number of training inputs.
        """

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> Objective:
        """
        The objective of a run.

        Args:
            config ([`DiffMaskConfig`]): The explainer's config.
            args ([`DiffMaskTrainingArguments`]): Settings.

        Returns:
            [`Objective`]
        """
        raise NotImplementedError
