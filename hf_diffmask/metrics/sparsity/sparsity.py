"""Share of tokens that an explanation keeps: `evaluate.load(hf_diffmask.METRICS + "/sparsity")`."""

from collections.abc import Sequence

import datasets
import evaluate

DESCRIPTION = """Share of the tokens that hard masks keep, special tokens left out: tokens kept over tokens, both
summed over inputs, so that each token counts alike. Lower is sparser; what it is worth shows beside the divergence."""

INPUTS = """
Args:
    predictions (`list[list[bool]]`): For each input, whether each token is kept.
    references (`list[list[bool]]`): For each input, whether each token is special.

Returns:
    `dict`: `kept_share` in [0, 1].

Raises:
    ValueError: If two lists differ in length, or there is no token but special ones.

Example: one of two tokens is kept, and two of two; the special ones do not count.

>>> sparsity = evaluate.load(hf_diffmask.METRICS + "/sparsity")
>>> sparsity.compute(predictions=[[1, 1, 0, 1], [1, 1]], references=[[1, 0, 0, 1], [0, 0]])
{'kept_share': 0.75}
"""


def kept_share(kept: Sequence[Sequence[bool]], special: Sequence[Sequence[bool]]) -> float:
    """
    Tokens kept over tokens, special ones left out of both.

    Args:
        kept (`list[list[bool]]`): For each input, whether each token is kept.
        special (`list[list[bool]]`): For each input, whether each token is special.

    Returns:
        `float`: In [0, 1].

    Raises:
        ValueError: If two lists differ in length, hold anything but 0 and 1, or there is no token but special ones.
    """
    for number, (row, marks) in enumerate(zip(kept, special, strict=True)):
        if len(row) != len(marks):
            raise ValueError(f"Input {number}: there are {len(row)} masks and {len(marks)} marks of special tokens.")
    if not {value for side in (kept, special) for row in side for value in row} <= {0, 1}:
        raise ValueError("Masks and marks are 0 or 1: cut keep probabilities at 0.5 first.")
    pairs = [pair for row in zip(kept, special, strict=True) for pair in zip(*row, strict=True)]
    ordinary = [bool(is_kept) for is_kept, is_special in pairs if not is_special]
    if not ordinary:
        raise ValueError("There is no token to count: every token is special.")
    return sum(ordinary) / len(ordinary)


class Sparsity(evaluate.Metric):
    """See `DESCRIPTION`; a thin wrapper of [`kept_share`]."""

    def _info(self) -> evaluate.MetricInfo:
        # Read as bool, keep probabilities would all be kept.
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions: Sequence, references: Sequence) -> dict[str, float]:
        return {"kept_share": kept_share(predictions, references)}
