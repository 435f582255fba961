"""All methods that `hf-diffmask evaluate` compares, by name. Each method takes one line in `METHODS`."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DiffMaskError, unrefined
from ..explainer.modeling_diffmask import DiffMaskModel
from .attention import attention
from .gradients import gradient_norm, input_x_gradient, integrated_gradients, sequential_integrated_gradients
from .kernel_shap import kernel_shap
from .leave_one_out import leave_one_out
from .per_example import per_example, refine

Features = dict[str, Tensor]


class Explainers(NamedTuple):
    """Explainers and seed for all methods."""

    trained: DiffMaskModel
    """The explainer to evaluate."""
    plain: DiffMaskModel
    """Untrained explainer for the same base model. Its baseline is the mask token, as usual for other methods."""
    hidden: DiffMaskModel | None
    """Explainer for the same base model, trained with hidden masking."""
    seed: int


def amortised(explainers: Explainers, features: Features) -> Tensor:
    """
    The explainer's scores, see [`DiffMaskModel.attribution`].

    Args:
        explainers ([`Explainers`]): Uses `trained`.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.

    Returns:
        `torch.Tensor` of shape `(B, T)`
    """
    with torch.no_grad():
        return explainers.trained.attribution(explainers.trained(**features))


def amortised_hidden(explainers: Explainers, features: Features) -> Tensor:
    """
    Scores of the explainer with hidden masking.

    Args:
        explainers ([`Explainers`]): Uses `hidden`.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.

    Returns:
        `torch.Tensor` of shape `(B, T)`

    Raises:
        DiffMaskError: If there is no such explainer.
    """
    if explainers.hidden is None:
        raise DiffMaskError("diffmask_hidden needs a second explainer: name one, trained with hidden masking.")
    with torch.no_grad():
        return explainers.hidden.attribution(explainers.hidden(**features))


def refined(explainers: Explainers, features: Features) -> Tensor:
    """
    Scores of votes after the mask of the last state is refined, for every input, as with `on_violation="refine"`.

    Args:
        explainers ([`Explainers`]): Uses `trained`.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.

    Returns:
        `torch.Tensor` of shape `(B, T)`

    Raises:
        DiffMaskError: If the explainer's scores are evidence.
    """
    explainer = explainers.trained
    check_refinable(explainer)
    with torch.no_grad():
        recorded = explainer.record(explainer.batch(**features))
        output = explainer.explain(recorded)
    keep = output["keep_probability"]
    keep[..., -1] = refine(explainer, recorded, keep[..., -1])
    return explainer.masks.attribution(output["logits"], keep)


def check_refinable(explainer: DiffMaskModel) -> None:
    """
    Refuses an explainer with evidence: the recipe `path` had the loss that refined evidence.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.

    Raises:
        DiffMaskError: If its scores are evidence.
    """
    if explainer.masks.has_evidence:
        raise unrefined("The method diffmask_refined")


def random(explainers: Explainers, features: Features) -> Tensor:
    """
    Random scores that depend only on the seed and the input.

    Args:
        explainers ([`Explainers`]): Uses `seed`.
        features (`dict[str, torch.Tensor]`): Uses `input_ids` and `attention_mask`.

    Returns:
        `torch.Tensor` of shape `(B, T)`
    """
    rows = []
    for ids, there in zip(features["input_ids"].cpu(), features["attention_mask"].bool().cpu(), strict=True):
        generator = torch.Generator().manual_seed(hash((explainers.seed, *ids[there].tolist())) % 2**63)
        row = torch.zeros(len(ids))
        row[there] = torch.rand(int(there.sum()), generator=generator)
        rows.append(row)
    return torch.stack(rows)


METHODS: dict[str, Callable[[Explainers, Features], Tensor]] = {
    "diffmask": amortised,
    "diffmask_hidden": amortised_hidden,
    "diffmask_refined": refined,
    "diffmask_per_example": lambda explainers, features: per_example(
        explainers.trained, features, seed=explainers.seed
    ),
    "ig": lambda explainers, features: integrated_gradients(explainers.plain, features, steps=32, signed=True),
    "ig_50": lambda explainers, features: integrated_gradients(explainers.plain, features, steps=50, signed=True),
    "sequential_ig": lambda explainers, features: sequential_integrated_gradients(
        explainers.plain, features, signed=True
    ),
    "loo": lambda explainers, features: leave_one_out(explainers.plain, features, log_odds=True),
    "gradient_norm": lambda explainers, features: gradient_norm(explainers.plain, features),
    "input_x_gradient": lambda explainers, features: input_x_gradient(explainers.plain, features, signed=True),
    "attention": lambda explainers, features: attention(explainers.plain, features),
    "kernel_shap": lambda explainers, features: kernel_shap(
        explainers.plain, features, samples=500, seed=explainers.seed, signed=True, log_odds=True
    ),
    "random": random,
}
# Methods with more than a hundred passes per input.
COSTLY = ("kernel_shap", "sequential_ig", "diffmask_per_example", "diffmask_refined")
# Methods with scores in log-odds. KernelSHAP ranks better with them than with log-probabilities.
LOG_ODDS = ("loo", "kernel_shap")


def explains_log_odds(explainers: Explainers, method: str) -> bool:
    """
    Whether a method's scores are parts of the predicted class's log-odds.

    Args:
        explainers ([`Explainers`]): Uses `trained`.
        method (`str`): One of `METHODS`.

    Returns:
        `bool`
    """
    trained = explainers.trained
    return method in LOG_ODDS or (method == "diffmask" and trained.masks.adds_up and trained.preserved.of_choice)
