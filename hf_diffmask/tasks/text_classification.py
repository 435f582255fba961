"""Classification of a text or a pair into one of several classes."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from ..base.head import head_weights
from ..base.running import Recorded
from ..data.encoding import EncodedText
from ..data.merging import length_weighted_mean
from .heads import widen
from .task import Task
from .words import Check, Cost, Window


class TextClassification(Task):
    """The output is the log-probability of each class, `(B, C)`, in nats. The choices are the classes."""

    name = "text-classification"
    auto_class = AutoModelForSequenceClassification
    described = "sequence classifiers with one label of at least two"

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """See [`Task.fits`]: a sequence classifier with one label of at least two."""
        one_label = config.num_labels > 1 and config.problem_type in (None, "single_label_classification")
        return one_label and super().fits(class_names, config)

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        return F.log_softmax(widen(output.logits), dim=-1)

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.divergence`]: `D( f(x) || f(x_hat) )`, the Kullback-Leibler divergence."""
        return F.kl_div(masked, target, reduction="none", log_target=True).flatten(1).sum(-1)

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.agreement`]: the most probable class is unchanged."""
        return target.argmax(-1) == masked.argmax(-1)

    def confidence(self, target: Tensor) -> Tensor:
        """See [`Task.confidence`]: log-odds of the predicted class."""
        return self.value(target, target)

    def choices(self, config: PreTrainedConfig) -> int:
        """See [`Task.choices`]."""
        return config.num_labels

    def choice_names(self, config: PreTrainedConfig) -> list[str]:
        """See [`Task.choice_names`]."""
        return [config.id2label[number] for number in range(config.num_labels)]

    def predicted(self, target: Tensor) -> Tensor:
        """See [`Task.predicted`]."""
        return target.argmax(-1)

    def choice_log_probabilities(self, target: Tensor) -> Tensor:
        """See [`Task.choice_log_probabilities`]."""
        return target

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
        """See [`Task.readable`]: the prediction from mean probabilities over windows."""
        target = self.merged(windows, "target")
        prediction = self.prediction(target, config)
        if "masked" not in windows[0]:
            return prediction, None
        masked = self.merged(windows, "masked")
        chosen = self.predicted(target) if choice is None else torch.tensor([choice])
        # Rounding can make a divergence of 0 slightly negative. In this order, `max` returns a NaN.
        divergence = max(self.divergence(target, masked).item(), 0.0)
        same = bool(self.agreement(target, masked))
        return prediction, Check(divergence, same, cost(target, masked, chosen).item())

    def merged(self, windows: list[Window], key: str) -> Tensor:
        """
        The output for an input of several windows, from their mean probabilities, weighted by length.

        Args:
            windows (`list[dict]`): As for [`Task.readable`].
            key (`str`): Key of the outputs in a window: `"target"` or `"masked"`.

        Returns:
            `torch.Tensor` of shape `(1, C)`: In nats.
        """
        return length_weighted_mean(windows, key)[None]

    def prediction(self, target: Tensor, config: PreTrainedConfig) -> dict[str, Any]:
        """
        Fields of the pipeline's result that hold the prediction.

        Args:
            target (`torch.Tensor` of shape `(1, C)`): Output for the whole input.
            config ([`~transformers.PreTrainedConfig`]): The base model's config.

        Returns:
            `dict`: `label`, the name of the most probable class, and its probability `score`.
        """
        best = int(self.predicted(target))
        chance = self.choice_log_probabilities(target)[0, best].exp().item()
        return {"label": self.choice_names(config)[best], "score": chance}

    def distribution(self, windows: list[Window], config: PreTrainedConfig) -> dict[str, float]:
        """See [`Task.distribution`]."""
        chances = self.choice_log_probabilities(self.merged(windows, "target"))[0].exp().tolist()
        return dict(zip(self.choice_names(config), chances, strict=True))
