"""Deletion and insertion curves: `evaluate.load(hf_diffmask.METRICS + "/insertion_deletion")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.evaluation.faithfulness import Preset, areas, curves, mean_measures

DESCRIPTION = """Areas under the deletion and insertion curves (Petsiuk et al. 2018). A curve is the predicted class's
probability while tokens are removed one by one, highest score first (deletion, lower is better), or added back one by
one to an empty input (insertion, higher is better). Means over inputs. Special tokens always stay. With equal scores,
the earlier token ranks first."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input, its token ids, special ones included, without padding.
    model (`PreTrainedModel`): The classifier.
    tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    replacement (`str`, *optional*, defaults to "mask"): How tokens are removed: "mask", "pad", "unk", "attention",
        "delete" or "mean". Only figures of the same replacement are comparable.
    targets (`list[int]`, *optional*): The class that each attribution explains. Default: the predicted class.
    batch_size (`int`, *optional*, defaults to 64): Inputs per batch.

Returns:
    `dict`: `deletion` and `insertion`, both in [0, 1], and the `replacement`.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite or all equal, or a class or the replacement
    does not exist. The message names the input.

Example: with one word, each curve is one step between the whole input and the mask token. Its area is their mean.

>>> from transformers import AutoModelForSequenceClassification, AutoTokenizer
>>> model = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> metric = evaluate.load(hf_diffmask.METRICS + "/insertion_deletion")
>>> ids = tokenizer("dreadful")["input_ids"]
>>> found = metric.compute(predictions=[[0.0, 1.0, 0.0]], references=[ids], model=model, tokenizer=tokenizer)
>>> whole, masked = model(**tokenizer(["dreadful", "[MASK]"], return_tensors="pt")).logits.detach().softmax(-1)
>>> mean = float(whole[whole.argmax()] + masked[whole.argmax()]) / 2
>>> abs(found["deletion"] - mean) < 1e-6, abs(found["insertion"] - mean) < 1e-6
(True, True)
"""


class InsertionDeletion(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.faithfulness.areas`]; see `DESCRIPTION`."""

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
        replacement: str = "mask",
        targets: Sequence[int] | None = None,
        batch_size: int = 64,
    ) -> dict[str, float | str]:
        inputs = [features_of_ids(tokenizer, ids) for ids in references]
        every = Preset(replacement, None, "ceil")
        found = curves(model, tokenizer, inputs, predictions, every, targets, batch_size)
        return {**mean_measures(areas(curve) for curve in found), "replacement": replacement}
