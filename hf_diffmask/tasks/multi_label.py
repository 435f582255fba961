"""Classification of a text or a pair by labels of which any number may hold."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedConfig

from ..data.merging import length_weighted_mean
from .heads import has_head, widen
from .text_classification import TextClassification
from .words import Window


class MultiLabelClassification(TextClassification):
    """The output is the log-odds of each label, `(B, C)`, in nats. The choices are the labels.

    Each label is a yes or no of its own (a Bernoulli variable). The predicted choice is the most probable label.
    """

    name = "multi-label-classification"
    described = "sequence classifiers with problem type 'multi_label_classification'"
    pipeline_tag = TextClassification.name
    exclusive = False
    divergence_words = f"{TextClassification.divergence_words}, summed over labels"
    drop_words = "a drop of the label's probability"
    falls_words = "the label's probability falls"

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """See [`Task.fits`]: a sequence classifier with the problem type `"multi_label_classification"`."""
        return config.problem_type == "multi_label_classification" and has_head(class_names, cls.auto_class)

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        return widen(output.logits)

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.divergence`]: the sum of the labels' Kullback-Leibler divergences."""
        found = torch.zeros_like(target)
        for sign in (1, -1):  # the label holds, and it does not
            log = F.logsigmoid(sign * target)
            found = found + log.exp() * (log - F.logsigmoid(sign * masked))
        return found.sum(-1)

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.agreement`]: the same labels hold."""
        return (self.holding(target) == self.holding(masked)).all(-1)

    def holding(self, target: Tensor) -> Tensor:
        """See [`Task.holding`]: labels with a probability above 0.5."""
        return target > 0

    def choice_log_probabilities(self, target: Tensor) -> Tensor:
        """See [`Task.choice_log_probabilities`]: they do not add up to 1."""
        return F.logsigmoid(target)

    def value(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """See [`Task.value`]."""
        chosen = self.predicted(target) if choice is None else choice
        return masked.gather(-1, chosen[:, None])[:, 0]

    def log_odds(self, kept: Tensor) -> Tensor:
        """See [`Task.log_odds`]."""
        return (kept - torch.log(-torch.expm1(kept))).clamp(*self.value_bounds)

    def merged(self, windows: list[Window], key: str) -> Tensor:
        """See [`TextClassification.merged`]."""
        # Of each label, the chance that it holds and the chance that it does not: neither is lost in rounding.
        logs = [[{**window, key: F.logsigmoid(sign * window[key])} for window in windows] for sign in (1, -1)]
        holds, fails = (length_weighted_mean(one, key) for one in logs)
        return (holds - fails)[None]

    def prediction(self, target: Tensor, config: PreTrainedConfig) -> dict[str, Any]:
        """See [`TextClassification.prediction`]: also `labels`, those that hold, the most probable first."""
        names, chances = self.choice_names(config), self.choice_log_probabilities(target)[0].exp().tolist()
        order = target[0].argsort(descending=True).tolist()
        held = [{"label": names[k], "score": chances[k]} for k in order if self.holding(target)[0, k]]
        return {**super().prediction(target, config), "labels": held}

    def held_names(self, prediction: Mapping[str, Any]) -> list[str]:
        """See [`Task.held_names`]: labels with a probability above 0.5."""
        return [one["label"] for one in prediction["labels"]]

    def headline(self, result: Mapping[str, Any]) -> str:
        """See [`Task.headline`]: the labels that hold."""
        return ", ".join(self.held_names(result)) or f"no label (nearest: {result['label']})"
