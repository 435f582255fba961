"""Similarity of two attributions of the same inputs: `evaluate.load(hf_diffmask.METRICS + "/stability")`."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.stability import rank_correlation

DESCRIPTION = """Similarity of two attributions of the same tokens: Spearman's rank correlation, mean over inputs,
without special tokens. Use it to compare explainers trained with different seeds, or inputs before and after a change
that keeps the tokens. Equal scores share the mean of their ranks."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token, without special tokens.
    references (`list[list[float]]`): The scores of the other attribution.

Returns:
    `dict`: `rank_correlation` in [-1, 1].

Raises:
    DiffMaskError: If the numbers of scores differ, there are fewer than two, or scores are not finite or all equal.
    The message names the input.

Example: ranks 1, 2, 3 and 1, 3, 2 have a correlation of 1 - 6 * 2 / (3 * 8); the second input is reversed.

>>> stability = evaluate.load(hf_diffmask.METRICS + "/stability")
>>> found = stability.compute(predictions=[[0.1, 0.2, 0.9], [1.0, 2.0]], references=[[0.0, 0.7, 0.6], [5.0, 4.0]])
>>> round(found["rank_correlation"], 6)
-0.25
"""


class Stability(evaluate.Metric):
    """Wraps [`rank_correlation`]; see `DESCRIPTION`."""

    def _info(self) -> evaluate.MetricInfo:
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(
        self, predictions: Sequence[Sequence[float]], references: Sequence[Sequence[float]]
    ) -> dict[str, float]:
        if not len(predictions):
            raise DiffMaskError("There is no input to compare.")
        found = []
        for number, (scores, others) in enumerate(zip(predictions, references, strict=True)):
            try:
                found.append(rank_correlation(scores, others))
            except DiffMaskError as error:
                raise DiffMaskError(f"Input {number}: {error}") from None
        return {"rank_correlation": float(np.mean(found))}
