"""What a task's prediction is: output distributions and the divergence between them."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from .errors import DiffMaskError

AUTO_CLASS = AutoModelForSequenceClassification


def check_head(model: PreTrainedModel) -> None:
    """
    Checks that a base model classifies whole inputs into one of several classes.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Raises:
        DiffMaskError: If its output is no single categorical distribution.
    """
    config = model.config
    if not type(model).__name__.endswith("ForSequenceClassification"):
        raise DiffMaskError(
            f"{type(model).__name__} is no sequence classifier: load the base model with "
            "AutoModelForSequenceClassification."
        )
    if config.num_labels < 2 or config.problem_type in ("regression", "multi_label_classification"):
        raise DiffMaskError(
            f"The base model has {config.num_labels} label(s) and problem type {config.problem_type!r}: only "
            "single-label classification with at least two labels is supported."
        )


def widen(values: Tensor) -> Tensor:
    """
    Casts half precision to `float32`, and leaves `float32` and `float64` as they are.

    Args:
        values (`torch.Tensor`): Any floating-point tensor.

    Returns:
        `torch.Tensor`: Same shape.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def log_probabilities(output: Any) -> Tensor:
    """
    Log-probabilities of a classifier's output.

    Args:
        output: A base model's output with `logits` of shape `(B, C)`.

    Returns:
        `torch.Tensor` of shape `(B, C)`, at least `float32`, in nats.
    """
    return F.log_softmax(widen(output.logits), dim=-1)


def divergence(target: Tensor, masked: Tensor) -> Tensor:
    """
    `D( f(x) || f(x_hat) )`, the Kullback-Leibler divergence of one categorical output (paper, equation 3).

    Args:
        target (`torch.Tensor` of shape `(B, C)`): Log-probabilities on the whole input.
        masked (`torch.Tensor` of shape `(B, C)`): Log-probabilities on the masked input.

    Returns:
        `torch.Tensor` of shape `(B,)`: Divergence in nats.
    """
    return F.kl_div(masked, target, reduction="none", log_target=True).sum(-1)
