"""Handlers for the events of the page."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ..display.grid import grid
from ..errors import DiffMaskError
from . import views
from .files import write_results
from .service import Service
from .settings import CONCURRENCY, Settings
from .tabs import Layout

BATCHES = 4  # files that run at the same time

Explained = dict[str, Any]
"""The explained input: `text`, `pair`, `explainer`, and `order`, numbers of ordinary tokens, highest score first."""


class Handlers:
    """
    Handlers for the page's events. Each returns new values for its outputs, in the order in [`connect`].

    For a [`DiffMaskError`] the page shows the message instead of the result.

    Args:
        service ([`Service`]): The service that explains.
        settings ([`Settings`]): The limits.
    """

    def __init__(self, service: Service, settings: Settings):
        self.service = service
        self.settings = settings

    def on_choose(self, name: str) -> list[Any]:
        """
        Shows another explainer.

        Args:
            name (`str`): See [`Shelf.get`].

        Returns:
            `list`: The card, the slider of states, and an empty explanation.
        """
        try:
            held = self.service.shelf.get(name)
        except DiffMaskError as error:
            return [gr.skip(), gr.skip(), views.refusal(error)]
        return [held.card, gr.Slider(maximum=held.last_state, value=held.last_state), ""]

    def on_explain(self, text: str, pair: str, name: str) -> list[Any]:
        """
        Explains a text.

        Args:
            text (`str`): The text, or the question.
            pair (`str`): Second text of a pair, or the context of the question.
            name (`str`): See [`Shelf.get`].

        Returns:
            `list`: The grid, the explained input, its ordinary tokens, the kept share in percent, the slider of
            states, and the result of [`Handlers.on_keep`].
        """
        try:
            result = self.service.explain(text, pair or "", name or "")
        except DiffMaskError as error:
            nothing = gr.CheckboxGroup(choices=[], value=[])
            return [views.refusal(error), None, nothing, gr.skip(), gr.skip(), None, None, ""]
        units = {number: token for number, token in enumerate(result["tokens"]) if not token["special"]}
        tokens = [(token["token"], number) for number, token in units.items()]
        kept = [number for number, token in units.items() if token["kept"]]
        order = sorted(units, key=lambda number: -units[number]["score"])
        about = {"text": text, "pair": pair or "", "explainer": name or "", "order": order}
        last = len(result["states"]) - 1
        share = round(100 * len(kept) / len(tokens))
        return [
            grid(result), about, gr.CheckboxGroup(choices=tokens, value=kept), share,
            gr.Slider(maximum=last, value=last), *self.on_keep(about, kept),
        ]  # fmt: skip

    def on_keep(self, about: Explained | None, kept: list[int]) -> list[Any]:
        """
        Predicts from the chosen tokens.

        Args:
            about (`dict`, *optional*): The explained input, see [`Explained`]; `None` before the first explanation.
            kept (`list[int]`): Numbers of the tokens to keep.

        Returns:
            `list`: The prediction for the whole input, the prediction for the kept tokens, and the claim about the
            dropped tokens.
        """
        if not about:
            return [None, None, ""]
        try:
            found = self.service.what_if(about["text"], [int(k) for k in kept], about["pair"], about["explainer"])
        except DiffMaskError as error:
            return [None, None, views.refusal(error)]
        return [
            views.probabilities(found["whole"]),
            views.probabilities(found["masked"]),
            views.claim(found, len(about["order"])),
        ]

    def on_budget(self, about: Explained | None, share: float) -> list[Any]:
        """
        Predicts from the tokens with the highest scores.

        Args:
            about (`dict`, *optional*): See [`Handlers.on_keep`].
            share (`float`): Share of the ordinary tokens to keep, in percent.

        Returns:
            `list`: Numbers of the kept tokens, and the result of [`Handlers.on_keep`].
        """
        kept = about["order"][: round(share / 100 * len(about["order"]))] if about else []
        return [kept, *self.on_keep(about, kept)]

    def on_compare(self, text: str, pair: str, name: str) -> str:
        """
        Compares methods on a text.

        Args:
            text (`str`): The text.
            pair (`str`): Second text of a pair.
            name (`str`): See [`Shelf.get`].

        Returns:
            `str`: The comparison as HTML.
        """
        try:
            return views.comparison(self.service.compare(text, pair or "", name or ""))
        except DiffMaskError as error:
            return views.refusal(error)

    def on_run(
        self,
        path: str | None,
        column: str,
        pair_column: str,
        name: str,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Iterator[list[Any]]:
        """
        Explains a file of texts.

        Args:
            path (`str`, *optional*): The uploaded file.
            column (`str`): The column of the texts.
            pair_column (`str`): The column of second texts.
            name (`str`): See [`Shelf.get`].
            progress (`gradio.Progress`): Given by Gradio.

        Yields:
            `list`: The status, and at the end the files of attributions.
        """
        try:
            if path is None:
                raise DiffMaskError("There is no file: choose one first.")
            start = time.monotonic()
            inputs = self.service.read(path, column or "", pair_column or "")
            results = []
            for result in self.service.batch(inputs, name or "", time.monotonic() - start):
                results.append(result)
                if len(results) % self.settings.batch_size == 0 or len(results) == len(inputs):
                    progress((len(results), len(inputs)), unit="texts")
                    yield [views.progressed(len(results), len(inputs)), None]
        except DiffMaskError as error:
            yield [views.refusal(error), None]
            return
        with tempfile.TemporaryDirectory() as folder:
            written = write_results(results, inputs, Path(folder))
            yield [views.finished(len(results)), [str(path) for path in written]]


def connect(layout: Layout, handlers: Handlers) -> None:
    """
    Connects the page's components to their handlers. These events are not part of the API.

    Args:
        layout ([`Layout`]): The components.
        handlers ([`Handlers`]): The handlers.
    """
    inputs, explained, explain, what_if, compare, batch = layout
    private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": CONCURRENCY}
    # After several quick choices, show the last.
    live = {**private, "show_progress": "hidden", "trigger_mode": "always_last"}
    asked = [inputs.text, inputs.pair, inputs.explainer]
    by_keep = [what_if.whole, what_if.masked, what_if.claim]
    by_budget = [what_if.tokens, *by_keep]
    by_explain = [explain.explanation, explained, what_if.tokens, what_if.budget, explain.state, *by_keep]
    by_choose = [inputs.card, explain.state, explain.explanation]
    gr.on([explain.run.click, inputs.text.submit], handlers.on_explain, asked, by_explain, **private)
    inputs.explainer.change(handlers.on_choose, inputs.explainer, by_choose, **private)
    explain.state.input(None, explain.state, js=views.SHOW_STATE, api_visibility="private")
    what_if.tokens.input(handlers.on_keep, [explained, what_if.tokens], by_keep, **live)
    what_if.budget.input(handlers.on_budget, [explained, what_if.budget], by_budget, **live)
    compare.run.click(handlers.on_compare, asked, compare.comparison, **private)
    running = batch.run.click(
        handlers.on_run,
        [batch.file, batch.column, batch.pair_column, inputs.explainer],
        [batch.status, batch.files],
        api_visibility="private",
        concurrency_limit=BATCHES,
    )
    batch.cancel.click(
        lambda: views.CANCELLED, None, batch.status, cancels=[running], api_visibility="private", queue=False
    )
