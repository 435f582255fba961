"""The layout has the ids, labels and limits that visitors, styles and scripts need."""

import pytest

gr = pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space.settings import Settings  # noqa: E402
from hf_diffmask.space.tabs import lay_out  # noqa: E402


def laid_out(service, **settings):
    with gr.Blocks() as page:
        layout = lay_out(Settings(**settings), ["bundled", "other"], service.shelf.get(""))
    return page, layout


def test_ids(service):
    page, layout = laid_out(service)
    groups = [layout.inputs, layout.explain, layout.what_if, layout.compare, layout.batch]
    assert [[part.elem_id for part in group] for group in groups] == [
        ["explainer", "card", "text", "pair"],
        ["explain", "changed", "part", "state", "explanation"],
        ["changed-what-if", "tokens", "budget", "whole", "masked", "claim"],
        ["compare", "changed-compare", "comparison"],
        ["file", "column", "pair-column", "run", "cancel", "status", "files"],
    ]
    tabs = [part.label for part in page.blocks.values() if isinstance(part, gr.Tab)]
    assert tabs == ["Explain", "What if", "Compare", "Batch"]
    # The browser holds what is shown. Hidden parts are on the page, so that their changes are events.
    assert [part.visible for part in layout.record] == ["hidden"] * 3
    assert layout.explain.state.buttons == layout.what_if.budget.buttons == [], "a reset is no event of a visitor"


def test_limits_and_states(service):
    _, layout = laid_out(service, characters=123)
    # A box with a limit of its own would cut a pasted text without a word.
    assert (layout.inputs.text.max_length, layout.inputs.pair.max_length) == (None, None)
    last = len(service.explain("dull")["states"]) - 1
    assert (layout.explain.state.maximum, layout.explain.state.value) == (last, last)


def test_ids_of_the_hub_can_be_typed_where_they_are_allowed(service):
    closed = laid_out(service)[1].inputs.explainer
    assert (closed.value, closed.allow_custom_value, closed.info) == ("bundled", False, None)
    allowed = laid_out(service, allowed=("org/*", "me/one"))[1].inputs.explainer
    assert (allowed.allow_custom_value, allowed.info) == (True, "Or an id on the Hub that fits org/*, me/one.")
