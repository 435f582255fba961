"""Attributions of a few sentences of our own, for a card: the data that an explainer was trained on stay private."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from . import heads
from .model_card import emphasised, markdown
from .modeling_diffmask import DiffMaskModel
from .pipeline_diffmask import DiffMaskAttributionPipeline

SENTENCES = (
    "a warm and quietly funny film",
    "The parcel came late, but the shop answered at once.",
    "After ten minutes nobody in the room was listening any more.",
)
PAIRS = (
    ("A man repairs a boat.", "Somebody is at work."),
    ("Two children run over a meadow.", "The children are asleep."),
)
QUESTIONS = (
    ("When was the mill sold?", "The mill on the river was sold in 1902, after the second flood."),
    ("Who keeps the bees?", "My aunt keeps bees behind the house, and her neighbour sells the honey."),
)


def example_attributions(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, pairs: bool = False
) -> list[dict[str, str]]:
    """
    Explains a few sentences.

    Args:
        explainer ([`DiffMaskModel`]): The explainer, holding its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        pairs (`bool`, *optional*, defaults to `False`): Whether the base model, a classifier, takes pairs.

    Returns:
        `list[dict[str, str]]`: `text`, where what is kept is bold, `prediction`, `kept` and `cost`, as markdown.
    """
    answers = explainer.config.task == heads.QUESTION_ANSWERING
    inputs: list[Any] = list(SENTENCES)
    if answers:
        inputs = [{"question": question, "context": context} for question, context in QUESTIONS]
    elif pairs:
        inputs = [{"text": text, "text_pair": pair} for text, pair in PAIRS]
    explain = DiffMaskAttributionPipeline(explainer.eval(), tokenizer=tokenizer, device=explainer.device)
    found = []
    for one in inputs:
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
        prediction = f'"{result["answer"]}"' if answers else result["label"]
        cost = result["drop"] if "drop" in result else result["divergence"]
        found.append(
            {
                "text": " / ".join(parts),
                "prediction": f"{markdown(prediction)} ({result['score']:.2f})",
                "kept": f"{result['kept_share']:.2f}",
                "cost": f"{cost:.3f}",
            }
        )
    return found
