"""How well scores agree with what people marked: `evaluate.load(hf_diffmask.METRICS + "/plausibility")`."""

from collections.abc import Sequence

import datasets
import evaluate

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.plausibility import plausibility, rationale

DESCRIPTION = """How well attributions agree with what people marked as evidence (DeYoung et al. 2020): F1 of tokens
and of spans for the tokens that rank first, and the area under precision over recall. Means over inputs; special
tokens are left out. An attribution can be plausible without being faithful to the model, and faithful without being
plausible."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input and token, 1 where people marked it, 0 where they did not, and -100
        at special tokens.
    share (`float`, *optional*): Share of the tokens that make a hard rationale, rounded up. Default: the mean share
        that people marked.

Returns:
    `dict`: `token_f1`, `iou_f1` and `auprc`, all in [0, 1], and `share`.

Raises:
    DiffMaskError: If scores are too many, too few, not finite or all the same, or nothing is marked. The message names
    the input.

Example: two of four tokens are marked. The first two of the ranking are one of them and one that is not, so that
precision and recall are a half; neither is the marked span of two tokens, but the one that is right overlaps with half
of it: of two spans one is found. Precision over recall is 1 up to a half, and 2 of 3 from there on.

>>> plausibility = evaluate.load(hf_diffmask.METRICS + "/plausibility")
>>> found = plausibility.compute(predictions=[[9.0, 0.9, 0.2, 0.1, 0.5, 9.0]], references=[[-100, 1, 1, 0, 0, -100]])
>>> found["token_f1"], round(found["iou_f1"], 3), round(found["auprc"], 3), found["share"]
(0.5, 0.667, 0.833, 0.5)
"""


class Plausibility(evaluate.Metric):
    """See `DESCRIPTION`; a thin wrapper of [`~hf_diffmask.evaluation.plausibility.plausibility`]."""

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
