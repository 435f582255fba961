"""Faithfulness with faded tokens: `evaluate.load(hf_diffmask.METRICS + "/soft_faithfulness")`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.faithfulness import mean_measures
from hf_diffmask.evaluation.soft_faithfulness import NoScaleError, soft_measures

DESCRIPTION = """Soft sufficiency and comprehensiveness (Zhao and Aletras 2023). Each number of a token's embedding is
kept (sufficiency) or set to 0 (comprehensiveness) with the token's score, scaled to [0, 1], as probability. The drop
of the predicted class's probability is divided by its drop without any token. Comprehensiveness is this ratio,
sufficiency is 1 minus this ratio; 1 is best for both. Means over inputs. Inputs whose probability does not drop
without tokens are left out. Special tokens never fade."""

INPUTS = """
Args:
    predictions (`list[list[float]]`): For each input, the score of each token; higher is more important.
    references (`list[list[int]]`): For each input, its token ids, special ones included, without padding.
    model (`PreTrainedModel`): The classifier.
    tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    targets (`list[int]`, *optional*): The class that each attribution explains. Default: the predicted class.
    samples (`int`, *optional*, defaults to 16): Random draws per input.
    seed (`int`, *optional*, defaults to 0): Seed for the draws.

Returns:
    `dict`: `soft_sufficiency`, `soft_comprehensiveness`, and `left_out`, the number of inputs left out.

Raises:
    DiffMaskError: If the number of scores is wrong, scores are not finite or all equal, a class does not exist, or all
    inputs are left out. The message names the input.

Example: a single word has the scaled score 1. It stays completely for sufficiency and goes completely for
comprehensiveness.

>>> from transformers import AutoModelForSequenceClassification, AutoTokenizer
>>> model = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
>>> metric = evaluate.load(hf_diffmask.METRICS + "/soft_faithfulness")
>>> ids = tokenizer("dreadful")["input_ids"]
>>> found = metric.compute(predictions=[[0.0, 1.0, 0.0]], references=[ids], model=model, tokenizer=tokenizer)
>>> round(found["soft_sufficiency"], 4), round(found["soft_comprehensiveness"], 4), found["left_out"]
(1.0, 1.0, 0)
"""


class SoftFaithfulness(evaluate.Metric):
    """Wraps [`~hf_diffmask.evaluation.soft_faithfulness.soft_measures`]; see `DESCRIPTION`."""

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
        targets: Sequence[int] | None = None,
        samples: int = 16,
        seed: int = 0,
    ) -> dict[str, float | int]:
        if targets is not None and len(targets) != len(references):
            raise DiffMaskError(f"There are classes for {len(targets)} inputs, but {len(references)} inputs.")
        if not len(references) or samples < 1:
            raise DiffMaskError("There must be at least one input and one sample.")
        found = []
        for number, (ids, scores) in enumerate(zip(references, predictions, strict=True)):
            target = None if targets is None else targets[number]
            try:
                found.append(
                    soft_measures(model, tokenizer, features_of_ids(tokenizer, ids), scores, target, samples, seed)
                )
            except NoScaleError:
                continue
            except DiffMaskError as error:
                raise DiffMaskError(f"Input {number}: {error}") from None
        if not found:
            raise DiffMaskError("No prediction falls without tokens: there is no scale to measure on.")
        return {**mean_measures(found), "left_out": len(references) - len(found)}
