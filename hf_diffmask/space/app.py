"""The page of the Space, and its named endpoints."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..about import VERSION
from ..display.colors import paint
from ..display.grid import STYLE, grid, shown
from ..display.wording import effect, predicted
from ..errors import DiffMaskError
from .service import SUFFIXES, Service, write_results
from .settings import Settings

INTRODUCTION = """# What does the model need?

An explainer by [Differentiable Masking](https://arxiv.org/abs/2004.14992) ranks the tokens of a text, in one forward
pass of the model, by what its prediction needs, and says what dropping the others does to the output. That is what
*suffices* to preserve the output, and not *why* it is what it is."""

EXAMPLES = [
    "a warm and quietly funny film , even if the plot is a little thin",
    "the cast is lovely , but two hours of this are two hours too many",
    "not bad at all",
]
CSS = """
#explanation, #comparison { font-size: 1rem; }
#tokens label { padding: 0.15rem 0.4rem; }
.refusal { border-left: 0.3rem solid #c62828; padding: 0.3rem 0.7rem; }
.compared { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 1rem; }
.compared .dm-units { display: block; }
"""
# The slider is the radio buttons of the grid, which are there without scripts, too.
SHOW_STATE = """(number) => {
  const choices = document.querySelectorAll('#explanation input[type=radio]');
  if (choices.length) choices[Math.min(number, choices.length - 1)].checked = true;
  return [];
}"""
# After each event Gradio sums up its last ones: ten thousand, its default, take memory and time.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
FULL_CONCURRENCY = 64  # requests that may wait for the thread that runs the models
SESSIONS = 200


def build(settings: Settings | None = None, service: Service | None = None) -> gr.Blocks:
    """
    Builds the page; the first explainer is loaded, and warm, when this returns.

    Args:
        settings ([`Settings`], *optional*): By default those of the environment.
        service ([`Service`], *optional*): One that is there already.

    Returns:
        `gradio.Blocks`: To be launched with [`launch`].

    Raises:
        DiffMaskError: If a setting is wrong, or the first explainer cannot be loaded.
    """
    settings = settings or Settings.from_environment()
    service = service or Service(settings)
    names = list(service.shelf.menu)
    first = service.shelf.get("")
    with gr.Blocks(title="Differentiable Masking", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            explainer = gr.Dropdown(
                names,
                value=names[0],
                label="Explainer",
                info=f"Or an id on the Hub that fits {', '.join(settings.allowed)}." if settings.allowed else None,
                allow_custom_value=bool(settings.allowed),
                elem_id="explainer",
            )
        with gr.Accordion("Card of the explainer", open=False):
            card = gr.Markdown(first.card, elem_id="card")
        text = gr.Textbox(label="Text, or question", lines=3, elem_id="text", max_length=settings.characters)
        with gr.Accordion("Second text of a pair, or context of the question", open=False):
            pair = gr.Textbox(label="Second text", lines=4, elem_id="pair", max_length=settings.characters)
        gr.Examples(EXAMPLES, text, cache_examples=False, api_visibility="private")
        # What the tabs speak of: the text may be edited meanwhile. Held by the browser, not here.
        explained = gr.JSON(visible=False)
        with gr.Tab("Explain"):
            explain_button = gr.Button("Explain", variant="primary", elem_id="explain")
            state = gr.Slider(
                0, _last(first), value=_last(first), step=1, label="State, from the embeddings up", elem_id="state"
            )
            explanation = gr.HTML(elem_id="explanation")
        with gr.Tab("What if"):
            gr.Markdown("Choose the tokens that stay; the others are masked. Explain a text first.")
            tokens = gr.CheckboxGroup([], label="Tokens that stay", elem_id="tokens")
            budget = gr.Slider(0, 100, value=100, step=1, label="Or keep this share (%), by rank", elem_id="budget")
            with gr.Row():
                whole = gr.Label(label="The model's own prediction", elem_id="whole")
                masked = gr.Label(label="Prediction from the tokens that stay", elem_id="masked")
            claim = gr.HTML(elem_id="claim")
        with gr.Tab("Compare"):
            gr.Markdown(
                "The same text under three methods, with what each costs in passes of the model, forward and backward."
            )
            compare_button = gr.Button("Compare", elem_id="compare")
            comparison = gr.HTML(elem_id="comparison")
        with gr.Tab("Batch"):
            gr.Markdown(
                f"A {', '.join(SUFFIXES)} file of up to {settings.rows:,} rows, {settings.upload_megabytes:g} MB, and "
                f"{settings.characters:,} characters a text. Files are deleted within a day."
            )
            file = gr.File(label="File", file_types=list(SUFFIXES), elem_id="file")
            with gr.Row():
                column = gr.Textbox("text", label="Column of the texts", elem_id="column")
                pair_column = gr.Textbox(label="Column of second texts, if any", elem_id="pair-column")
            with gr.Row():
                run_button = gr.Button("Run", variant="primary", elem_id="run")
                cancel_button = gr.Button("Cancel", elem_id="cancel")
            status = gr.HTML(elem_id="status")
            files = gr.File(label="Attributions", file_count="multiple", interactive=False, elem_id="files")

        def on_choose(name: str) -> list[Any]:
            try:
                held = service.shelf.get(name)
            except DiffMaskError as error:
                return [gr.skip(), gr.skip(), _refusal(error)]
            return [held.card, gr.Slider(maximum=_last(held), value=_last(held)), ""]

        def on_explain(text: str, pair: str, name: str) -> list[Any]:
            try:
                result = service.explain(text, pair or "", name or "")
            except DiffMaskError as error:
                nothing = gr.CheckboxGroup(choices=[], value=[])
                return [_refusal(error), None, nothing, gr.skip(), gr.skip(), None, None, ""]
            units = {number: token for number, token in enumerate(result["tokens"]) if not token["special"]}
            tokens = [(token["token"], number) for number, token in units.items()]
            kept = [number for number, token in units.items() if token["kept"]]
            order = sorted(units, key=lambda number: -units[number]["score"])
            about = {"text": text, "pair": pair or "", "explainer": name or "", "order": order}
            last = len(result["states"]) - 1
            share = round(100 * len(kept) / len(tokens))
            return [
                grid(result), about, gr.CheckboxGroup(choices=tokens, value=kept), share,
                gr.Slider(maximum=last, value=last), *on_keep(about, kept),
            ]  # fmt: skip

        def on_keep(about: dict[str, Any] | None, kept: list[int]) -> list[Any]:
            if not about:
                return [None, None, ""]
            try:
                found = service.what_if(about["text"], [int(k) for k in kept], about["pair"], about["explainer"])
            except DiffMaskError as error:
                return [None, None, _refusal(error)]
            return [
                _probabilities(found["whole"]),
                _probabilities(found["masked"]),
                _claim(found, len(about["order"])),
            ]

        def on_budget(about: dict[str, Any] | None, share: float) -> list[Any]:
            kept = about["order"][: round(share / 100 * len(about["order"]))] if about else []
            return [kept, *on_keep(about, kept)]

        def on_compare(text: str, pair: str, name: str) -> str:
            try:
                return _comparison(service.compare(text, pair or "", name or ""))
            except DiffMaskError as error:
                return _refusal(error)

        def on_run(
            path: str | None,
            column: str,
            pair_column: str,
            name: str,
            progress: Any = gr.Progress(),  # noqa: B008
        ) -> Iterator[list[Any]]:
            try:
                if path is None:
                    raise DiffMaskError("There is no file: choose one first.")
                inputs = service.read(path, column or "", pair_column or "")
                results = []
                for result in service.batch(inputs, name or ""):
                    results.append(result)
                    if len(results) % settings.batch_size == 0 or len(results) == len(inputs):
                        progress((len(results), len(inputs)), unit="texts")
                        yield [f"<p>{len(results)} of {len(inputs)} texts.</p>", None]
            except DiffMaskError as error:
                yield [_refusal(error), None]
                return
            with tempfile.TemporaryDirectory() as folder:
                written = write_results(results, inputs, Path(folder))
                done = f"<p>{len(results)} texts explained: as parquet, as JSON lines, and as a page.</p>"
                yield [done, [str(path) for path in written]]

        private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": FULL_CONCURRENCY}
        # The last of several quick choices is the one that is shown.
        live = {**private, "show_progress": "hidden", "trigger_mode": "always_last"}
        asked = [text, pair, explainer]
        shown_by_keep = [whole, masked, claim]
        shown_by_explain = [explanation, explained, tokens, budget, state, *shown_by_keep]
        gr.on([explain_button.click, text.submit], on_explain, asked, shown_by_explain, **private)
        explainer.change(on_choose, explainer, [card, state, explanation], **private)
        state.input(None, state, js=SHOW_STATE, api_visibility="private")
        tokens.input(on_keep, [explained, tokens], shown_by_keep, **live)
        budget.input(on_budget, [explained, budget], [tokens, *shown_by_keep], **live)
        compare_button.click(on_compare, asked, comparison, **private)
        running = run_button.click(
            on_run, [file, column, pair_column, explainer], [status, files], api_visibility="private",
            concurrency_limit=4,
        )  # fmt: skip
        cancel_button.click(
            lambda: "<p>Cancelled.</p>", None, status, cancels=[running], api_visibility="private", queue=False
        )
        _endpoints(service)
    return page


def launch(page: gr.Blocks, settings: Settings | None = None, **options: Any) -> Any:
    """
    Starts a page.

    Args:
        page (`gradio.Blocks`): See [`build`].
        settings ([`Settings`], *optional*): By default those of the environment.
        options: Of `gradio.Blocks.launch`.

    Returns:
        `tuple`: What that returns.
    """
    settings = settings or Settings.from_environment()
    page.queue(default_concurrency_limit=FULL_CONCURRENCY, max_size=1000)
    return page.launch(
        css=STYLE + CSS,
        max_threads=FULL_CONCURRENCY + 8,
        max_file_size=int(settings.upload_megabytes * 1e6),
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        run_history=False,
        mcp_server=importlib.util.find_spec("mcp") is not None,
        app_kwargs={"routes": [Route("/health", _health)]},
        ssr_mode=False,
        **options,
    )


async def _health(request: Request) -> JSONResponse:
    """That the page is there; the first explainer was loaded before it was."""
    return JSONResponse({"status": "ok", "version": VERSION})


def _endpoints(service: Service) -> None:
    """The named endpoints, with their types; their descriptions are those of the tools of MCP, too."""

    def explain(
        text: str, pair: str = "", explainer: str = "", margin: float | None = None, on_violation: str = "keep"
    ) -> dict:
        """Explains a prediction: which tokens of a text the model's output needs, and what dropping the others costs.

        Args:
            text: The text, or the question.
            pair: Second text of a pair, or the context of the question.
            explainer: A name of the menu, or an id on the Hub that is allowed; by default the first of the menu.
            margin: What the explanation may cost; by default the explainer's.
            on_violation: keep, search or abstain.
        """
        return dict(service.explain(text, pair, explainer, margin, None, on_violation))

    def what_if(text: str, kept: list[int], pair: str = "", explainer: str = "") -> dict:
        """Predicts from some tokens of a text, beside the prediction of the whole.

        Args:
            text: The text, or the question.
            kept: Numbers of the tokens that stay, as in the tokens of explain.
            pair: Second text of a pair, or the context of the question.
            explainer: A name of the menu, or an id on the Hub that is allowed; by default the first of the menu.
        """
        return service.what_if(text, kept, pair, explainer)

    def compare(text: str, pair: str = "", explainer: str = "") -> list[dict]:
        """Explains a prediction by DiffMask, leave-one-out and Integrated Gradients, with the cost of each.

        Args:
            text: The text.
            pair: Second text of a pair.
            explainer: A name of the menu, or an id on the Hub that is allowed; by default the first of the menu.
        """
        return service.compare(text, pair, explainer)

    def explainers() -> list[str]:
        """Names of the explainers that are served."""
        return list(service.shelf.menu)

    for endpoint in (explain, what_if, compare, explainers):
        gr.api(_refusing(endpoint), api_name=endpoint.__name__, concurrency_limit=FULL_CONCURRENCY)


def _refusing(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Says what was wrong, in the place of `Internal error`."""

    @wraps(endpoint)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(*args, **kwargs)
        except DiffMaskError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return refusing


def _last(held: Any) -> int:
    return int(held.explain.model.config.num_states - 1)


def _refusal(error: DiffMaskError) -> str:
    return f'<p class="refusal" role="alert">{shown(error)}</p>'


def _probabilities(found: dict[str, Any]) -> dict[str, float]:
    return found.get("probabilities") or {predicted(found): found["score"]}


def _claim(found: dict[str, Any], count: int) -> str:
    dropped = count - (len(found["kept"]) - found["special"])
    does = effect({**found, **found["whole"]})
    return f"<p>Dropping {dropped} of {count} tokens {shown(does)}.</p>"


def _comparison(methods: list[dict[str, Any]]) -> str:
    """Tokens in the colours of each method's scores, as shares of its largest."""
    parts = []
    for one in methods:
        largest = max((token["score"] for token in one["tokens"] if not token["special"]), default=0.0)
        units = []
        for token in one["tokens"]:
            if token["special"]:
                continue
            value = max(0.0, token["score"] / largest) if largest > 0 else 0.0
            units.append(
                f'<span class="dm-unit" style="{paint(value)}" title="score {token["score"]:+.4f}">'
                f"{shown(token['token'])}</span>"
            )
        passes = f"{one['passes']} pass{'es' * (one['passes'] > 1)} of the model"
        cost = f"{passes}, {1000 * one['seconds']:.0f} ms beside {1000 * one['bare_seconds']:.0f} ms of a bare one"
        faithful = ""
        if "comprehensiveness" in one:
            faithful = (
                f"<br>comprehensiveness {one['comprehensiveness']:.3f}, sufficiency {one['sufficiency']:.3f} here"
            )
        parts.append(
            f'<section><h3>{shown(one["method"])}</h3><p class="dm-units">{" ".join(units)}</p>'
            f'<p class="dm-quiet">{cost}{faithful}</p></section>'
        )
    return (
        f'<div class="dm-grid compared">{"".join(parts)}</div><p>Bright: what speaks most for the prediction; dark: '
        "nothing, or what speaks against it. Each method has a scale of its own: hover for scores.</p>"
    )
