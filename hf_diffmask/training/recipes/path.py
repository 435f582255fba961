"""The recipe `path`: a ranking of the units, for any margin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments
from transformers.utils import logging

from ...base.running import Batch, Recorded
from ...errors import DiffMaskError
from ...explainer.configuration_diffmask import DiffMaskConfig
from ...explainer.modeling_diffmask import DiffMaskModel
from ...explainer.outputs import DiffMaskOutput
from ...masks.noise import BUDGET_DRAW, STATE_DRAW, gate_noise, hashed_uniform
from ...masks.path_loss import HIGHEST_SHARE, LOWEST_SHARE, path_loss
from ...masks.paths import budgets, draw, scores_at, threshold
from ...masks.units import mean_over_units
from ..validation import StateRow, measure_ranking
from .calibration import calibrate
from .recipe import Objective, Recipe

logger = logging.get_logger(__name__)


class PathRecipe(Recipe):
    """Random budgets: kept units preserve the prediction, left-out units lose it."""

    name = "path"
    settings = {  # noqa: RUF012
        "weight_decay": 0.0,
        "max_steps": 400,
        "num_train_epochs": 3.0,  # without effect
        "per_device_train_batch_size": 64,
        "max_grad_norm": 1.0,
        "learning_rate": 1e-2,
        "level_learning_rate": 1e-2,
        "baseline_steps": 60,
        "baseline_learning_rate": 3e-3,
        "multiplier_learning_rate": 0.0,
        "warmup_steps": 30,
        "lr_scheduler_type": "linear",
    }
    fields = {  # noqa: RUF012
        "objective": "path",
        "mask_special_tokens": False,
        "normalize_states": True,
        "class_conditional": True,
        "read_context": True,
        "share_mean": True,
        "path_gradient": False,
        "initial_logit": 0.0,
    }

    def config(self, masking: str, has_choices: bool, target: str | None) -> dict[str, Any]:
        """See [`Recipe.config`]: by default one choice is preserved if the task has choices."""
        target = target or ("prediction" if has_choices else "distribution")
        if target == "prediction" and not has_choices:
            raise DiffMaskError("Only a classifier predicts a class: explain the distribution here.")
        fields = {**self.fields, "masking": masking, "target": target, "class_conditional": target == "prediction"}
        return {**fields, "read_context": False} if masking == "hidden" else fields

    def check(self, args: TrainingArguments, has_validation: bool) -> None:
        """See [`Recipe.check`]."""
        if args.load_best_model_at_end and args.metric_for_best_model != "selection":
            raise DiffMaskError(
                "In training a path has only the metric `selection`: leave --metric_for_best_model out, or add "
                "--load_best_model_at_end False."
            )
        if not has_validation:
            logger.warning("Without validation inputs a path has no thresholds: its masks will keep everything.")

    def objective(self, config: DiffMaskConfig, args: TrainingArguments) -> "PathObjective":
        """See [`Recipe.objective`]."""
        return PathObjective(config.num_states, config.masks_inputs)


@dataclass
class DrawnPaths:
    """The masks of one step."""

    states: Tensor
    """`(B,)`: state at which each example is masked."""
    shares: Tensor
    """`(B,)`: budget, as a share of the units that can be masked."""
    noise: Tensor
    """`(B, T, 3)`: uniform noise in (0, 1)."""

    def __call__(self, explainer: DiffMaskModel, output: DiffMaskOutput, recorded: Recorded) -> None:
        """Draws masks around the threshold of each budget; runs the masks and their complements."""
        scores, maskable = scores_at(output["logits"], self.states), recorded.batch.maskable
        cut = threshold(scores.detach(), budgets(self.shares, maskable), maskable)
        mask = draw((scores - cut[:, None]) / explainer.config.temperature, self.noise, maskable)
        output.masked, output.left_out = (explainer.masked(recorded, part, self.states) for part in (mask, 1 - mask))


class PathObjective(Objective):
    """
    Trains a ranking of the units: at every budget, kept units preserve the prediction, and left-out units lose it.

    Each example draws a budget. Training has no constraint and no multiplier. Afterwards, calibration measures which
    threshold meets a margin ([`~hf_diffmask.training.recipes.calibration.calibrate`]).

    With input masking, all states mask the same units, and one ranking is best. The last state's scores are trained on
    masks. The scores of lower states learn to match them. With hidden masking, each example draws the state at
    which it is masked.

    Args:
        num_states (`int`): `S`.
        masks_inputs (`bool`, *optional*, defaults to `True`): Whether units are masked at state 0.
    """

    # Weight of squared scores. Lower states have only this loss, so only its ratio to `max_grad_norm` matters.
    PENALTY = 1e-3

    def __init__(self, num_states: int, masks_inputs: bool = True):
        super().__init__()
        self.num_states, self.masks_inputs = num_states, masks_inputs

    def begin(self, explainer: DiffMaskModel) -> None:
        """See [`Objective.begin`]."""
        explainer.masks.forget_calibration()

    def drawn(self, seed: int, step: int, batch: Batch) -> DrawnPaths:
        """See [`Objective.drawn`]."""
        ids = batch.example_ids
        assert ids is not None
        if self.masks_inputs:
            states = torch.full_like(ids, self.num_states - 1)
        else:
            states = (hashed_uniform(seed, step, ids, STATE_DRAW) * self.num_states).long()
        shares = LOWEST_SHARE + (HIGHEST_SHARE - LOWEST_SHARE) * hashed_uniform(seed, step, ids, BUDGET_DRAW)
        return DrawnPaths(states, shares, gate_noise(seed, step, ids, batch.units.long(), 3))

    def step_loss(self, explainer: DiffMaskModel, output: DiffMaskOutput, drawn: DrawnPaths) -> Tensor:
        """
        See [`Objective.step_loss`]: the path loss, plus small penalties. These are squared scores and, with input
        masking, squared distances of lower states' scores from the last state's.
        """
        logits, outputs = output["logits"], (output["target"], output["masked"], output["left_out"])
        terms = path_loss(explainer.task, explainer.preserved, *outputs)
        scores = scores_at(logits, drawn.states)
        squares = scores.square()
        if self.masks_inputs:
            squares = squares + (logits[..., :-1] - scores.detach()[..., None]).square().sum(-1)
        return (terms + self.PENALTY * mean_over_units(squares, output["maskable"])).mean()

    def ranked(self, explainer: DiffMaskModel, recorded: Recorded) -> Tensor | None:
        """See [`Objective.ranked`]."""
        return measure_ranking(explainer, recorded)

    def selection(self, ranked: Tensor | None, rows: Sequence[StateRow], config: DiffMaskConfig) -> float:
        """See [`Objective.selection`]: the ranking, since a path has no masks before calibration."""
        assert ranked is not None
        return ranked.mean().item()

    def finish(self, explainer: DiffMaskModel, batches: Callable[[], list[Batch]] | None, best: float | None) -> None:
        """See [`Objective.finish`]: scales and calibrates the path, if there are validation inputs."""
        if batches is not None:
            scale(explainer, given := batches())
            calibrate(explainer, given)

    def optimizer(self, groups: list[dict[str, Any]], args: TrainingArguments) -> torch.optim.Optimizer:
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


@torch.no_grad()
def scale(explainer: DiffMaskModel, batches: Sequence[Batch]) -> None:
    """
    Divides a path's scores by their standard deviation, for every state.

    Training does not fix the scale of the scores, and a larger scale pushes keep probabilities towards 0 and 1. This
    changes no state's ranking. With hidden masking, it gives all states the same weight in their mean.

    Args:
        explainer ([`DiffMaskModel`]): Its weights are changed in place.
        batches (`Sequence[Batch]`): Inputs that were not used for training.
    """
    scores = []
    for batch in batches:
        logits, _ = explainer.probes.score(explainer.record(batch))
        scores.append(logits[batch.maskable])
    units = torch.cat(scores).double().cpu()
    if not len(units):
        return
    deviation = units.std(0, correction=0)
    deviation = torch.where(deviation > 1e-6, deviation, 1.0)
    explainer.probes.out_weight.div_(deviation[:, None].to(explainer.probes.out_weight))
