"""Example attributions for a card, on our own sentences: training data stay private."""

from transformers import PreTrainedTokenizerBase

from ..display.markdown import emphasised, markdown
from ..explainer.modeling_diffmask import DiffMaskModel
from ..pipeline.pipeline_diffmask import DiffMaskAttributionPipeline


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
        `list[dict[str, str]]`: `text` with kept tokens in bold, `prediction`, `kept` (the kept share) and `cost`, as
        Markdown.
    """
    explain = DiffMaskAttributionPipeline(explainer.eval(), tokenizer=tokenizer, device=explainer.device)
    found = []
    for one in explainer.task.card_inputs(pairs):
        result = explain(one)
        texts = [one] if isinstance(one, str) else list(one.values())
        parts = []
        for segment, text in enumerate(texts):
            kept = [
                (token["start"], token["end"])
                for token in result["tokens"]
                if token["kept"] and not token["special"] and token.get("segment", 0) == segment
            ]
            parts.append(emphasised(text, kept))
        cost = result[explainer.preserved.figure]
        found.append(
            {
                "text": " / ".join(parts),
                "prediction": f"{markdown(explainer.task.quoted(result))} ({result['score']:.2f})",
                "kept": f"{result['kept_share']:.2f}",
                "cost": f"{cost:.3f}",
            }
        )
    return found
