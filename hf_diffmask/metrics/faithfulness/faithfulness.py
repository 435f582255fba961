"""Dependence of predictions on the top tokens: `evaluate.load(hf_diffmask.METRICS + "/faithfulness")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.evaluation.faithfulness import curves, mean_measures, measures

DESCRIPTION = """Faithfulness of attributions for a classifier: how the predicted class's probability depends on the
top tokens. Comprehensiveness is its drop without the top tokens (higher is better). Sufficiency is its drop with the
top tokens alone (lower is better). log_odds is the change of its logarithm without the top tokens. flip_share is the
share of top tokens whose removal changes the predicted class. Means over bins, then over inputs. Special tokens always
stay. With equal scores, the earlier token ranks first."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input, its token ids, special ones included, without padding.
    model (`PreTrainedModel`): The classifier.
    tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    preset (`str`, *optional*, defaults to "hf_diffmask"): How tokens are removed, and the bins:
        "hf_diffmask", "eraser", "ferret" or "time_interpret". Only figures of the same preset are comparable.
    targets (`list[int]`, *optional*): The class that each attribution explains. Default: the predicted class.
    batch_size (`int`, *optional*, defaults to 64): Inputs per batch.

Returns:
    `dict`: `comprehensiveness`, `sufficiency`, `log_odds` in nats, `flip_share`, and the `preset`.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite or all equal, or a class or the preset does
    not exist. The message names the input.

Example: the input has one word. Removing it gives comprehensiveness. Keeping it alone gives the whole input, so
sufficiency is 0.

>>> from transformers import AutoModelForSequenceClassification, AutoTokenizer
>>> model = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> faithfulness = evaluate.load(hf_diffmask.METRICS + "/faithfulness")
>>> ids = tokenizer("dreadful")["input_ids"]
>>> found = faithfulness.compute(predictions=[[0.0, 1.0, 0.0]], references=[ids], model=model, tokenizer=tokenizer)
>>> whole, masked = model(**tokenizer(["dreadful", "[MASK]"], return_tensors="pt")).logits.detach().softmax(-1)
>>> target = int(whole.argmax())
>>> abs(found["comprehensiveness"] - float(whole[target] - masked[target])) < 1e-6, abs(found["sufficiency"]) < 1e-6
(True, True)
"""


class Faithfulness(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.faithfulness.measures`]; see `DESCRIPTION`."""

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
        batch_size: int = 64,
    ) -> dict[str, float | str]:
        inputs = [features_of_ids(tokenizer, ids) for ids in references]
        found = curves(model, tokenizer, inputs, predictions, preset, targets, batch_size)
        return {**mean_measures(measures(curve) for curve in found), "preset": preset}
