"""The recipe `ablation`: evidence that adds up to what the base model says under random masks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments
from transformers.utils import logging

from ...ablations.description import read_description
from ...ablations.making import check_masks
from ...ablations.running import replacement_of
from ...ablations.store import VALIDATION_FOLDER, Ablations, read_baseline
from ...base.running import Batch, Recorded
from ...errors import DiffMaskError
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.evidence_probes import EvidenceProbes
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ...tasks.task import Task
from ..validation import StateRow
from .ablation_labels import VALIDATED, own_folder, training_ablations, validation_ablations
from .calibration import calibrate
from .recipe import Objective, Recipe, TrainingData

logger = logging.get_logger(__name__)

EPOCHS, LEAST_STEPS = 6, 300
SCALED = 256  # training inputs that the scale of the flow is measured on


class AblationRecipe(Recipe):
    """Runs random masks once, without gradient; then fits evidence to the log-odds of each choice."""

    name = "ablation"
    settings = {  # noqa: RUF012
        "max_steps": -1,
        "num_train_epochs": 0.0,  # see `complete`
        "per_device_train_batch_size": 64,
        "max_grad_norm": 1.0,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "level_learning_rate": 0.0,
        "baseline_steps": 60,
        "baseline_learning_rate": 3e-3,
        "multiplier_learning_rate": 0.0,
        "warmup_steps": 0.05,
        "lr_scheduler_type": "cosine",
    }
    fields = {  # noqa: RUF012
        "objective": "ablation",
        "mask_special_tokens": False,
        "read_context": False,
    }
    own_settings = ("masks",)
    takes_ablations = True
    needs_gradients = False
    validation_inputs = VALIDATED

    def config(self, masking: str, has_choices: bool, target: str | None) -> dict[str, Any]:
        """See [`Recipe.config`]: by default one choice is preserved if the task has choices."""
        if masking != "input":
            raise DiffMaskError("Ablations mask inputs: train an explainer with hidden masking by --recipe paper.")
        target = target or ("prediction" if has_choices else "distribution")
        if target == "prediction" and not has_choices:
            raise DiffMaskError("Only a classifier predicts a class: explain the distribution here.")
        return {**self.fields, "masking": masking, "target": target, "class_conditional": target == "prediction"}

    def check(self, args: Any, has_validation: bool) -> None:
        """See [`Recipe.check`]."""
        check_masks(args.masks)
        metric = str(args.metric_for_best_model)
        if args.load_best_model_at_end and not metric.endswith(("selection", "r2")):
            raise DiffMaskError(
                "In training the recipe 'ablation' has only the metrics `selection` and `r2`: leave "
                "--metric_for_best_model out, or add --load_best_model_at_end False."
            )
        if not has_validation:
            logger.warning("Without validation inputs there are no thresholds: masks will keep everything.")

    def complete(self, args: Any, inputs: int) -> None:
        """See [`Recipe.complete`]: without a number of steps or epochs, 6 epochs, and at least 300 steps."""
        if args.max_steps <= 0 and not args.num_train_epochs:
            batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            args.num_train_epochs = float(max(EPOCHS, math.ceil(LEAST_STEPS / max(1, inputs // batch))))

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> "AblationObjective":
        """See [`Recipe.objective`]."""
        return AblationObjective()


@dataclass
class Labels:
    """Masks of a batch, and what the base model says under them."""

    masks: Tensor
    """`(B, M, T)`, `bool`: `True` where a unit is kept."""
    outputs: Tensor
    """`(B, M, K)`: see [`Task.kept`]."""
    groups: Tensor
    """`(M,)`: number of each mask's replacement."""

    def __call__(self, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """Adds nothing: the masks have been run before."""


class AblationObjective(Objective):
    """
    Squared error of evidence that adds up (method: regression on masks, as in KernelSHAP and ContextCite).

    The evidence of the units that a mask keeps shall add up to the log-odds of each choice, up to a constant for each
    input and replacement. Each column of the explainer is fitted alone.
    """

    needs_labels = True

    def __init__(self):
        super().__init__()
        self.training_labels: Ablations | None = None
        self.validation_labels: Ablations | None = None

    def begin(self, explainer: DiffMaskModel) -> None:
        """See [`Objective.begin`]."""
        explainer.masks.forget_calibration()

    def part(self, numbers: Tensor, use: str) -> Tensor:
        """See [`Objective.part`]: a third of the validation inputs for each use."""
        picked = numbers % 3 == {"select": 0, "calibrate": 1, "report": 2}[use]
        return picked & (numbers < VALIDATED) if use == "select" else picked

    def prepare(self, explainer: DiffMaskModel, data: TrainingData) -> None:
        """See [`Objective.prepare`]: the ablations of training and validation inputs, and the scale of the flow."""
        args, own = data.args, own_folder(data.args)
        given = (args, data.processes, data.autocast)
        if args.ablations is None:
            self.training_labels = training_ablations(explainer, data.tokenizer, data.training, own, *given)
        else:
            if self.training_labels is None:  # a run that is resumed has its baseline from the checkpoint
                self.training_labels = Ablations(args.ablations)
            self.training_labels.check(explainer, data.tokenizer, data.training)
        explainer.config.replacements = list(self.training_labels.replacements)
        if data.validation is not None:
            there = args.ablations is not None and (Path(args.ablations) / VALIDATION_FOLDER).is_dir()
            folder = args.ablations if there else own
            self.validation_labels = validation_ablations(explainer, data.tokenizer, data.validation, folder, *given)
        if explainer.config.read_flow:
            assert isinstance(explainer.probes, EvidenceProbes)
            explainer.probes.head.measure_scale(explainer.record(batch) for batch in data.some(SCALED))

    def brings_baseline(self, explainer: DiffMaskModel, args: Any) -> bool:
        """See [`Objective.brings_baseline`]: that of ablations that are there already."""
        if args.ablations is not None:
            self.training_labels = Ablations(args.ablations)
            baseline = self.training_labels.baseline
        elif (found := read_description(own_folder(args))) is not None:
            baseline = read_baseline(own_folder(args), found)
        else:
            return False
        if baseline.shape == explainer.baseline.shape:  # otherwise `prepare` says all that differs
            with torch.no_grad():
                explainer.baseline.copy_(baseline)
        return True

    def drawn(self, seed: int, step: int, batch: Batch) -> Labels:
        """See [`Objective.drawn`]: all masks of the batch."""
        assert self.training_labels is not None
        return labels_of(self.training_labels, batch)

    def step_loss(self, explainer: DiffMaskModel, output: DiffMaskOutput, drawn: Labels) -> Tensor:
        """See [`Objective.step_loss`]."""
        assert output.evidence is not None
        error, _ = residuals(explainer.task, output.evidence, drawn)
        return error.sum(-1).mean()

    def ranked(self, explainer: DiffMaskModel, recorded: Recorded) -> Tensor | None:
        """See [`Objective.ranked`]: `(B, 2, C)`, squared error and variance for each column."""
        if self.validation_labels is None:  # before `prepare`
            return None
        numbers = recorded.batch.example_ids
        assert numbers is not None
        found = recorded.target.new_zeros(len(numbers), 2, len(explainer.config.columns))
        inside = numbers < len(self.validation_labels)
        if inside.any():
            picked = recorded.rows(inside)
            evidence, labels = explainer.probes(picked), labels_of(self.validation_labels, picked.batch)
            found[inside] = torch.stack(residuals(explainer.task, evidence, labels), dim=1)
        return found

    def selection(self, ranked: Tensor | None, rows: Sequence[StateRow], config: DiffMaskConfig) -> float | None:
        """See [`Objective.selection`]: the share of variance that the explanation head leaves unexplained."""
        if ranked is None:
            return None
        error, variance = ranked.double().sum(0)
        return (error[-1] / variance[-1].clamp(min=1e-12)).item()

    def figures(self, ranked: Tensor | None, config: DiffMaskConfig) -> dict[str, float]:
        """See [`Objective.figures`]: `r2`, the share of variance that is explained, and the same for each state."""
        if ranked is None:
            return {}
        error, variance = ranked.double().sum(0)
        shares = (1 - error / variance.clamp(min=1e-12)).tolist()
        return {"r2": shares[-1], **{f"{name}_r2": share for name, share in zip(config.columns, shares, strict=True)}}

    def finish(self, explainer: DiffMaskModel, batches: Callable[[], list[Batch]] | None, best: float | None) -> None:
        """See [`Objective.finish`]: calibrates the masks, if there are validation inputs."""
        if batches is not None:
            calibrate(explainer, batches())

    def optimizer(self, groups: list[dict[str, Any]], args: TrainingArguments) -> torch.optim.Optimizer:
        """See [`Objective.optimizer`]: AdamW."""
        return torch.optim.AdamW(
            groups, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon, weight_decay=args.weight_decay
        )


def labels_of(ablations: Ablations, batch: Batch) -> Labels:
    """
    The ablations of a batch.

    Args:
        ablations ([`Ablations`]): Ablations of the data set.
        batch ([`Batch`]): With `example_ids`.

    Returns:
        [`Labels`]: On the batch's device.
    """
    assert batch.example_ids is not None
    masks, outputs = ablations.batch(batch.example_ids, batch.maskable)
    numbers = torch.arange(masks.shape[1], device=masks.device)
    return Labels(masks, outputs, replacement_of(numbers, len(ablations.replacements)))


def residuals(task: Task, evidence: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    """
    What sums of evidence leave unexplained. Values and sums are centred over the masks of one input and replacement.

    Args:
        task ([`Task`]): Reads the outputs.
        evidence (`torch.Tensor` of shape `(B, T, C, K)`): Evidence, in log-odds.
        labels ([`Labels`]): Masks and outputs.

    Returns:
        `tuple`: Squared error and variance, `(B, C)` each, the mean over masks and choices. Masks whose output is not
        finite do not count.
    """
    values, masks = task.log_odds(labels.outputs), labels.masks.to(evidence.dtype)
    if task.exclusive and values.shape[-1] == 2:  # evidence for one choice is evidence against the other
        values, evidence = values[..., 1:], evidence[..., 1:]
    sums = torch.einsum("bmt,btck->bmck", masks, evidence)
    usable = labels.outputs.isfinite().all(-1)
    values = values.masked_fill(~usable[..., None], 0.0)[:, :, None]
    error, variance = torch.zeros_like(sums), torch.zeros_like(sums)
    for group in labels.groups.unique():
        share = (usable & (labels.groups == group)).to(sums.dtype)[..., None, None]
        count = share.sum(1, keepdim=True).clamp(min=1)
        centred = values - (share * values).sum(1, keepdim=True) / count
        off = centred - (sums - (share * sums).sum(1, keepdim=True) / count)
        error, variance = error + share * off.square(), variance + share * centred.square()
    count = usable.sum(-1).clamp(min=1)[:, None] * values.shape[-1]
    return error.sum((1, 3)) / count, variance.sum((1, 3)) / count
