"""The service behind the page and its endpoints: limits, and one thread that runs the models."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DiffMaskError
from ..pipeline.results import results_in
from ..pipeline.what_if import what_if
from .arguments import check_kept, check_margin, check_on_violation, check_span, check_string, check_text
from .batching import Batcher
from .compared import compare
from .files import read_rows
from .settings import Settings
from .shelf import Held, Shelf

# ZeroGPU needs a mark on the function that runs models. Elsewhere the package is missing, or its mark does nothing.
if importlib.util.find_spec("spaces"):
    import spaces

    on_gpu = spaces.GPU
else:

    def on_gpu(function: Any) -> Any:
        """Leaves the function as is, without ZeroGPU."""
        return function


class Service:
    """
    Explains, masks and compares for many visitors at once.

    One thread runs all models, since threads would only share its cores. Waiting requests with the same explainer and
    options run as one batch.

    Args:
        settings ([`Settings`]): The explainers and the limits.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.shelf = Shelf(settings)
        self.batcher = Batcher(_run, settings.batch_size)
        first = self.shelf.get("").explain.model.task.card_inputs(pairs=False)[0]
        list(self.batch([self._input(*([first] if isinstance(first, str) else first.values()))]))  # warm

    def explain(
        self,
        text: str,
        pair: str = "",
        explainer: str = "",
        margin: float | None = None,
        state: str | int | None = None,
        on_violation: str = "keep",
        span: list[int] | None = None,
    ) -> dict[str, Any]:
        """
        Explains a prediction.

        Args:
            text (`str`): The text, or the question.
            pair (`str`, *optional*): Second text of a pair, or the context of the question.
            explainer (`str`, *optional*): See [`Shelf.get`].
            margin (`float`, *optional*): Largest cost of the mask; by default the explainer's margin.
            state (`str` or `int`, *optional*): The state with the mask to return; by default the last.
            on_violation (`str`, *optional*): See [`DiffMaskAttributionPipeline`].
            span (`list[int]`, *optional*): For token classification: start and end of the tokens to explain, in
                characters; by default the first entity.

        Returns:
            `dict`: The pipeline's result. For token classification without `span` also `parts`, a list of `{label,
            word, start, end}`, one for each entity.

        Raises:
            DiffMaskError: If a limit is exceeded, or the pipeline refuses.
        """
        check_margin(margin)
        check_on_violation(on_violation)
        check_span(span)
        item, held = self._input(text, pair), self._held(explainer)
        options = {"margin": margin, "state": state, "on_violation": on_violation, "targets": span and (tuple(span),)}
        key = ("explain", held, tuple(sorted((name, v) for name, v in options.items() if v is not None)))
        found = results_in(self.batcher(key, item, self.settings.seconds))
        if not found:
            raise DiffMaskError(f"The base model finds {held.explain.model.task.nothing} in this text.")
        if held.explain.model.task.at_positions and span is None:
            found[0]["parts"] = [{name: one[name] for name in ("label", "word", "start", "end")} for one in found]
        return found[0]

    def what_if(
        self,
        text: str,
        kept: list[int],
        pair: str = "",
        explainer: str = "",
        state: int = -1,
        span: list[int] | None = None,
    ) -> dict[str, Any]:
        """
        Predicts from chosen tokens.

        Args:
            text (`str`): The text, or the question.
            kept (`list[int]`): Numbers of the tokens to keep.
            pair (`str`, *optional*): Second text of a pair, or the context of the question.
            explainer (`str`, *optional*): See [`Shelf.get`].
            state (`int`, *optional*, defaults to the last): With hidden masking, the number of the state to mask.
            span (`list[int]`, *optional*): For token classification: start and end of the explained tokens.

        Returns:
            `dict`: See [`~hf_diffmask.pipeline.what_if.what_if`].

        Raises:
            DiffMaskError: If a limit is exceeded, or a token does not exist.
        """
        check_kept(kept)
        check_span(span)
        item, held = self._input(text, pair), self._held(explainer)
        asked = (item, kept, state, span, self.settings.tokens)
        return self.batcher(("what_if", held), asked, self.settings.seconds)

    def compare(
        self, text: str, pair: str = "", explainer: str = "", span: list[int] | None = None
    ) -> list[dict[str, Any]]:
        """
        Explains a prediction by DiffMask, leave-one-out and Integrated Gradients.

        Args:
            text (`str`): The text.
            pair (`str`, *optional*): Second text of a pair.
            explainer (`str`, *optional*): See [`Shelf.get`].
            span (`list[int]`, *optional*): For token classification: start and end of the explained tokens; by default
                the first entity.

        Returns:
            `list[dict]`: For each method: `method`; `tokens`, each with `token`, `score` and `special`; `passes` of
            the base model, forward and backward; `seconds`; `bare_seconds`, for one forward pass in the same run; and
            for texts with enough tokens `comprehensiveness` and `sufficiency`, with tokens removed from the attention.

        Raises:
            DiffMaskError: If a limit is exceeded, or the explainer is not for a classifier.
        """
        item, held = self._input(text, pair), self._held(explainer)
        if held.plain is None:
            raise DiffMaskError("Methods are compared for classifiers only: choose an explainer of one.")
        check_span(span)
        return self.batcher(("compare", held), (item, self.settings.tokens, span), self.settings.seconds)

    def read(self, path: str | Path, column: str = "", pair_column: str = "") -> list[Any]:
        """
        Inputs from the texts of a file.

        Args:
            path (`str` or `Path`): A csv, jsonl or parquet file.
            column (`str`, *optional*): The column of the texts; an empty name means `"text"`.
            pair_column (`str`, *optional*): The column of second texts; by default none.

        Returns:
            `list`: Inputs of the pipeline.

        Raises:
            DiffMaskError: If the file cannot be read, is too large or lacks a column, or a row is empty or too long.
        """
        found = []
        for number, texts in enumerate(read_rows(Path(path), column, pair_column, self.settings), start=1):
            try:
                found.append(self._input(*texts))
            except DiffMaskError as error:
                raise DiffMaskError(f"Row {number}: {error}") from None
        return found

    def batch(self, inputs: list[Any], explainer: str = "", seconds: float = 0.0) -> Iterator[dict[str, Any]]:
        """
        Explains many inputs in parts; other requests run between two parts.

        Args:
            inputs (`list`): See [`Service.read`].
            explainer (`str`, *optional*): See [`Shelf.get`].
            seconds (`float`, *optional*, defaults to 0):
                Time that reading took. It counts towards the time limit of the first part.

        Yields:
            `dict` or `list[dict]`: What the pipeline returns for each input.

        Raises:
            DiffMaskError: If the explainer is not served, or a limit is exceeded.
        """
        held = self._held(explainer)
        for start in range(0, len(inputs), self.settings.batch_size):
            part = inputs[start : start + self.settings.batch_size]
            yield from self.batcher(("part", held), part, self.settings.seconds, 0.0 if start else seconds)

    def _input(self, text: str, pair: str = "") -> dict[str, str]:
        return check_text(text, pair, self.settings.characters)

    def _held(self, explainer: str) -> Held:
        check_string("explainer", explainer)
        return self.shelf.get(explainer)


@on_gpu
def _run(key: tuple[Any, ...], items: list[Any]) -> list[Any]:
    """Runs requests of one kind for one explainer."""
    what, held = key[:2]
    if what == "explain":
        return _explained(held, items, **dict(key[2]))
    if what == "part":
        return [_explained(held, part) for part in items]
    if what == "what_if":
        return [_masked(held, *asked) for asked in items]
    return [compare(held, *asked) for asked in items]


def _explained(held: Held, inputs: list[dict[str, str]], **options: Any) -> list[dict[str, Any]]:
    """Results of inputs, run as one batch if the tokenizer has a padding token."""
    return held.explain(
        inputs, batch_size=1 if held.explain.tokenizer.pad_token_id is None else len(inputs), **options
    )


def _masked(
    held: Held, item: dict[str, str], kept: list[int], state: int, span: list[int] | None, most: int
) -> dict[str, Any]:
    """The predictions of a request, if the text has at most `most` tokens."""
    if (count := len(held.encoded(item).tokens)) > most:
        raise DiffMaskError(f"The text has {count} tokens, and tokens are chosen from up to {most}.")
    return what_if(held.explain, item, kept, state, span=None if span is None else (span[0], span[1]))
