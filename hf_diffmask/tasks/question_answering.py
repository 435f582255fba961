"""Extractive question answering: start and end of an answer in a context."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForQuestionAnswering, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from ..base.running import Recorded
from ..data.encoding import EncodedText, Text, encode
from ..data.squad import load_if_squad
from ..errors import DiffMaskError
from .answers import answers, window_of
from .heads import widen
from .task import Task
from .words import Check, Cost, Window

logger = logging.get_logger(__name__)

# Log-probability at padding. Finite, because the divergence would be undefined with -inf.
NEVER = -1e4
SHORTEST_CONTEXT = 8  # least room for the context in a window, in tokens


class QuestionAnswering(Task):
    """The output is the log-probability of each unit as start and as end, `(B, 2, T)`, in nats: -10,000 at padding.

    There are no choices.
    """

    name = "question-answering"
    auto_class = AutoModelForQuestionAnswering
    described = "extractive question answering"
    divergence_words = f"{Task.divergence_words}, of start and end together"
    field = "answer"
    by_unit = True
    padding = NEVER
    has_choices = False
    value_bounds = (-8.0, 8.0)
    columns = ("question", "context")
    options = {"top_k": 0, "max_answer_length": 30, "handle_impossible_answer": False}  # noqa: RUF012

    def check(self, item: Any, what: str) -> tuple[str, str]:
        """See [`Task.check`]: `{"question": ..., "context": ...}`, or a pair of both."""
        if isinstance(item, Mapping):
            names = ("text", "text_pair") if "text_pair" in item else self.columns
            item = tuple(item.get(name) for name in names)
        if not isinstance(item, tuple) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise DiffMaskError(f'{what} is no question with a context: give {{"question": ..., "context": ...}}.')
        for name, part in zip(("question", "context"), item, strict=True):
            if not part.strip():
                raise DiffMaskError(f"{what} has an empty {name}: give one with at least one visible character.")
        return str(item[0]), str(item[1])  # NumPy's texts become plain ones

    def read(self, dataset: str, limit: int | None = None) -> list[Text] | None:
        """See [`Task.read`]: a file in SQuAD format."""
        questions = load_if_squad(dataset)
        return None if questions is None else [(one.question, one.context) for one in questions[:limit]]

    def check_room(self, encoded: EncodedText, length: int, what: str = "The input") -> None:
        """See [`Task.check_room`]: each window must hold the whole question."""
        if not has_room(encoded, length):
            raise DiffMaskError(
                f"{what}: the question that begins with {encoded.texts[0][:40]!r} takes {encoded.segments.count(0)} "
                f"tokens, and the base model's window of {length} has room for "
                f"{(length - encoded.segments.count(None)) // 2} beside the context: ask a shorter one."
            )

    def with_room(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], length: int) -> list[Text]:
        """See [`Task.with_room`]: inputs with a question that fits into each window."""
        texts = list(texts)
        fitting = [pair for pair in texts if has_room(encode(tokenizer, pair), length)]
        if not fitting:
            raise DiffMaskError(
                f"No question fits into the base model's window of {length} tokens: give shorter ones."
            )
        if len(fitting) < len(texts):
            logger.warning(
                f"{len(texts) - len(fitting)} of {len(texts)} questions leave no room for a context in a window of "
                f"{length} tokens and are left out."
            )
        return fitting

    def target(self, output: Any, attention_mask: Tensor | None = None, explained: Tensor | None = None) -> Tensor:
        """See [`Task.target`]."""
        logits = widen(torch.stack([output.start_logits, output.end_logits], dim=1))
        if attention_mask is None:
            return F.log_softmax(logits, dim=-1)
        padding = ~attention_mask.bool()[:, None]
        return F.log_softmax(logits.masked_fill(padding, NEVER), dim=-1).masked_fill(padding, NEVER)

    def divergence(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.divergence`]: the divergence of the start plus the divergence of the end."""
        return F.kl_div(masked, target, reduction="none", log_target=True).flatten(1).sum(-1)

    def agreement(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.agreement`]: the most probable start and end are unchanged."""
        return (target.argmax(-1) == masked.argmax(-1)).all(-1)

    def confidence(self, target: Tensor) -> Tensor:
        """See [`Task.confidence`]: the mean log-odds of the most probable start and end."""
        return _log_odds(target, target.argmax(-1, keepdim=True)).mean(-1)

    def log_probability(self, target: Tensor, masked: Tensor) -> Tensor:
        """See [`Task.log_probability`]: sum for start and end."""
        return masked.gather(-1, target.argmax(-1, keepdim=True))[..., 0].sum(-1)

    def value(self, target: Tensor, masked: Tensor, choice: Tensor | None = None) -> Tensor:
        """See [`Task.value`]: log-odds of the predicted start and end together, drawn independently."""
        span = masked.gather(-1, target.argmax(-1, keepdim=True))[..., 0].double().sum(-1)
        return (span - torch.log(-torch.expm1(span.clamp(max=-1e-12)))).to(masked.dtype)

    @property
    def knows_positions(self) -> bool:
        """See [`Task.knows_positions`]."""
        return True

    def positions(self, recorded: Recorded, asked: Tensor | None = None) -> Tensor:
        """See [`Task.positions`]: `P` is 2, the predicted start and the predicted end."""
        return F.one_hot(recorded.target.argmax(-1), recorded.target.shape[-1]).float()

    def readable(
        self,
        windows: list[Window],
        encoded: EncodedText,
        config: PreTrainedConfig,
        cost: Cost,
        choice: int | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], Check | None]:
        """See [`Task.readable`]: `answer`, its `start` and `end` in the context, and `score`; with `top_k`, `answers`.

        The check compares outputs for the window that the answer comes from.
        """
        settings = {**self.options, **options}
        top_k = settings.pop("top_k") or 0
        if top_k < 0:
            raise DiffMaskError(f"`top_k` must be 0 or more, but is {top_k}.")
        found = answers(windows, "target", encoded, max(1, top_k), **settings)
        listed = [
            {"answer": answer.text, "start": answer.start, "end": answer.end, "score": answer.score}
            for answer in found
        ]
        prediction = {**listed[0], **({"answers": listed} if top_k else {})}
        if "masked" not in windows[0]:
            return prediction, None
        (again,) = answers(windows, "masked", encoded, 1, **settings)
        window = windows[window_of(found[0], windows, encoded)]
        # In this order, `max` returns a NaN.
        divergence = max(self.divergence(window["target"], window["masked"]).item(), 0.0)
        moved = max(cost(window["target"], window["masked"], None).item(), 0.0)
        return prediction, Check(divergence, again[:2] == found[0][:2], moved)

    def headline(self, result: Mapping[str, Any]) -> str:
        """See [`Task.headline`]."""
        return str(result["answer"] or "(no answer)")

    def quoted(self, result: Mapping[str, Any]) -> str:
        """See [`Task.quoted`]."""
        return f'"{result["answer"]}"'

    def group(self, token: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        """See [`Task.group`]: special tokens, question, passage, predicted answer."""
        if token["special"]:
            return "special tokens"
        if token["segment"] == 0:
            return "question"
        in_answer = token["start"] < result["end"] and token["end"] > result["start"]
        return "predicted answer" if in_answer else "passage"

    def card_inputs(self, pairs: bool) -> list[Any]:
        """See [`Task.card_inputs`]."""
        return list(QUESTIONS)

    def card_example(self, pairs: bool) -> str:
        """See [`Task.card_example`]."""
        return '{"question": "When was the mill sold?", "context": "The mill was sold in 1902."}'


QUESTIONS = (
    {
        "question": "When was the mill sold?",
        "context": "The mill on the river was sold in 1902, after the second flood.",
    },
    {
        "question": "Who keeps the bees?",
        "context": "My aunt keeps bees behind the house, and her neighbour sells the honey.",
    },
)


def has_room(encoded: EncodedText, length: int) -> bool:
    """
    Whether each window can hold the whole question and either the whole context or half a window, at least 8 tokens.

    Args:
        encoded ([`EncodedText`]): Question and context.
        length (`int`): Tokens that fit into a window, special tokens included.

    Returns:
        `bool`
    """
    room = length - encoded.segments.count(None)
    context = min(encoded.segments.count(1), max(SHORTEST_CONTEXT, room - room // 2))
    return encoded.segments.count(0) + context <= room


def _log_odds(logs: Tensor, chosen: Tensor) -> Tensor:
    """Log-odds of the chosen start and end, `(B, 2)`, from log-probabilities `(B, 2, T)`."""
    others = logs.scatter(-1, chosen, float("-inf")).logsumexp(-1)
    return logs.gather(-1, chosen)[..., 0] - others
