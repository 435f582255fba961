"""Token classification: the label of a token or of an entity, explained by all tokens."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification, PreTrainedConfig, PreTrainedTokenizerBase

from ..base.running import Recorded
from ..data.encoding import EncodedText, Text
from ..errors import DiffMaskError
from .heads import has_head, widen
from .text_classification import TextClassification
from .words import Check, Cost, Window

OUTSIDE = "O"
"""The label of tokens that are part of no entity."""


class TokenClassification(TextClassification):
    """The output is the log-probability of each type at the explained tokens, `(B, C)`, in nats. Choices are types.

    A *type* is a label without the prefix `B-` or `I-`. The probability of a type is that of its labels together, and
    for several tokens, such as an entity, the mean over tokens. Without explained tokens the output is the
    log-probability of each label at each token, `(B, T, L)`. The constant `types` holds the number of each label's
    type.
    """

    name = "token-classification"
    auto_class = AutoModelForTokenClassification
    described = "token classifiers"
    drop_words = "a drop of the label's probability"
    falls_words = "the label's probability falls"
    nothing = "no entity"
    at_positions = True

    @classmethod
    def fits(cls, class_names: Iterable[str], config: PreTrainedConfig) -> bool:
        """See [`Task.fits`]: a token classifier with at least two labels."""
        return config.num_labels > 1 and has_head(class_names, cls.auto_class)

    @classmethod
    def given_constants(
        cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> dict[str, Any]:
        """See [`Task.given_constants`]: `types`, the number of each label's type."""
        names = _types(config)
        return {"types": [names.index(_tag(config.id2label[label])[1]) for label in range(config.num_labels)]}

    def check(self, item: Any, what: str) -> Text:
        """See [`Task.check`]: one text."""
        text = super().check(item, what)
        if not isinstance(text, str):
            raise DiffMaskError(f"{what} is a pair of texts: tokens are classified in one text.")
        return text

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        labels = F.log_softmax(widen(output.logits), dim=-1)
        return labels if explained is None else self.target_at(labels, explained)

    def target_at(self, target: Tensor, explained: Tensor) -> Tensor:
        """See [`Task.target_at`]: the mean probability of each type over the explained tokens."""
        type_of = torch.tensor(self.constants["types"], device=target.device)
        count, marked = int(type_of.max()) + 1, explained.bool()
        if count < len(type_of):
            of_each = [target[..., type_of == number].logsumexp(-1) for number in range(count)]
            target = torch.stack(of_each, dim=-1)
        # Outputs at padding may be NaN.
        chosen = target.masked_fill(~marked[..., None], -torch.inf)
        return chosen.logsumexp(1) - marked.sum(1, keepdim=True).log()

    def parts(self, target: Tensor, ids: Tensor, special: Tensor, config: PreTrainedConfig) -> list[list[int]]:
        """See [`Task.parts`]: entities, as the pipeline of Transformers groups them (`aggregation_strategy="simple"`).

        Neighbours of one type are one entity. A label with the prefix `B-` begins another. Tokens with the label `O`
        are no entity.
        """
        found: list[tuple[str, list[int]]] = []
        before = None
        for position, label in enumerate(target.argmax(-1).tolist()):
            if special[position]:
                continue
            begins, name = _tag(config.id2label[label])
            if name == before and not begins:
                found[-1][1].append(position)
            else:
                found.append((name, [position]))
            before = name
        return [positions for name, positions in found if name != OUTSIDE]

    def choices(self, config: PreTrainedConfig) -> int:
        """See [`Task.choices`]."""
        return len(_types(config))

    def choice_names(self, config: PreTrainedConfig) -> list[str]:
        """See [`Task.choice_names`]: the types."""
        return _types(config)

    @property
    def knows_positions(self) -> bool:
        """See [`Task.knows_positions`]."""
        return True

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """See [`Task.positions`]: `P` is 1, the explained tokens."""
        marked = recorded.batch.explained
        if marked is None:
            raise DiffMaskError("It is not said which tokens are explained: give `explained_mask`.")
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
        """See [`Task.readable`]: `label`, `score`, and the explained `word` with its `start` and `end`."""
        (window,) = windows
        prediction, check = super().readable(windows, encoded, config, cost, choice, **options)
        spans = [encoded.offsets[unit] for unit in window["explained"]]
        start, end = min(first for first, _ in spans), max(last for _, last in spans)
        return {**prediction, "word": encoded.texts[0][start:end], "start": start, "end": end}, check

    def headline(self, result: Mapping[str, Any]) -> str:
        """See [`Task.headline`]: label and word."""
        return f'{result["label"]}: "{result["word"]}"'

    def group(self, token: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        """See [`Task.group`]: special tokens, explained tokens, context."""
        if token["special"]:
            return "special tokens"
        is_explained = token["start"] < result["end"] and token["end"] > result["start"]
        return "explained tokens" if is_explained else "context"

    def card_inputs(self, pairs: bool) -> list[Any]:
        """See [`Task.card_inputs`]."""
        return list(SENTENCES)

    def card_example(self, pairs: bool) -> str:
        """See [`Task.card_example`]."""
        return '"Ada Lindt moved from Bremen to Oslo."'


SENTENCES = (
    "Ada Lindt moved from Bremen to Oslo.",
    "The harbour office of Porto hired Tomas Vale in May.",
)


def _tag(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and its type. Without a prefix a label is a type, and begins none."""
    has_prefix = label.startswith(("B-", "I-"))
    return label.startswith("B-"), label[2:] if has_prefix else label


def _types(config: PreTrainedConfig) -> list[str]:
    """Types of the labels, in the order of their numbers."""
    return list(dict.fromkeys(_tag(config.id2label[label])[1] for label in range(config.num_labels)))
