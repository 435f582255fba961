"""Sentence embeddings: what keeps the embedding of a text."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedConfig, PreTrainedTokenizerBase

from ..base.head import head_weights
from ..base.pooling import pooling_of
from ..base.running import Recorded
from ..data.encoding import EncodedText, Text
from ..data.merging import length_weighted
from ..errors import DiffMaskError
from .heads import model_classes, widen
from .task import Task
from .words import Check, Cost, Window, printed

ALIKE = 0.9
"""Least cosine similarity of embeddings that count as unchanged."""
SCALE = 4.0
"""Evidence for a cosine similarity of 1. Over masks, sums of evidence then vary as much as log-odds, which the recipe
is made for: the similarity under random masks has a standard deviation of about 1/4."""
EMBEDDING = "embedding"


class SentenceSimilarity(Task):
    """The output is the embedding, `(B, d)`, of length 1. There are no choices.

    What is explained is the cosine similarity of the embedding to that of the whole text. The constant `reads` names
    the positions that are pooled.
    """

    name = "sentence-similarity"
    auto_class = AutoModel
    described = "encoders without a head, for sentence embeddings"
    measured_in = "1 - cosine"
    divergence_words = "1 less the cosine similarity of the embeddings of the whole and of the masked input"
    has_choices = False

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """See [`Task.fits`]: a model of text without a head, and without a decoder of its own."""
        is_text = getattr(config, "vocab_size", None) and not config.is_encoder_decoder
        return bool(is_text) and not model_classes(cls.auto_class).isdisjoint(class_names)

    @classmethod
    def given_constants(
        cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> dict[str, Any]:
        """See [`Task.given_constants`]: `reads`, as Sentence Transformers saved it, else `"mean"`."""
        return {"reads": pooling_of(config.name_or_path)}

    def check(self, item: Any, what: str) -> Text:
        """See [`Task.check`]: one text."""
        text = super().check(item, what)
        if not isinstance(text, str):
            raise DiffMaskError(f"{what} is a pair of texts: each has an embedding of its own, so give one.")
        return text

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        hidden = widen(output.last_hidden_state)
        units = torch.ones_like(hidden[..., 0]) if attention_mask is None else attention_mask
        weights = head_weights(self.constants["reads"], units).to(hidden.dtype)
        # States at padding may be NaN.
        pooled = weights[:, None] @ hidden.masked_fill(weights[..., None] == 0, 0.0)
        return F.normalize(pooled[:, 0], dim=-1)

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.divergence`]: 1 less the cosine similarity."""
        return (1 - self.value(target, masked)).clamp(min=0)

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.agreement`]: the cosine similarity is at least 0.9."""
        return self.value(target, masked) >= ALIKE

    def confidence(self, target: Tensor) -> Tensor:
        """See [`Task.confidence`]: 0, since an embedding says nothing of how sure it is."""
        return torch.zeros_like(target[:, 0])

    def log_probability(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.log_probability`]: the cosine similarity, which takes its place."""
        return self.value(target, masked)

    def value(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """See [`Task.value`]: the cosine similarity to the embedding of the whole input."""
        return (masked * target).sum(-1)

    def log_odds(self, kept: Tensor) -> Tensor:
        """See [`Task.log_odds`]: the cosine similarity, scaled by `SCALE`."""
        return kept * SCALE

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """See [`Task.positions`]: `P` is 1; `task_constants["reads"]` names the positions."""
        return head_weights(self.constants.get("reads"), recorded.batch.units)[:, None]

    def readable(
        self,
        windows: list[Window],
        encoded: EncodedText,
        config: PreTrainedConfig,
        cost: Cost,
        choice: int | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], Check | None]:
        """See [`Task.readable`]: `label`, always "embedding", and `score`, the similarity under the mask.

        The embedding of several windows is their mean, weighted by length. Without a masked pass `score` is 1.
        """
        target = F.normalize(length_weighted(windows, "target"), dim=-1)
        if "masked" not in windows[0]:
            return {"label": EMBEDDING, "score": 1.0}, None
        masked = F.normalize(length_weighted(windows, "masked"), dim=-1)
        check = Check(
            self.divergence(target, masked).item(),
            bool(self.agreement(target, masked)),
            cost(target, masked, None).item(),
        )
        return {"label": EMBEDDING, "score": self.value(target, masked).item()}, check

    def moved(self, result: Mapping[str, Any]) -> str:
        """See [`Task.moved`]: the distance of the embeddings."""
        return f"the embedding by {printed(result['divergence'], result.get('margin'))} ({self.measured_in})"
