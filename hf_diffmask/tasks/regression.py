"""Regression: one number for a text or a pair, such as the score of a reranker."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from ..base.head import head_weights
from ..base.running import Recorded
from ..data.encoding import EncodedText
from ..data.merging import length_weighted
from .heads import widen
from .task import Task
from .text_classification import TextClassification
from .words import Check, Cost, Window, printed

DOWN, UP = 0, 1
TOLERANCE = 0.5
"""Largest change of the number with an unchanged prediction, in standard deviations of the output."""


class Regression(Task):
    """The output is the number, `(B, 1)`. The choices are the two directions from the mean output: down and up.

    The constants are `mean` and `variance` of the output over training inputs, 0 and 1 before they are measured. The
    *standard score* `z` is the number minus the mean, divided by the standard deviation. It replaces log-odds: *up*
    has the probability `sigmoid(z)`, *down* `sigmoid(-z)`.
    """

    name = "regression"
    auto_class = AutoModelForSequenceClassification
    described = "sequence classifiers with one label, which predict a number"
    measured_in = "variances of the output"
    divergence_words = "squared change of the number over the variance of the output"
    drop_words = "a change of the number against its direction, squared, in variances of the output,"
    falls_words = "the number moves against its direction, squared, in variances of the output,"
    pipeline_tag = TextClassification.name

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """See [`Task.fits`]: a sequence classifier with one label."""
        return (
            config.num_labels == 1
            and config.problem_type in (None, "regression")
            and super().fits(class_names, config)
        )

    def measured_constants(self, outputs: Callable[[], Tensor]) -> dict[str, float]:
        """See [`Task.measured_constants`]: `mean` and `variance`."""
        numbers = outputs().double()
        variance = numbers.var(correction=0).item()
        return {"mean": numbers.mean().item(), "variance": variance if variance > 0 else 1.0}

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        return widen(output.logits)

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.divergence`]: squared change divided by the variance of the output."""
        return (target - masked)[:, 0].square() / self._variance

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.agreement`]: the number changes by at most half a standard deviation."""
        return self.divergence(target, masked) <= TOLERANCE**2

    def confidence(self, target: Tensor) -> Tensor:
        """See [`Task.confidence`]: distance of the number from the mean, in standard deviations."""
        return self._standard_score(target).abs()

    def choices(self, config: PreTrainedConfig) -> int:
        """See [`Task.choices`]."""
        return 2

    def choice_names(self, config: PreTrainedConfig) -> list[str]:
        """See [`Task.choice_names`]."""
        return ["down", "up"]

    def predicted(self, target: Tensor) -> Tensor:
        """See [`Task.predicted`]: up for a number above the mean."""
        return (self._standard_score(target) > 0).long()

    def choice_log_probabilities(self, target: Tensor) -> Tensor:
        """See [`Task.choice_log_probabilities`]."""
        score = self._standard_score(target)
        return F.logsigmoid(torch.stack([-score, score], dim=-1))

    def drop(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """See [`Task.drop`]: the divergence, below 0 if the number moves further in the chosen direction."""
        chosen = self.predicted(target) if choice is None else choice
        against = (target - masked)[:, 0] * torch.where(chosen == UP, 1.0, -1.0)
        return against * against.abs() / self._variance

    def signed(self, evidence: Tensor, choice: Tensor) -> Tensor:
        """See [`Task.signed`]: above 0 if the token moves the number up, below 0 if down."""
        return evidence * torch.where(choice == UP, 1.0, -1.0)[:, None, None]

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """See [`Task.positions`]: `P` is 1; `task_constants["reads"]` names the positions."""
        return head_weights(self.constants.get("reads"), recorded.batch.units)[:, None]

    def readable(
        self,
        windows: list[Window],
        encoded: EncodedText,
        config: PreTrainedConfig,
        cost: Cost,
        choice: int | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], Check | None]:
        """See [`Task.readable`]: `label`, `score` (the number) and `direction`, from the mean over windows."""
        target = length_weighted(windows, "target")
        direction = int(self.predicted(target)) if choice is None else choice
        prediction = {
            "label": config.id2label[0],
            "score": target.item(),
            "direction": self.choice_names(config)[int(self.predicted(target))],
        }
        if "masked" not in windows[0]:
            return prediction, None
        masked = length_weighted(windows, "masked")
        found = cost(target, masked, torch.tensor([direction])).item()
        same = bool(self.agreement(target, masked))
        return prediction, Check(self.divergence(target, masked).item(), same, found)

    def held_names(self, prediction: Mapping[str, Any]) -> list[str]:
        """See [`Task.held_names`]: the direction."""
        return [prediction["direction"]]

    def headline(self, result: Mapping[str, Any]) -> str:
        """See [`Task.headline`]."""
        return f"{result['label']} ({result['direction']})"

    def moved(self, result: Mapping[str, Any]) -> str:
        """See [`Task.moved`]: the change, and its square, which the margin bounds."""
        cost = result.get("drop", result["divergence"])
        further = " further in its direction" if cost < 0 else ""
        squared = printed(cost, result.get("margin")).removeprefix("-")
        return f"the number by {abs(cost) ** 0.5:.3f} standard deviations{further} (squared: {squared})"

    @property
    def _variance(self) -> float:
        return float(self.constants.get("variance", 1.0))

    def _standard_score(self, target: Tensor) -> Tensor:
        return (target[:, 0] - float(self.constants.get("mean", 0.0))) / self._variance**0.5
