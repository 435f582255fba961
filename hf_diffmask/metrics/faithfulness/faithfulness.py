"""What predictions owe to the tokens that rank first: `evaluate.load(hf_diffmask.METRICS + "/faithfulness")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.evaluation.faithfulness import curves, mean_measures, measures

DESCRIPTION = """What a classifier's predictions owe to the tokens that an attribution ranks first: the drop of the
predicted class's probability without them (comprehensiveness, higher is better) and on them alone (sufficiency, lower
is better), the change of its log-probability without them (log_odds), and the share of tokens without which another
class is predicted. Means over bins, then over inputs. Special tokens stay where they are; of equal scores the first
token counts first."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input, its token ids, special ones included, without padding.
    model (`PreTrainedModel`): The classifier.
    tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    preset (`str`, *optional*, defaults to "hf_diffmask"): How tokens are taken away and which bins there are:
        "hf_diffmask", "eraser", "ferret" or "time_interpret". Figures are comparable within one preset only.
    targets (`list[int]`, *optional*): The class that each attribution is of. Default: the one that is predicted.
    batch_size (`int`, *optional*, defaults to 64): Inputs that run through the model at once.

Returns:
    `dict`: `comprehensiveness`, `sufficiency`, `log_odds` in nats, `flip_share`, and the `preset`.

Raises:
    DiffMaskError: If scores are too many, too few, not finite or all the same, the model lacks a class, or there is no
    such preset. The message names the input.

Example: of one word alone nothing but to take it away can come first. Comprehensiveness is what the prediction loses
by it, and alone it is the whole input.

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
    """See `DESCRIPTION`; a thin wrapper of [`~hf_diffmask.evaluation.faithfulness.measures`]."""

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
