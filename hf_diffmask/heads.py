"""What a task's prediction is: output distributions and the divergence between them."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, PreTrainedModel

from .errors import DiffMaskError

CLASSIFICATION, QUESTION_ANSWERING = "text-classification", "question-answering"
AUTO_CLASSES = {
    CLASSIFICATION: AutoModelForSequenceClassification,
    QUESTION_ANSWERING: AutoModelForQuestionAnswering,
}
# Log-probability of what cannot be: finite, so that its divergence is 0 and not undefined.
NEVER = -1e4


def task_of(model: PreTrainedModel) -> str:
    """
    What a base model's prediction is.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `str`: `"text-classification"` of whole inputs into one of several classes, or `"question-answering"`, a
        distribution over the units for each of start and end.

    Raises:
        DiffMaskError: If it is neither.
    """
    config = model.config
    if type(model).__name__.endswith(("ForQuestionAnswering", "ForQuestionAnsweringSimple")):
        return QUESTION_ANSWERING
    if not type(model).__name__.endswith("ForSequenceClassification"):
        raise DiffMaskError(
            f"{type(model).__name__} is no sequence classifier and answers no questions: load the base model with "
            "AutoModelForSequenceClassification or AutoModelForQuestionAnswering."
        )
    if config.num_labels < 2 or config.problem_type in ("regression", "multi_label_classification"):
        raise DiffMaskError(
            f"The base model has {config.num_labels} label(s) and problem type {config.problem_type!r}: only "
            "single-label classification with at least two labels is supported."
        )
    return CLASSIFICATION


def widen(values: Tensor) -> Tensor:
    """
    Casts half precision to `float32`, and leaves `float32` and `float64` as they are.

    Args:
        values (`torch.Tensor`): Any floating-point tensor.

    Returns:
        `torch.Tensor`: Same shape.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def log_probabilities(output: Any, attention_mask: Tensor | None = None) -> Tensor:
    """
    Log-probabilities of a base model's prediction.

    Args:
        output: Its output: with `logits` of shape `(B, C)`, or with `start_logits` and `end_logits`, `(B, T)` each.
        attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding, where no answer starts or ends.

    Returns:
        `torch.Tensor` of shape `(B, C)`, or `(B, 2, T)` for start and end, at least `float32`, in nats; -10,000 at
        padding.
    """
    if "start_logits" not in output:
        return F.log_softmax(widen(output.logits), dim=-1)
    logits = widen(torch.stack([output.start_logits, output.end_logits], dim=1))
    if attention_mask is None:
        return F.log_softmax(logits, dim=-1)
    padding = ~attention_mask.bool()[:, None]
    return F.log_softmax(logits.masked_fill(padding, NEVER), dim=-1).masked_fill(padding, NEVER)


def divergence(target: Tensor, masked: Tensor) -> Tensor:
    """
    `D( f(x) || f(x_hat) )`, the Kullback-Leibler divergence of one categorical output, or the sum of those of start
    and end (paper, equation 3).

    Args:
        target (`torch.Tensor` of shape `(B, C)` or `(B, 2, T)`): Log-probabilities on the whole input.
        masked (`torch.Tensor` of the same shape): Log-probabilities on the masked input.

    Returns:
        `torch.Tensor` of shape `(B,)`: Divergence in nats.
    """
    return F.kl_div(masked, target, reduction="none", log_target=True).flatten(1).sum(-1)


def agreement(target: Tensor, masked: Tensor) -> Tensor:
    """
    Whether the prediction is unchanged: the most probable class, or both the most probable start and end.

    Args:
        target (`torch.Tensor` of shape `(B, C)` or `(B, 2, T)`): Log-probabilities on the whole input.
        masked (`torch.Tensor` of the same shape): Log-probabilities on the masked input.

    Returns:
        `torch.Tensor` of shape `(B,)`, `bool`.
    """
    same = target.argmax(-1) == masked.argmax(-1)
    return same if same.dim() == 1 else same.all(-1)


def confidence(target: Tensor) -> Tensor:
    """
    Log-odds of the prediction; the mean of both for start and end.

    Args:
        target (`torch.Tensor` of shape `(B, C)` or `(B, 2, T)`): Log-probabilities, in nats.

    Returns:
        `torch.Tensor` of shape `(B,)`.
    """
    best, predicted = target.max(-1, keepdim=True)
    others = target.scatter(-1, predicted, float("-inf")).logsumexp(-1)
    odds = best[..., 0] - others
    return odds if odds.dim() == 1 else odds.mean(-1)
