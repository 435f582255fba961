"""How a task shows its predictions, in results, pages and cards. The defaults are those of classes."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor
from transformers import PreTrainedConfig

from ..data.encoding import EncodedText


class Check(NamedTuple):
    """How the output on a masked input compares with the output on the whole one."""

    divergence: float
    """In the task's own unit, see [`Task.measured_in`]."""
    same_prediction: bool
    cost: float
    """What the margin bounds: the divergence, or the drop of the choice that is explained."""


# Cost of masked outputs: from outputs on the whole input, on the masked input, and choices `(B,)`, to `(B,)`.
Cost = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Window = dict[str, Any]


SENTENCES = (
    "a warm and quietly funny film",
    "The parcel came late, but the shop answered at once.",
    "After ten minutes nobody in the room was listening any more.",
)
PAIRS = (
    {"text": "A man repairs a boat.", "text_pair": "Somebody is at work."},
    {"text": "Two children run over a meadow.", "text_pair": "The children are asleep."},
)


class TaskWords:
    """The part of [`Task`] that users see."""

    name: ClassVar[str]
    measured_in: ClassVar[str] = "nats"
    """Unit of the divergence."""
    field: ClassVar[str] = "label"
    """The field of a result that states the prediction."""
    divergence_words: ClassVar[str] = (
        "Kullback-Leibler divergence in nats between the outputs on the whole and on the masked input"
    )
    """What the divergence is, in words that follow "mean"."""
    options: ClassVar[dict[str, Any]] = {}
    """Arguments of [`Task.readable`] that this task takes, with their defaults."""
    drop_words: ClassVar[str] = "a drop of the class's probability"
    """What the margin bounds where one choice is explained."""
    falls_words: ClassVar[str] = "the class's probability falls"
    """The same as a clause, which "by" follows."""

    @property
    def pipeline_tag(self) -> str:
        """Task of the base model in the Hub's own terms (`str`)."""
        return self.name

    def card_inputs(self, pairs: bool) -> list[Any]:
        """
        Inputs of our own, which a card shows with their attributions.

        Args:
            pairs (`bool`): Whether the base model takes pairs.

        Returns:
            `list`: Inputs of the pipeline.
        """
        return list(PAIRS if pairs else SENTENCES)

    def card_example(self, pairs: bool) -> str:
        """
        An input as Python code, for the example in a card.

        Args:
            pairs (`bool`): Whether the base model takes pairs.

        Returns:
            `str`
        """
        if pairs:
            return '{"text": "A man repairs a boat.", "text_pair": "Somebody is at work."}'
        return '"a warm and quietly funny film"'

    def readable(
        self,
        windows: list[Window],
        encoded: EncodedText,
        config: PreTrainedConfig,
        cost: Cost,
        choice: int | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], Check | None]:
        """
        The prediction for an input of one or more windows, and how a masked pass compares.

        Args:
            windows (`list[dict]`): For each window its `units` and `target`, an output `(1, ...)`; and `masked`, the
                output on the masked window, if it was run.
            encoded ([`EncodedText`]): The whole input.
            config ([`~transformers.PreTrainedConfig`]): The base model's.
            cost (`Callable`): What the margin bounds.
            choice (`int`, *optional*): The choice that is explained; by default the predicted one.
            options: Of [`Task.options`].

        Returns:
            `tuple`: Fields of the pipeline's result that state the prediction, and a [`Check`] if there was a masked
            pass.
        """
        raise NotImplementedError

    def distribution(self, windows: list[Window], config: PreTrainedConfig) -> dict[str, float]:
        """
        Probabilities by label.

        Args:
            windows (`list[dict]`): As for [`Task.readable`].
            config ([`~transformers.PreTrainedConfig`]): The base model's.

        Returns:
            `dict[str, float]`: Empty where there is no label.
        """
        return {}

    def headline(self, result: Mapping[str, Any]) -> str:
        """
        The prediction in one line.

        Args:
            result (`Mapping`): A result of the pipeline.

        Returns:
            `str`: Unescaped.
        """
        return str(result["label"])

    def quoted(self, result: Mapping[str, Any]) -> str:
        """
        The prediction as a cell of a table.

        Args:
            result (`Mapping`): A result of the pipeline.

        Returns:
            `str`: Unescaped.
        """
        return self.headline(result)

    def moved(self, result: Mapping[str, Any]) -> str:
        """
        How far a mask moves the output, in words that follow "moves".

        Args:
            result (`Mapping`): A result of the pipeline that holds a check.

        Returns:
            `str`: Unescaped.
        """
        if "drop" in result:
            return f"the probability of {result.get('explained_label', result.get('label'))} by {-result['drop']:+.3f}"
        return f"the output by {result['divergence']:.3f} {self.measured_in}"

    def group(self, token: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        """
        The group that a token counts in where tokens are summed up.

        Args:
            token (`Mapping`): A token of `result`.
            result (`Mapping`): A result of the pipeline.

        Returns:
            `str`
        """
        if token["special"]:
            return "special tokens"
        return "ordinary tokens" if "segment" not in token else ("first text", "second text")[token["segment"]]
