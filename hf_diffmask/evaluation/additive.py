"""LDS and R2 of a method over many inputs and replacements, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import DiffMaskError
from .ablated import scoring_masks
from .comparison import RESAMPLES, interval
from .datamodel import explained_variance, lds, squared_errors

Found = TypeVar("Found")


def additive_figures(
    inputs: Sequence[dict[str, list[int]]],
    scores: Sequence[Sequence[float]],
    log_odds: dict[str, np.ndarray],
    groups: Mapping[str, Sequence[str]],
    in_log_odds: bool,
    seed: int = 0,
) -> dict[str, Any]:
    """
    How well a method's scores predict the model under random masks.

    Args:
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        scores (`Sequence[Sequence[float]]`): For each input, a score per token.
        log_odds (`dict[str, numpy.ndarray]`): Result of [`~hf_diffmask.evaluation.ablated.masked_log_odds`].
        groups (`Mapping[str, Sequence[str]]`): Replacements whose mean is shown, by the name of the group.
        in_log_odds (`bool`): Whether scores are log-odds, so that their sums can be compared with the values.
        seed (`int`, *optional*, defaults to 0): Seed of the masks and of the bootstrap.

    Returns:
        `dict`: `lds`, the mean over inputs, and `r2`, the share of variance over all inputs, or `None` for scores in
        another unit. Both have `by_replacement`, and each group that is not empty: `mean`, `low` and `high`, the
        number of `inputs`, and of inputs `left_out` (see [`lds`]).
    """
    ranked: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    for name, values in log_odds.items():
        found_lds = of_each_input(lds, inputs, scores, values, seed)
        ranked[name] = np.array([np.nan if one is None else one for one in found_lds])
        if in_log_odds:
            found_errors = of_each_input(squared_errors, inputs, scores, values, seed)
            errors[name] = np.array([one or (np.nan, np.nan) for one in found_errors])
    found: dict[str, Any] = {"lds": _figures(ranked, groups, _mean, seed), "r2": None}
    if in_log_odds:
        found["r2"] = _figures(errors, groups, _pooled, seed)
    return found


def of_each_input(
    measure: Callable[[Sequence[float], np.ndarray, np.ndarray], Found | None],
    inputs: Sequence[dict[str, list[int]]],
    scores: Sequence[Sequence[float]],
    log_odds: np.ndarray,
    seed: int = 0,
) -> list[Found | None]:
    """
    A measure of each input under its random masks.

    Args:
        measure (`Callable`): [`lds`] or [`squared_errors`].
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        scores (`Sequence[Sequence[float]]`): For each input, a score per token.
        log_odds (`numpy.ndarray` of shape `(N, M)`): From [`~hf_diffmask.evaluation.ablated.masked_log_odds`].
        seed (`int`, *optional*, defaults to 0): Seed of the masks.

    Returns:
        `list`: One result for each input; `None` for inputs that are left out.

    Raises:
        DiffMaskError: If scores do not match their input, or are not finite. The message names the input.
    """
    found = []
    for number, (one, of_input, values) in enumerate(zip(inputs, scores, log_odds, strict=True)):
        try:
            found.append(measure(of_input, scoring_masks(one, number, seed, len(values)), values))
        except DiffMaskError as error:
            raise DiffMaskError(f"Input {number}: {error}") from None
    return found


def _figures(
    parts: dict[str, np.ndarray],
    groups: Mapping[str, Sequence[str]],
    summed: Callable[[np.ndarray, int], dict[str, float]],
    seed: int,
) -> dict[str, Any]:
    """Figures of each replacement and each group, from values `(N, ...)` with NaN for inputs that are left out."""
    found: dict[str, Any] = {"by_replacement": {name: _counted(part, summed, seed) for name, part in parts.items()}}
    for group, names in groups.items():
        if names:
            # An input counts if no replacement leaves it out.
            found[group] = _counted(np.mean([parts[name] for name in names], axis=0), summed, seed)
    return found


def _counted(
    values: np.ndarray, summed: Callable[[np.ndarray, int], dict[str, float]], seed: int
) -> dict[str, float | int]:
    """A figure with the number of inputs; no figure if all inputs are left out."""
    there = values[~np.isnan(values.reshape(len(values), -1)).any(-1)]
    figures = summed(there, seed) if len(there) else {}
    return {**figures, "inputs": len(there), "left_out": len(values) - len(there)}


def _mean(values: np.ndarray, seed: int) -> dict[str, float]:
    """Mean over inputs."""
    low, high = interval(values, seed)
    return {"mean": float(values.mean()), "low": low, "high": high}


def _pooled(errors: np.ndarray, seed: int) -> dict[str, float]:
    """Explained variance over all inputs, from squared errors `(N, 2)`."""
    picked = np.random.default_rng(seed).integers(0, len(errors), (RESAMPLES, len(errors)))
    off, deviation = errors[picked].sum(1).T
    low, high = np.percentile(1 - off / deviation, [2.5, 97.5])
    return {"mean": explained_variance(errors), "low": float(low), "high": float(high)}
