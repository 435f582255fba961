"""How well masked inputs preserve predictions: `evaluate.load(hf_diffmask.METRICS + "/divergence")`."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

DESCRIPTION = """Cost of masking for a classifier: the mean Kullback-Leibler divergence D(whole || masked), in nats,
between its outputs for whole and masked inputs, and the share of unchanged predictions."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, class probabilities for the masked input.
    references (`list[list[float]]`): For each input, class probabilities for the whole input.
    margin (`float`, *optional*): Highest divergence, in nats, of an explanation.

Returns:
    `dict`: `divergence` in nats; `agreement`, the share of unchanged predictions; and with a margin `within_margin`,
    the share of inputs whose divergence is at most the margin. In a tie the first class is the prediction.

Raises:
    ValueError: If the numbers of inputs or classes differ, or there is no input.

Example: masking costs the first input ln 2, and its tie still goes to class 0. The second output is unchanged.

>>> divergence = evaluate.load(hf_diffmask.METRICS + "/divergence")
>>> divergence.compute(predictions=[[0.5, 0.5], [0.2, 0.8]], references=[[1.0, 0.0], [0.2, 0.8]], margin=0.1)
{'divergence': 0.34657359027997264, 'agreement': 1.0, 'within_margin': 0.5}
"""


def divergences(masked: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """
    Divergence `D( f(x) || f(x_hat) )` of each input (paper, equation 3).

    Args:
        masked (`numpy.ndarray` of shape `(N, C)`): Probabilities for masked inputs.
        whole (`numpy.ndarray` of shape `(N, C)`): Probabilities for whole inputs.

    Returns:
        `numpy.ndarray` of shape `(N,)`: Divergences in nats. A class with probability 0 for the whole input adds 0.
        A class whose probability falls to 0 makes the divergence infinite.

    Raises:
        ValueError: If the shapes differ or are not `(N, C)` with `N >= 1`, or rows are no probabilities.
    """
    if masked.shape != whole.shape or whole.ndim != 2 or not len(whole):
        raise ValueError(f"Probabilities must both be (inputs, classes), but are {masked.shape} and {whole.shape}.")
    for side in (masked, whole):
        if not (np.isfinite(side).all() and (side >= 0).all() and np.allclose(side.sum(-1), 1, atol=1e-3)):
            raise ValueError("Rows must be probabilities, which are 0 or more and add up to 1.")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, whole * (np.log(whole) - np.log(masked)), 0.0).sum(-1)


class Divergence(evaluate.Metric):
    """Wraps [`divergences`]; see `DESCRIPTION`."""

    def _info(self) -> evaluate.MetricInfo:
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions: Sequence, references: Sequence, margin: float | None = None) -> dict[str, float]:
        if len({len(row) for row in [*predictions, *references]}) > 1:
            raise ValueError("Probabilities must all be of the same classes, but rows differ in length.")
        masked, whole = np.array(predictions), np.array(references)
        values = divergences(masked, whole)
        result = {
            "divergence": float(values.mean()),
            "agreement": float((masked.argmax(-1) == whole.argmax(-1)).mean()),
        }
        if margin is not None:
            result["within_margin"] = float((values <= margin).mean())
        return result
