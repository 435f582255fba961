"""Example attributions for a card, on our own sentences: training data stay private."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from ..display.certificate import ICONS, verdict
from ..display.markdown import emphasised, markdown
from ..explainer.modeling_diffmask import DiffMaskModel
from ..pipeline.pipeline_diffmask import DiffMaskAttributionPipeline
from ..pipeline.results import results_in
from ..tasks.words import printed


def example_attributions(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, pairs: bool = False
) -> list[dict[str, str]]:
    """
    Example attributions for a few sentences of our own.

    Args:
        explainer ([`DiffMaskModel`]): The explainer, with its base model loaded.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        pairs (`bool`, *optional*, defaults to `False`): Whether the base model, a classifier, takes pairs.

    Returns:
        `list[dict[str, str]]`: `text` with kept tokens in bold, `prediction`, `kept` (the kept share), `cost`, and
        `check` (whether the cost is within the margin, see [`~hf_diffmask.display.certificate.verdict`]), as Markdown.
    """
    explain = DiffMaskAttributionPipeline(explainer.eval(), tokenizer=tokenizer, device=explainer.device)
    found = []
    for one in explainer.task.card_inputs(pairs):
        texts = [one] if isinstance(one, str) else list(one.values())
        found += [_row(explainer, result, texts) for result in results_in(explain(one))]
    return found


def _row(explainer: DiffMaskModel, result: dict[str, Any], texts: list[str]) -> dict[str, str]:
    parts = []
    for segment, text in enumerate(texts):
        kept = [
            (token["start"], token["end"])
            for token in result["tokens"]
            if token["kept"] and not token["special"] and token.get("segment", 0) == segment
        ]
        parts.append(emphasised(text, kept))
    state, cost = verdict(result), result[explainer.preserved.figure]
    return {
        "text": " / ".join(parts),
        "prediction": f"{markdown(explainer.task.quoted(result))} ({result['score']:.2f})",
        "kept": f"{result['kept_share']:.2f}",
        "cost": printed(cost, result["margin"]),
        "check": f"{ICONS[state]} {state}" + ", prediction changes" * (not result["same_prediction"]),
    }
