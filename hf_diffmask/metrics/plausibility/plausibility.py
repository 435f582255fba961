"""Agreement of scores with human rationales: `evaluate.load(hf_diffmask.METRICS + "/plausibility")`."""

from collections.abc import Sequence

import datasets
import evaluate

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.plausibility import plausibility, rationale

DESCRIPTION = """Agreement of attributions with human rationales (DeYoung et al. 2020): token F1 and span F1 of the top
tokens, and the area under the precision-recall curve. Means over inputs, without special tokens. A plausible
attribution may be unfaithful to the model, and a faithful one implausible."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input and token, 1 if people marked it, 0 if not, and -100 for special
        tokens.
    share (`float`, *optional*): Share of the tokens in a hard rationale; their number is rounded up. Default: the mean
        share that people marked.

Returns:
    `dict`: `token_f1`, `iou_f1` and `auprc`, all in [0, 1], and `share`.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite or all equal, or nothing is marked. The
    message names the input.

Example: two of four tokens are marked. The top two tokens hold one marked token, so precision and recall are 1/2. The
top two tokens form two spans. One of them covers half of the marked span and counts as found: precision 1/2, recall 1.
Average precision is the mean of 1 (first marked token) and 2/3 (second marked token).

>>> plausibility = evaluate.load(hf_diffmask.METRICS + "/plausibility")
>>> found = plausibility.compute(predictions=[[9.0, 0.9, 0.2, 0.1, 0.5, 9.0]], references=[[-100, 1, 1, 0, 0, -100]])
>>> found["token_f1"], round(found["iou_f1"], 3), round(found["auprc"], 3), found["share"]
(0.5, 0.667, 0.833, 0.5)
"""


class Plausibility(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.plausibility.plausibility`]; see `DESCRIPTION`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
        )

    def _compute(
        self, predictions: Sequence[Sequence[float]], references: Sequence[Sequence[int]], share: float | None = None
    ) -> dict[str, float]:
        rationales = []
        for number, (scores, marks) in enumerate(zip(predictions, references, strict=True)):
            try:
                rationales.append(rationale(scores, [mark == 1 for mark in marks], [mark == -100 for mark in marks]))
            except DiffMaskError as error:
                raise DiffMaskError(f"Input {number}: {error}") from None
        return plausibility(rationales, share)
