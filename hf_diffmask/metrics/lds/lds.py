"""Rank correlation of scores with random masks: `evaluate.load(hf_diffmask.METRICS + "/lds")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.ablated import masked_log_odds
from hf_diffmask.evaluation.additive import of_each_input
from hf_diffmask.evaluation.datamodel import lds

DESCRIPTION = """Linear datamodelling score (LDS; Park et al. 2023, for contexts Cohen-Wang et al. 2024): Spearman's
rank correlation, over random masks that keep each token with probability 0.5, of the sum of the scores of the kept
tokens with the log-odds of the predicted class under the masked input. Mean over inputs; higher is better. Special
tokens always stay. Equal values share the mean of their ranks."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
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
    `dict`: `lds` in [-1, 1], the number of inputs that are `left_out`, and the `replacement`. Left out are inputs with
    fewer than 3 tokens, and inputs with all sums or all log-odds equal.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite, a class or the replacement does not exist,
    or all inputs are left out. The message names the input.

Example: scores that are turned round have the opposite correlation.

>>> from transformers import AutoModelForSequenceClassification, AutoTokenizer
>>> model = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> metric = evaluate.load(hf_diffmask.METRICS + "/lds")
>>> given = {"references": [tokenizer("a dull film")["input_ids"]], "model": model, "tokenizer": tokenizer}
>>> found = metric.compute(predictions=[[0.0, 0.1, 2.0, 0.3, 0.0]], **given)
>>> turned = metric.compute(predictions=[[0.0, -0.1, -2.0, -0.3, 0.0]], **given)
>>> found["lds"] > 0.5, abs(found["lds"] + turned["lds"]) < 1e-6, found["left_out"]
(True, True, 0)
"""


class LDS(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.datamodel.lds`]; see `DESCRIPTION`."""

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
        found = of_each_input(lds, inputs, predictions, log_odds, seed)
        measured = [one for one in found if one is not None]
        if not measured:
            raise DiffMaskError(
                "No input can be measured: each has fewer than 3 tokens, or all its sums or log-odds are equal."
            )
        return {"lds": float(np.mean(measured)), "left_out": len(found) - len(measured), "replacement": replacement}
