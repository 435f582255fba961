"""Layout of the page: the inputs and four tabs."""

from typing import NamedTuple

import gradio as gr

from .files import SUFFIXES
from .settings import Settings
from .shelf import Held
from .views import COMPARE, EXAMPLES, WHAT_IF, limits


class Inputs(NamedTuple):
    """Explainer and text, above the tabs."""

    explainer: gr.Dropdown
    card: gr.Markdown
    text: gr.Textbox
    pair: gr.Textbox


class ExplainTab(NamedTuple):
    """An explanation as a grid. The slider is the page's one control for the state."""

    run: gr.Button
    changed: gr.HTML
    part: gr.Radio
    """The explained tokens. Hidden for an explainer of whole texts."""
    state: gr.Slider
    explanation: gr.HTML


class WhatIfTab(NamedTuple):
    """Tokens to keep, and the predictions for the whole and the masked input."""

    changed: gr.HTML
    tokens: gr.CheckboxGroup
    budget: gr.Slider
    whole: gr.Label
    masked: gr.Label
    claim: gr.HTML


class CompareTab(NamedTuple):
    """Several methods side by side."""

    run: gr.Button
    changed: gr.HTML
    comparison: gr.HTML


class BatchTab(NamedTuple):
    """A file of texts, and its attributions."""

    file: gr.File
    column: gr.Textbox
    pair_column: gr.Textbox
    run: gr.Button
    cancel: gr.Button
    status: gr.HTML
    files: gr.File


class Record(NamedTuple):
    """What the page shows, beside what visitors edit meanwhile. The browser holds it."""

    asked: gr.JSON
    """The input to explain; `None` before the first, and a `refusal` if there is no explainer for it."""
    shown: gr.JSON
    """What the views of the first two tabs show, see [`~hf_diffmask.space.handlers.Shown`]."""
    compared: gr.JSON
    """The compared input."""


class Layout(NamedTuple):
    """The components of the page."""

    inputs: Inputs
    record: Record
    explain: ExplainTab
    what_if: WhatIfTab
    compare: CompareTab
    batch: BatchTab


def lay_out(settings: Settings, menu: list[str], first: Held) -> Layout:
    """
    Adds the components to the page under construction.

    Args:
        settings ([`Settings`]): The limits.
        menu (`list[str]`): Names of the explainers.
        first ([`Held`]): The explainer at the start.

    Returns:
        [`Layout`]
    """
    inputs = _inputs(settings, menu, first)
    # Hidden components are on the page, and their changes are events.
    record = Record(*(gr.JSON(visible="hidden") for _ in Record._fields))
    with gr.Tab("Explain"):
        explain = _explain(first)
    with gr.Tab("What if"):
        what_if = _what_if()
    with gr.Tab("Compare"):
        compare = _compare()
    with gr.Tab("Batch"):
        batch = _batch(settings)
    return Layout(inputs, record, explain, what_if, compare, batch)


def _inputs(settings: Settings, menu: list[str], first: Held) -> Inputs:
    with gr.Row():
        explainer = gr.Dropdown(
            menu,
            value=menu[0],
            label="Explainer",
            info=f"Or an id on the Hub that fits {', '.join(settings.allowed)}." if settings.allowed else None,
            allow_custom_value=bool(settings.allowed),
            elem_id="explainer",
        )
    with gr.Accordion("Card of the explainer", open=False):
        card = gr.Markdown(first.card, elem_id="card")
    text = gr.Textbox(label="Text, or question", lines=3, elem_id="text")
    with gr.Accordion("Second text of a pair, or context of the question", open=False):
        pair = gr.Textbox(label="Second text", lines=4, elem_id="pair")
    gr.Examples(EXAMPLES, text, cache_examples=False, api_visibility="private")
    return Inputs(explainer, card, text, pair)


def _explain(first: Held) -> ExplainTab:
    last = first.last_state
    return ExplainTab(
        run=gr.Button("Explain", variant="primary", elem_id="explain"),
        changed=gr.HTML(elem_id="changed"),
        part=gr.Radio([], label="Explained tokens", visible=False, elem_id="part"),
        state=gr.Slider(
            0, last, value=last, step=1, label="State, from the embeddings up", elem_id="state", buttons=[]
        ),
        explanation=gr.HTML(elem_id="explanation"),
    )


def _what_if() -> WhatIfTab:
    gr.Markdown(WHAT_IF)
    changed = gr.HTML(elem_id="changed-what-if")
    tokens = gr.CheckboxGroup([], label="Tokens that stay", elem_id="tokens")
    budget = gr.Slider(
        0,
        100,
        value=100,
        step=1,
        label="Share that stays (%): move it to choose by rank",
        elem_id="budget",
        buttons=[],
    )
    with gr.Row():
        whole = gr.Label(label="The model's own prediction", elem_id="whole")
        masked = gr.Label(label="Prediction from the tokens that stay", elem_id="masked")
    return WhatIfTab(changed, tokens, budget, whole, masked, claim=gr.HTML(elem_id="claim"))


def _compare() -> CompareTab:
    gr.Markdown(COMPARE)
    return CompareTab(
        run=gr.Button("Compare", elem_id="compare"),
        changed=gr.HTML(elem_id="changed-compare"),
        comparison=gr.HTML(elem_id="comparison"),
    )


def _batch(settings: Settings) -> BatchTab:
    gr.Markdown(limits(settings))
    file = gr.File(label="File", file_types=list(SUFFIXES), elem_id="file")
    with gr.Row():
        column = gr.Textbox("text", label="Column of the texts", elem_id="column")
        pair_column = gr.Textbox(label="Column of second texts, if any", elem_id="pair-column")
    with gr.Row():
        run = gr.Button("Run", variant="primary", elem_id="run")
        cancel = gr.Button("Cancel", elem_id="cancel")
    status = gr.HTML(elem_id="status")
    files = gr.File(label="Attributions", file_count="multiple", interactive=False, elem_id="files")
    return BatchTab(file, column, pair_column, run, cancel, status, files)
