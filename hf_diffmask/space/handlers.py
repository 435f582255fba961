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

Asked = dict[str, Any]
"""What to explain: `text`, `pair`, `explainer`, and `at`, the time of the request; or a `refusal`."""
Shown = dict[str, Any]
"""What the views show: `asked`; `state`, its number; `order`, numbers of ordinary tokens, highest score first; `kept`,
numbers of the tokens that stay; `share`, their share in percent; and for token classification `parts`, see
[`Service.explain`], and `part`, the number of the one that is explained."""


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
        Shows another explainer. Nothing is asked of it yet.

        Args:
            name (`str`): See [`Shelf.get`].

        Returns:
            `list`: The card, the slider of states, and a refusal instead of something to explain, see [`Asked`].
        """
        try:
            held = self.service.shelf.get(name)
        except DiffMaskError as error:
            return [gr.skip(), gr.skip(), {"refusal": str(error)}]
        return [held.card, gr.Slider(maximum=held.last_state, value=held.last_state), gr.skip()]

    def on_change(
        self,
        asked: Asked | None,
        state: int,
        kept: list[int],
        share: float,
        shown: Shown | None,
        part: int | None = None,
    ) -> list[Any]:
        """
        Brings the views up to date with the controls. Each browser runs one call at a time, and the last one again if
        a control moved meanwhile: all views always show the same input, state and tokens.

        Args:
            asked (`dict`, *optional*): What to explain, see [`Asked`].
            state (`int`): The number on the slider of states.
            kept (`list[int]`): Numbers of the tokens to keep.
            share (`float`): Share of the ordinary tokens to keep, in percent.
            shown (`dict`, *optional*): What the views show, see [`Shown`].
            part (`int`, *optional*): For token classification: number of the explained part.

        Returns:
            `list`: The grid, what is shown, the ordinary tokens, the kept share in percent, the slider of states, the
            prediction for the whole input, the prediction for the kept tokens, the claim about the dropped tokens, and
            the explained parts.
        """
        if not asked:
            return _nothing("")
        if "refusal" in asked:
            return _nothing(views.refusal(DiffMaskError(asked["refusal"])))
        if not shown or shown["asked"] != asked:
            return self._explain(asked, state)
        if (shown["state"], shown["part"]) != (state, part):
            return self._explain(asked, state, shown["parts"], part)
        kept = sorted(int(number) for number in kept)
        tokens = share_of = gr.skip()
        if kept != shown["kept"]:
            share = share_of = _share(kept, shown)
        elif share != shown["share"]:
            kept = tokens = sorted(shown["order"][: round(share / 100 * len(shown["order"]))])
        else:
            return [gr.skip()] * 9
        shown = {**shown, "kept": kept, "share": share}
        return [gr.skip(), shown, tokens, share_of, gr.skip(), *self._predict(shown), gr.skip()]

    def _explain(
        self, asked: Asked, state: int, parts: list[dict[str, Any]] | None = None, part: int | None = None
    ) -> list[Any]:
        """Everything for another input, state or part."""
        text, pair, name = (asked[entry] for entry in ("text", "pair", "explainer"))
        span = None if parts is None or part is None else [parts[part]["start"], parts[part]["end"]]
        try:
            number = min(int(state), self.service.shelf.get(name).last_state)
            result = self.service.explain(text, pair, name, state=number, span=span)
        except DiffMaskError as error:
            return _nothing(views.refusal(error))
        if span is None and "parts" in result:
            parts, part = result["parts"], 0
        units = {number: token for number, token in enumerate(result["tokens"]) if not token["special"]}
        tokens = [(token["token"], number) for number, token in units.items()]
        kept = [number for number, token in units.items() if token["kept"]]
        order = sorted(units, key=lambda number: -units[number]["score"])
        shown = {"asked": asked, "state": number, "order": order, "kept": kept, "parts": parts, "part": part}
        shown["share"] = _share(kept, shown)
        names = [(f"{one['label']}: {one['word']}", number) for number, one in enumerate(parts or ())]
        return [
            grid(result, states=False), shown, gr.CheckboxGroup(choices=tokens, value=kept), shown["share"],
            gr.skip() if number == state else number, *self._predict(shown),
            gr.Radio(choices=names, value=part, visible=bool(names)),
        ]  # fmt: skip

    def _predict(self, shown: Shown) -> list[Any]:
        """Both predictions, and the claim about the dropped tokens."""
        asked = shown["asked"]
        span = shown["parts"] and [shown["parts"][shown["part"]][end] for end in ("start", "end")]
        try:
            found = self.service.what_if(
                asked["text"], shown["kept"], asked["pair"], asked["explainer"], shown["state"], span
            )
        except DiffMaskError as error:
            return [None, None, views.refusal(error)]
        return [
            views.probabilities(found["whole"]),
            views.probabilities(found["masked"]),
            views.claim(found, len(shown["order"])),
        ]

    def on_compare(self, text: str, pair: str, name: str, shown: Shown | None = None) -> list[Any]:
        """
        Compares methods on a text.

        Args:
            text (`str`): The text.
            pair (`str`): Second text of a pair.
            name (`str`): See [`Shelf.get`].
            shown (`dict`, *optional*): What the views show. Its part is compared if the text is the same.

        Returns:
            `list`: The comparison as HTML, and the compared input.
        """
        span = None
        if shown and shown["parts"] and shown["asked"]["text"] == text:
            span = [shown["parts"][shown["part"]][end] for end in ("start", "end")]
        try:
            methods = self.service.compare(text, pair or "", name or "", span)
        except DiffMaskError as error:
            return [views.refusal(error), None]
        return [views.comparison(methods), {"text": text, "pair": pair or "", "explainer": name or ""}]

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


def _nothing(message: str) -> list[Any]:
    """Views without an explanation, for [`Handlers.on_change`]."""
    no_part = gr.Radio(choices=[], value=None, visible=False)
    return [message, None, gr.CheckboxGroup(choices=[], value=[]), gr.skip(), gr.skip(), None, None, "", no_part]


def _share(kept: list[int], shown: Shown) -> int:
    """Kept share of the ordinary tokens, in percent."""
    return round(100 * len(kept) / len(shown["order"]))


def connect(layout: Layout, handlers: Handlers) -> None:
    """
    Connects the page's components to their handlers. These events are not part of the API.

    Args:
        layout ([`Layout`]): The components.
        handlers ([`Handlers`]): The handlers.
    """
    inputs, record, explain, what_if, compare, batch = layout
    private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": CONCURRENCY}
    typed: list[Any] = [inputs.text, inputs.pair, inputs.explainer]
    # In the browser: no request for each letter.
    asks, changes = [explain.run.click, inputs.text.submit], [part.change for part in (*typed, record.asked)]
    gr.on(asks, None, typed, record.asked, js=views.ASK, api_visibility="private")
    gr.on(
        [*changes, record.compared.change],
        None,
        [*typed, record.asked, record.compared],
        [explain.changed, what_if.changed, compare.changed],
        js=views.CHANGED,
        api_visibility="private",
    )
    inputs.explainer.change(None, None, record.asked, js=views.ASK_NOTHING, api_visibility="private")
    inputs.explainer.change(
        handlers.on_choose, inputs.explainer, [inputs.card, explain.state, record.asked], **private
    )
    # One event for all controls, never two at a time: after several quick changes, the last one counts.
    gr.on(
        [
            record.asked.change, explain.state.change, explain.part.input, what_if.tokens.input,
            what_if.budget.input,
        ],
        handlers.on_change,
        [record.asked, explain.state, what_if.tokens, what_if.budget, record.shown, explain.part],
        [
            explain.explanation, record.shown, what_if.tokens, what_if.budget, explain.state, what_if.whole,
            what_if.masked, what_if.claim, explain.part,
        ],
        trigger_mode="always_last",
        show_progress_on=explain.explanation,
        **private,
    )  # fmt: skip
    compare.run.click(handlers.on_compare, [*typed, record.shown], [compare.comparison, record.compared], **private)
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
