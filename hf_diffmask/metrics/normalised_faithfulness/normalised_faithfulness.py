"""Faithfulness between worst and best ranking: `evaluate.load(hf_diffmask.METRICS + "/normalised_faithfulness")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.evaluation.bounds import bounds, reached
from hf_diffmask.evaluation.faithfulness import PRESETS, curves, mean_measures, measures

DESCRIPTION = """Comprehensiveness and sufficiency, scaled for each model and input: 0 for the worst ranking of the
tokens, 1 for the best one (Edin et al. 2025). A beam search finds both ends, with thousands of passes per input. It
may miss a ranking, so values outside [0, 1] are possible. Means over inputs."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input, its token ids, special ones included, without padding.
    model (`PreTrainedModel`): The classifier.
    tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    preset (`str`, *optional*, defaults to "hf_diffmask"): How tokens are removed, and the bins:
        "hf_diffmask", "eraser" or "time_interpret". "ferret" uses more than the ranking and has no bounds.
    targets (`list[int]`, *optional*): The class that each attribution explains. Default: the predicted class.
    beam (`int`, *optional*, defaults to 5): Rankings that the search follows.
    batch_size (`int`, *optional*, defaults to 64): Inputs per batch.

Returns:
    `dict`: `comprehensiveness` and `sufficiency`, 1 is best for both, and the `preset`.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite or all equal, a class or the preset does not
    exist, or the preset has no bounds. The message names the input.

Example: two words have two rankings. One is the best, the other is the worst.

>>> from transformers import AutoModelForSequenceClassification, AutoTokenizer
>>> model = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> metric = evaluate.load(hf_diffmask.METRICS + "/normalised_faithfulness")
>>> ids = tokenizer("dreadful film")["input_ids"]
>>> for scores in ([0.0, 1.0, 0.5, 0.0], [0.0, 0.5, 1.0, 0.0]):
...     found = metric.compute(predictions=[scores], references=[ids], model=model, tokenizer=tokenizer)
...     round(found["comprehensiveness"], 4), round(found["sufficiency"], 4)
(1.0, 1.0)
(0.0, 0.0)
"""


class NormalisedFaithfulness(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.bounds.bounds`]; see `DESCRIPTION`."""

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
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[int]],
        model: Any,
        tokenizer: Any,
        preset: str = "hf_diffmask",
        targets: Sequence[int] | None = None,
        beam: int = 5,
        batch_size: int = 64,
    ) -> dict[str, float | str]:
        inputs = [features_of_ids(tokenizer, ids) for ids in references]
        found = []
        # `curves` checks scores, classes and preset before the slow search starts.
        for one, curve in zip(
            inputs, curves(model, tokenizer, inputs, predictions, preset, targets, batch_size), strict=True
        ):
            figures = measures(curve)
            found.append(
                {
                    name: reached(
                        figures[name],
                        bounds(model, tokenizer, one, PRESETS[preset], name, curve.choice, beam, batch_size),
                        lower_is_better=name == "sufficiency",
                    )
                    for name in ("comprehensiveness", "sufficiency")
                }
            )
        return {**mean_measures(found), "preset": preset}
