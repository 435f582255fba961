"""Masked language models: the token at a masked position, explained by the rest of the text."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, PreTrainedConfig, PreTrainedTokenizerBase

from ..base.running import Recorded
from ..data.encoding import EncodedText, Text, encode
from ..errors import DiffMaskError
from .heads import has_head, widen
from .text_classification import TextClassification
from .words import Check, Cost, Window

PLACEHOLDERS = ("[MASK]", "<mask>")
"""Mask tokens of the best-known models. They stand for that of any model."""


class FillMask(TextClassification):
    """The output is the log-probability of each token of the vocabulary at the mask token, `(B, V)`, in nats. Without
    an explained mask token it is `(B, T, V)`. There are no choices: a vocabulary is too large for evidence of its own
    for each token. Evidence adds up to the log-odds of the predicted token.

    The constant `mask_token_id` is that of the tokenizer. Mask tokens count as special tokens, so they are kept.
    """

    name = "fill-mask"
    auto_class = AutoModelForMaskedLM
    described = "masked language models"
    has_choices = False
    at_positions = True
    explains_any = False
    nothing = "no mask token"
    options = {"top_k": 5}  # noqa: RUF012

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """See [`Task.fits`]: a masked language model without a decoder of its own."""
        return not config.is_encoder_decoder and has_head(class_names, cls.auto_class)

    @classmethod
    def given_constants(
        cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> dict[str, Any]:
        """See [`Task.given_constants`]: `mask_token_id`, if the tokenizer is given."""
        if tokenizer is None:
            return {}
        if tokenizer.mask_token_id is None:
            raise DiffMaskError("The tokenizer has no mask token, and a masked language model is explained at one.")
        return {"mask_token_id": tokenizer.mask_token_id}

    def check(self, item: Any, what: str) -> Text:
        """See [`Task.check`]: one text."""
        text = super().check(item, what)
        if not isinstance(text, str):
            raise DiffMaskError(f"{what} is a pair of texts: a mask token is explained in one text.")
        return text

    def encoded(
        self, tokenizer: PreTrainedTokenizerBase, text: Text, what: str, draw: torch.Generator | None = None
    ) -> EncodedText:
        """
        See [`Task.encoded`]: mask tokens are special tokens.

        Without a mask token, `draw` chooses a token, and the mask token takes its place.
        """
        mask = str(tokenizer.mask_token)
        for placeholder in PLACEHOLDERS:
            if mask not in text and isinstance(text, str):
                text = text.replace(placeholder, mask)
        found = encode(tokenizer, text)
        ids = list(found.features["input_ids"])
        if tokenizer.mask_token_id not in ids:
            ordinary = [k for k, segment in enumerate(found.segments) if segment is not None]
            if draw is None or not ordinary:
                raise DiffMaskError(f"{what} has no mask token: put {mask} in the place of a word.")
            ids[ordinary[int(torch.randint(len(ordinary), (1,), generator=draw))]] = int(tokenizer.mask_token_id)
        special = [
            int(mark or token == tokenizer.mask_token_id)
            for mark, token in zip(found.features["special_tokens_mask"], ids, strict=True)
        ]
        return replace(
            found,
            features={**found.features, "input_ids": ids, "special_tokens_mask": special},
            token_of=lambda number: tokenizer.decode([number]).strip(),
        )

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        logits = output.logits if explained is None else self.target_at(output.logits, explained)
        return F.log_softmax(widen(logits), dim=-1)

    def target_at(self, target: Tensor, explained: Tensor) -> Tensor:
        """See [`Task.target_at`]: the first explained position."""
        return target[torch.arange(len(target), device=target.device), explained.to(torch.uint8).argmax(1)]

    def parts(self, target: Tensor, ids: Tensor, special: Tensor, config: PreTrainedConfig) -> list[list[int]]:
        """See [`Task.parts`]: each mask token."""
        return [[position] for position in torch.where(ids == self.constants["mask_token_id"])[0].tolist()]

    def choices(self, config: PreTrainedConfig) -> int:
        """See [`Task.choices`]: none."""
        return 0

    def choice_names(self, config: PreTrainedConfig) -> list[str]:
        """See [`Task.choice_names`]: none."""
        return []

    @property
    def knows_positions(self) -> bool:
        """See [`Task.knows_positions`]."""
        return True

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """See [`Task.positions`]: `P` is 1, the mask token."""
        marked = recorded.batch.explained
        if marked is None:
            raise DiffMaskError("It is not said which mask token is explained: give `explained_mask`.")
        weights = marked.float()
        return (weights / weights.sum(-1, keepdim=True))[:, None]

    def readable(
        self,
        windows: list[Window],
        encoded: EncodedText,
        config: PreTrainedConfig,
        cost: Cost,
        choice: int | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], Check | None]:
        """See [`Task.readable`]: `label`, the predicted token, its `score`, `top`, the best tokens with their scores,
        and the mask token as `word` with its `start` and `end`.
        """
        (window,) = windows
        top_k = {**self.options, **options}["top_k"]
        if not 1 <= top_k <= window["target"].shape[-1]:
            raise DiffMaskError(f"`top_k` must be from 1 to {window['target'].shape[-1]}, but is {top_k}.")
        assert encoded.token_of is not None
        logs, numbers = window["target"][0].topk(top_k)
        top = [
            {"label": encoded.token_of(number), "score": score}
            for number, score in zip(numbers.tolist(), logs.exp().tolist(), strict=True)
        ]
        (place,) = window["explained"]
        start, end = encoded.offsets[place]
        word = encoded.texts[0][start:end]
        prediction = {**top[0], "top": top, "word": word, "start": start, "end": end}
        if "masked" not in window:
            return prediction, None
        target, masked = window["target"], window["masked"]
        divergence = max(self.divergence(target, masked).item(), 0.0)
        return prediction, Check(
            divergence, bool(self.agreement(target, masked)), max(cost(target, masked, None).item(), 0.0)
        )

    def distribution(self, windows: list[Window], config: PreTrainedConfig) -> dict[str, float]:
        """See [`Task.distribution`]: none, since a vocabulary is no set of labels."""
        return {}

    def headline(self, result: Mapping[str, Any]) -> str:
        """See [`Task.headline`]: the predicted token."""
        return f'"{result["label"]}" for {result["word"]}'

    def group(self, token: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        """See [`Task.group`]: special tokens, mask tokens among them, and the context."""
        return "special tokens" if token["special"] else "context"

    def card_inputs(self, pairs: bool) -> list[Any]:
        """See [`Task.card_inputs`]."""
        return list(SENTENCES)

    def card_example(self, pairs: bool) -> str:
        """See [`Task.card_example`]."""
        return '"The baker takes the [MASK] out of the oven."'


SENTENCES = (
    "The baker takes the [MASK] out of the oven.",
    "In winter the lake is covered with [MASK].",
)
