"""Variance under random masks that scores explain: `evaluate.load(hf_diffmask.METRICS + "/explained_variance")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.ablated import masked_log_odds
from hf_diffmask.evaluation.additive import of_each_input
from hf_diffmask.evaluation.datamodel import explained_variance, squared_errors

DESCRIPTION = """Explained variance (R2) of scores in log-odds: `1 - sum (v - s)^2 / sum v^2` over random masks that
keep each token with probability 0.5, with `v` the log-odds of the predicted class under the masked input and `s` the
sum of the scores of the kept tokens, both less their means over the masks of an input. The sums run over all inputs.
Higher is better: 1 for scores that add up to the log-odds, 0 for scores of 0. Special tokens always stay. Only for
scores in log-odds, such as an explainer's of the recipe `ablation`."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the evidence of each token for the class, in log-odds (nats).
    references (`list[list[int]]`): For each input, its token ids, special ones included, without padding.
    model (`PreTrainedModel`): The classifier.
    tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    replacement (`str`, *optional*, defaults to "mask"): How tokens are removed: "mask", "pad", "unk", "attention",
        "delete" or "mean". Only figures of the same replacement are comparable.
    targets (`list[int]`, *optional*): The class that each attribution explains. Default: the predicted class.
    masks (`int`, *optional*, defaults to 64): Masks for each input.
    seed (`int`, *optional*, defaults to 0): Seed of the masks.
    batch_size (`int`, *optional*, defaults to 64): Inputs per batch.

Returns:
    `dict`: `r2`, at most 1, the number of inputs that are `left_out`, and the `replacement`. Left out are inputs with
    fewer than 3 tokens, and inputs with all log-odds equal.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite, a class or the replacement does not exist,
    or all inputs are left out. The message names the input.

Example: scores of 0 explain nothing, and huge scores are worse than that.

>>> from transformers import AutoModelForSequenceClassification, AutoTokenizer
>>> model = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> metric = evaluate.load(hf_diffmask.METRICS + "/explained_variance")
>>> given = {"references": [tokenizer("a dull film")["input_ids"]], "model": model, "tokenizer": tokenizer}
>>> metric.compute(predictions=[[0.0] * 5], **given)
{'r2': 0.0, 'left_out': 0, 'replacement': 'mask'}
>>> metric.compute(predictions=[[0.0, 0.0, 99.0, 0.0, 0.0]], **given)["r2"] < 0
True
"""


class ExplainedVariance(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.datamodel.explained_variance`]; see `DESCRIPTION`."""

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
        masks: int = 64,
        seed: int = 0,
        batch_size: int = 64,
    ) -> dict[str, float | int | str]:
        inputs = [features_of_ids(tokenizer, ids) for ids in references]
        (log_odds,) = masked_log_odds(
            model, tokenizer, inputs, [replacement], targets, seed, masks, batch_size
        ).values()
        found = of_each_input(squared_errors, inputs, predictions, log_odds, seed)
        measured = [one for one in found if one is not None]
        if not measured:
            raise DiffMaskError(
                "No input can be measured: each has fewer than 3 tokens, or all its log-odds are equal."
            )
        return {"r2": explained_variance(measured), "left_out": len(found) - len(measured), "replacement": replacement}
