"""Predictions of a task in results, pages and cards. The defaults are for classes."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor
from transformers import PreTrainedConfig

from ..data.encoding import EncodedText


class Check(NamedTuple):
    """Comparison of the outputs for the masked and the whole input."""

    divergence: float
    """In the unit [`Task.measured_in`]."""
    same_prediction: bool
    cost: float
    """The cost that the margin bounds: the divergence, or the drop of the explained choice."""


# Outputs for the whole and the masked input, and choices `(B,)`, to costs `(B,)`.
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


def printed(cost: float, margin: float | None = None) -> str:
    """
    A cost as text: three digits after the point, or as many as it takes to show on which side of the margin it is.

    Args:
        cost (`float`): The cost of a mask.
        margin (`float`, *optional*): The margin that the cost is compared with.

    Returns:
        `str`: For example `"0.021"`; with a margin of 0.1 `"0.10004"` instead of `"0.100"`.
    """
    digits = 3
    while margin is not None and digits < 30 and (float(f"{cost:.{digits}f}") <= margin) != (cost <= margin):
        digits += 1
    text = f"{cost:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def margin_words(margin: float) -> str:
    """
    A margin as text, without rounding.

    Args:
        margin (`float`): The margin.

    Returns:
        `str`: For example `"0.1"`.
    """
    short = f"{margin:g}"
    return short if float(short) == margin else repr(float(margin))


class TaskWords:
    """The part of [`Task`] that users see."""

    name: ClassVar[str]
    measured_in: ClassVar[str] = "nats"
    """Unit of the divergence."""
    field: ClassVar[str] = "label"
    """The field of a result that holds the prediction."""
    divergence_words: ClassVar[str] = (
        "Kullback-Leibler divergence in nats between the outputs on the whole and on the masked input"
    )
    """The divergence in words, after "mean"."""
    options: ClassVar[dict[str, Any]] = {}
    """Further arguments of [`Task.readable`] for this task, with their defaults."""
    drop_words: ClassVar[str] = "a drop of the class's probability"
    """The cost in words if one choice is explained."""
    nothing: ClassVar[str] = "no label above 0.5"
    """What the base model finds in a text without any result, after "finds"."""
    falls_words: ClassVar[str] = "the class's probability falls"
    """The cost as a clause, before "by"."""

    @property
    def pipeline_tag(self) -> str:
        """The Hub's name for the task (`str`)."""
        return self.name

    def card_inputs(self, pairs: bool) -> list[Any]:
        """
        Example inputs for a card, shown with their attributions.

        Args:
            pairs (`bool`): Whether the base model takes pairs.

        Returns:
            `list`: Inputs of the pipeline.
        """
        return list(PAIRS if pairs else SENTENCES)

    def card_example(self, pairs: bool) -> str:
        """
        An input as Python code, for a card.

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
        The prediction for an input of one or more windows, and its comparison with a masked pass.

        Args:
            windows (`list[dict]`): For each window its `units` and `target`, the output `(1, ...)`; `masked`, the
                output for the masked window, if there was a masked pass.
            encoded ([`EncodedText`]): The whole input.
            config ([`~transformers.PreTrainedConfig`]): The base model's config.
            cost (`Callable`): Computes the cost that the margin bounds, see [`Preserved.cost`].
            choice (`int`, *optional*): The choice to explain; by default the predicted one.
            options: Options of the task, see [`Task.options`].

        Returns:
            `tuple`: Fields of the pipeline's result that hold the prediction, and a [`Check`] if there was a masked
            pass.
        """
        raise NotImplementedError

    def distribution(self, windows: list[Window], config: PreTrainedConfig) -> dict[str, float]:
        """
        Probabilities by label.

        Args:
            windows (`list[dict]`): As for [`Task.readable`].
            config ([`~transformers.PreTrainedConfig`]): The base model's config.

        Returns:
            `dict[str, float]`: Empty for a task without labels.
        """
        return {}

    def held_names(self, prediction: Mapping[str, Any]) -> list[str]:
        """
        Names of the choices that hold, the most probable first.

        Args:
            prediction (`Mapping`): Fields of a result that hold the prediction.

        Returns:
            `list[str]`: By default the predicted one.
        """
        return [str(prediction["label"])]

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
        Change of the output under a mask, in words after "moves".

        Args:
            result (`Mapping`): A result of the pipeline with a check.

        Returns:
            `str`: Unescaped.
        """
        margin = result.get("margin")
        if "drop" in result:
            drop = printed(result["drop"], margin)
            change = f"+{drop[1:]}" if drop.startswith("-") else f"-{drop}" if float(drop) else drop
            return f"the probability of {result.get('explained_label', result.get('label'))} by {change}"
        return f"the output by {printed(result['divergence'], margin)} {self.measured_in}"

    def group(self, token: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        """
        Group of a token, for sums over tokens.

        Args:
            token (`Mapping`): A token of `result`.
            result (`Mapping`): A result of the pipeline.

        Returns:
            `str`
        """
        if token["special"]:
            return "special tokens"
        return "ordinary tokens" if "segment" not in token else ("first text", "second text")[token["segment"]]
