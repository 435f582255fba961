"""Example attributions for a card, on our own sentences: training data stay private."""

from itertools import accumulate
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
        tokens = [token for token in result["tokens"] if not token["special"] and token.get("segment", 0) == segment]
        spans = [(token["start"], token["end"]) for token in tokens]
        if any(start is None for start, _ in spans):  # a slow tokenizer: its tokens stand for the text
            text, spans = _joined([token["token"] for token in tokens])
        parts.append(emphasised(text, [span for span, token in zip(spans, tokens, strict=True) if token["kept"]]))
    state, cost = verdict(result), result[explainer.preserved.figure]
    return {
        "text": " / ".join(parts),
        "prediction": f"{markdown(explainer.task.quoted(result))} ({result['score']:.2f})",
        "kept": f"{result['kept_share']:.2f}",
        "cost": printed(cost, result["margin"]),
        "check": f"{ICONS[state]} {state}" + ", prediction changes" * (not result["same_prediction"]),
    }


def _joined(tokens: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """Tokens with spaces between them, and the place of each."""
    ends = list(accumulate(len(token) + 1 for token in tokens))
    return " ".join(tokens), [(end - 1 - len(token), end - 1) for token, end in zip(tokens, ends, strict=True)]
