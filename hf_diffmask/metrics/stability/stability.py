"""How alike two attributions of the same inputs are: `evaluate.load(hf_diffmask.METRICS + "/stability")`."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.stability import rank_correlation

DESCRIPTION = """How alike two attributions of the same inputs rank their tokens, such as those of explainers that were
trained with different seeds, or of inputs before and after a change that leaves the tokens what they are: Spearman's
rank correlation, a mean over inputs, special tokens left out. Equal scores share the mean of their ranks."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; special ones left out.
    references (`list[list[float]]`): The scores of the other attribution.

Returns:
    `dict`: `rank_correlation` in [-1, 1].

Raises:
    DiffMaskError: If the numbers of scores differ, or scores are not finite or all the same, so that they have no
    ranks, or there are fewer than two. The message names the input.

Example: ranks 1, 2, 3 beside 1, 3, 2 have a correlation of 1 - 6 * 2 / (3 * 8); the second input is ranked backwards.

>>> stability = evaluate.load(hf_diffmask.METRICS + "/stability")
>>> found = stability.compute(predictions=[[0.1, 0.2, 0.9], [1.0, 2.0]], references=[[0.0, 0.7, 0.6], [5.0, 4.0]])
>>> round(found["rank_correlation"], 6)
-0.25
"""


class Stability(evaluate.Metric):
    """See `DESCRIPTION`; a thin wrapper of [`rank_correlation`]."""

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
