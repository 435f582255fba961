"""Share of tokens that an explanation keeps: `evaluate.load(hf_diffmask.METRICS + "/sparsity")`."""

from collections.abc import Sequence

import datasets
import evaluate

DESCRIPTION = """Share of tokens that hard masks keep, without special tokens: all kept tokens divided by all tokens,
so that each token has the same weight. Lower is sparser; read it together with the divergence."""

INPUTS = """
Args:
    predictions (`list[list[bool]]`): For each input, whether each token is kept.
    references (`list[list[bool]]`): For each input, whether each token is special.

Returns:
    `dict`: `kept_share` in [0, 1].

Raises:
    ValueError: If two lists differ in length, hold other values than 0 and 1, or all tokens are special.

Example: the inputs keep one of two and two of two ordinary tokens.

>>> sparsity = evaluate.load(hf_diffmask.METRICS + "/sparsity")
>>> sparsity.compute(predictions=[[1, 1, 0, 1], [1, 1]], references=[[1, 0, 0, 1], [0, 0]])
{'kept_share': 0.75}
"""


def kept_share(kept: Sequence[Sequence[bool]], special: Sequence[Sequence[bool]]) -> float:
    """
    Share of kept tokens, without special tokens.

    Args:
        kept (`list[list[bool]]`): For each input, whether each token is kept.
        special (`list[list[bool]]`): For each input, whether each token is special.

    Returns:
        `float`: In [0, 1].

    Raises:
        ValueError: If two lists differ in length, hold other values than 0 and 1, or all tokens are special.
    """
    for number, (row, marks) in enumerate(zip(kept, special, strict=True)):
        if len(row) != len(marks):
            raise ValueError(f"Input {number}: there are {len(row)} masks and {len(marks)} marks of special tokens.")
    if not {value for side in (kept, special) for row in side for value in row} <= {0, 1}:
        raise ValueError("Masks and marks are 0 or 1: cut keep probabilities at 0.5 first.")
    pairs = [pair for row in zip(kept, special, strict=True) for pair in zip(*row, strict=True)]
    ordinary = [bool(is_kept) for is_kept, is_special in pairs if not is_special]
    if not ordinary:
        raise ValueError("There is no token to count: all tokens are special.")
    return sum(ordinary) / len(ordinary)


class Sparsity(evaluate.Metric):
    """Wraps [`kept_share`]; see `DESCRIPTION`."""

    def _info(self) -> evaluate.MetricInfo:
        # As bool, every keep probability above 0 would count as kept.
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions: Sequence, references: Sequence) -> dict[str, float]:
        return {"kept_share": kept_share(predictions, references)}
