"""How well the prediction can be read from a mask, without the words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DiffMaskError

BINS = 10  # bins of relative position
ENDS = 8  # tokens at either end with a feature of their own
FOLDS = 5


def readable(features: np.ndarray, classes: Sequence[int], texts: Sequence[int], seed: int = 0) -> float:
    """
    Cross-validated accuracy of a linear classifier: how well classes can be read from features.

    Args:
        features (`numpy.ndarray` of shape `(N, F)`): Features of each input.
        classes (`Sequence[int]` of length `N`): Class of each input.
        texts (`Sequence[int]` of length `N`):
            For each input (a window of a text), the number of its text. All windows of a text are in one fold.
        seed (`int`, *optional*, defaults to 0): Seed for the split into folds.

    Returns:
        `float`: Accuracy over all folds, on inputs outside the fit.

    Raises:
        DiffMaskError: If there are fewer than 20 texts.
    """
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if len(numbers) < 20:
        raise DiffMaskError(f"The classifier on masks needs at least 20 texts, but there are {len(numbers)}.")
    folds = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed)) % FOLDS
    fold = folds[[numbers[text] for text in texts]]
    labels, values = torch.tensor(list(classes)), torch.tensor(features, dtype=torch.float64)
    right = 0
    for number in range(FOLDS):
        right += _fitted(values, labels, fold == number)
    return right / len(labels)


def _fitted(values: Tensor, labels: Tensor, tested: Tensor) -> int:
    """Number of test inputs that a logistic regression on the others classifies correctly."""
    mean, deviation = values[~tested].mean(0), values[~tested].std(0).clamp(min=1e-6)
    scaled = (values - mean) / deviation
    model = nn.Linear(values.shape[1], int(labels.max()) + 1, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    solver = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        fitted = nn.functional.cross_entropy(model(scaled[~tested]), labels[~tested])
        # L2 penalty of 1 on the sum over inputs: a prior with unit variance.
        value = fitted + model.weight.square().sum() / (2 * (~tested).sum())
        value.backward()
        return value

    solver.step(loss)
    with torch.no_grad():
        return int((model(scaled[tested]).argmax(-1) == labels[tested]).sum())


def base_rate_of(classes: Sequence[int]) -> float:
    """
    Accuracy of always predicting the most frequent class.

    Args:
        classes (`Sequence[int]`): Class of each input.

    Returns:
        `float`
    """
    return max(classes.count(one) for one in set(classes)) / len(classes)


def pattern_features(kept: Sequence[bool]) -> list[float]:
    """
    Features of a mask: where and how much it keeps, without the words.

    Args:
        kept (`Sequence[bool]` of length `U`): For each token that is not special, whether it is kept.

    Returns:
        `list[float]`: Number, share, share in odd positions, number of runs, share in each tenth of the input, and
        the gates of the first and last few tokens.
    """
    mask = np.array(kept, dtype=float)
    tenth_of = np.arange(len(mask)) * BINS // max(1, len(mask))
    tenths = [mask[tenth_of == k].mean() if (tenth_of == k).any() else mask.mean() for k in range(BINS)]
    first, last = np.zeros(ENDS), np.zeros(ENDS)
    first[: len(mask)], last[: len(mask)] = mask[:ENDS], mask[::-1][:ENDS]
    odd = mask[1::2].mean() if len(mask) > 1 else 0.0
    runs = np.count_nonzero(np.diff(mask, prepend=0.0) > 0)
    return [mask.sum(), mask.mean(), odd, runs, *tenths, *first, *last]


def by_length_alone(masks: Sequence[Sequence[Any]], classes: Sequence[int], texts: Sequence[int]) -> float:
    """
    Accuracy of reading classes from input lengths alone, which no mask hides.

    Args:
        masks (`Sequence[Sequence]`): For each input, one entry per token that is not special.
        classes (`Sequence[int]`): Class of each input.
        texts (`Sequence[int]`): For each input (a window of a text), the number of its text.

    Returns:
        `float`: Accuracy of [`readable`] on the features of masks that keep everything.
    """
    return readable(np.array([pattern_features([True] * len(mask)) for mask in masks]), classes, texts)
