"""How well scores predict the model under random masks: rank correlation (LDS) and explained variance (R2)."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import DiffMaskError

FEWEST_UNITS = 3
"""Inputs with fewer units are left out: their few different masks rank nothing."""


def kept_sums(scores: Sequence[float], masks: np.ndarray) -> np.ndarray:
    """
    Sum of the scores of the units that each mask keeps.

    Args:
        scores (`Sequence[float]` of length `T`): A score per unit.
        masks (`numpy.ndarray` of shape `(M, T)`, `bool`): `True` at kept units.

    Returns:
        `numpy.ndarray` of shape `(M,)`

    Raises:
        DiffMaskError: If the number of scores is wrong, or the score of a masked unit is not finite.
    """
    given = np.array([math.nan if score is None else score for score in scores], dtype=np.float64)
    if masks.ndim != 2 or len(given) != masks.shape[1]:
        raise DiffMaskError(f"There are {len(given)} scores for {masks.shape[-1]} units: give one for each unit.")
    if not np.isfinite(given[masks.any(0)]).all():
        raise DiffMaskError("A score is not finite: leave this input out, or find out where it comes from.")
    # The sum is rounded once, so that masks with equal sums tie whatever the order of the units.
    return np.array([math.fsum(given[mask]) for mask in masks])


def lds(scores: Sequence[float], masks: np.ndarray, values: Sequence[float] | np.ndarray) -> float | None:
    """
    Linear datamodelling score (LDS) of one input (Park et al. 2023; for contexts, ContextCite 2024): Spearman's rank
    correlation of the sums of the kept scores with what the model says. Ties share the mean of their ranks.

    Args:
        scores (`Sequence[float]` of length `T`): A score per unit.
        masks (`numpy.ndarray` of shape `(M, T)`, `bool`): `True` at kept units. They were not used to find the scores.
        values (`Sequence[float]` of length `M`): Log-odds under each mask. Masks with a value that is not finite do
            not count.

    Returns:
        `float` or `None`: In [-1, 1]; `None` if masks vary fewer than 3 units, or all sums or all values are equal.

    Raises:
        DiffMaskError: If numbers of scores, units, masks and values do not match, or a score is not finite.
    """
    found = _comparable(scores, masks, values)
    if found is None:
        return None
    sums, usable = found
    if len(set(sums)) < 2:
        return None
    return float(pd.Series(sums).rank().corr(pd.Series(usable).rank()))


def squared_errors(
    scores: Sequence[float], masks: np.ndarray, values: Sequence[float] | np.ndarray
) -> tuple[float, float] | None:
    """
    Error of scores in log-odds on one input, and deviation of the values, for [`explained_variance`].

    Args:
        scores (`Sequence[float]` of length `T`): A score per unit, in the unit of the values.
        masks (`numpy.ndarray` of shape `(M, T)`, `bool`): `True` at kept units. They were not used to find the scores.
        values (`Sequence[float]` of length `M`): Log-odds under each mask. Masks with a value that is not finite do
            not count.

    Returns:
        `tuple[float, float]` or `None`: `sum (v - s)^2` and `sum v^2`, with values `v` and sums of kept scores `s`,
        both less their means over the masks; `None` if masks vary fewer than 3 units, or all values are equal.

    Raises:
        DiffMaskError: If numbers of scores, units, masks and values do not match, or a score is not finite.
    """
    found = _comparable(scores, masks, values)
    if found is None:
        return None
    sums, usable = found
    centred = usable - usable.mean()
    return float(((centred - (sums - sums.mean())) ** 2).sum()), float((centred**2).sum())


def explained_variance(errors: Sequence[tuple[float, float]] | np.ndarray) -> float:
    """
    Share of the variance under random masks that scores in log-odds explain (R2).

    Args:
        errors (`Sequence[tuple[float, float]]` or `numpy.ndarray` of shape `(N, 2)`): Results of [`squared_errors`].

    Returns:
        `float`: `1 - sum (v - s)^2 / sum v^2`, both sums over all inputs. At most 1, and below 0 if the scores predict
        worse than the mean.

    Raises:
        DiffMaskError: If there is no input.
    """
    if not len(errors):
        raise DiffMaskError("There is no input to measure.")
    off, deviation = np.sum(errors, axis=0)
    return float(1.0 - off / deviation)


def _comparable(
    scores: Sequence[float], masks: np.ndarray, values: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Sums and values of the usable masks; `None` if masks vary too few units or all values are equal."""
    sums, given = kept_sums(scores, masks), np.asarray(values, dtype=np.float64)
    if given.shape != sums.shape:
        raise DiffMaskError(f"There are {given.size} values for {len(sums)} masks: give one for each mask.")
    usable = np.isfinite(given)
    if (masks.any(0) & ~masks.all(0)).sum() < FEWEST_UNITS or len(set(given[usable])) < 2:
        return None
    return sums[usable], given[usable]
