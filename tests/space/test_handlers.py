"""Handlers return the values of their outputs, or a refusal."""

import re
from types import SimpleNamespace

import pytest

from tests.helpers import TEXT

gr = pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space.handlers import Handlers  # noqa: E402

NO_TEXT = '<p class="refusal" role="alert">There is no text: give one with at least one visible character.</p>'


@pytest.fixture(scope="module")
def handlers(service):
    return Handlers(service, service.settings)


def asked_for(text, **fields):
    return {"text": text, "pair": "", "explainer": "", "at": 1, **fields}


SAME = [gr.skip()] * 9


@pytest.fixture(scope="module")
def last(service):
    return service.shelf.get("").last_state


@pytest.fixture(scope="module")
def explained(handlers, last):
    """Everything that is shown for a text at the last state."""
    return handlers.on_change(asked_for(TEXT), last, [], 100, None)


def test_an_explanation_fills_both_tabs(explained, service, last):
    grid, shown, tokens, share, state, whole, masked, claim, part = explained
    result = service.explain(TEXT)
    units = {number: token for number, token in enumerate(result["tokens"]) if not token["special"]}
    assert not part.visible, "this explainer explains whole texts"
    assert 'class="dm-certificate"' in grid and 'type="radio"' not in grid
    assert (shown["asked"], shown["state"]) == (asked_for(TEXT), last)
    scores = [units[number]["score"] for number in shown["order"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 12
    assert tokens.choices == [(token["token"], number) for number, token in units.items()]
    assert tokens.value == shown["kept"] == [number for number, token in units.items() if token["kept"]]
    assert share == shown["share"] == round(100 * len(tokens.value) / 12) and state == gr.skip()
    expected = service.what_if(TEXT, tokens.value)
    assert whole == pytest.approx(expected["whole"]["probabilities"]) and whole["NEGATIVE"] > 0.5
    assert masked == pytest.approx(expected["masked"]["probabilities"])
    assert f"Holds. Dropping {12 - len(tokens.value)} of 12 tokens moves the probability of NEGATIVE" in claim
    assert 'data-state="holds"' in claim


def test_every_view_follows_the_state(handlers, service, explained, last):
    """A state is chosen, and then another text: each view is for the same text and state."""
    shown = explained[1]
    for asked, state, before in (
        (asked_for(TEXT), 0, shown), (asked_for("a warm film"), 0, {**shown, "state": 0}), (asked_for(TEXT), 1, None)
    ):  # fmt: skip
        changed = handlers.on_change(asked, state, shown["kept"], shown["share"], before)
        grid, now, tokens, share, slider, *predictions = changed
        result = service.explain(asked["text"], state=state)
        name = result["states"][state]
        assert f"at state {name}" in grid and f'aria-label="Tokens at state {name}"' in grid
        assert grid.count("dm-units") - grid.count(".dm-units") == 1 and slider == gr.skip()
        assert (now["asked"], now["state"], now["share"]) == (asked, state, share)
        ordinary = [token for token in result["tokens"] if not token["special"]]
        assert tokens.value == [
            k for k, token in enumerate(result["tokens"]) if token["kept"] and not token["special"]
        ]
        cells = [cell for cell in re.findall(r"<td>(kept|dropped)</td>", grid)]
        assert cells == ["kept" if token["kept"] else "dropped" for token in result["tokens"]]
        assert f"of {len(ordinary)} tokens" in predictions[2]
        # The controls are where the views are: nothing is left to do.
        assert handlers.on_change(asked, state, tokens.value, share, now) == SAME


def test_a_state_that_the_explainer_lacks_moves_the_slider_back(handlers, last):
    _, shown, _, _, slider, *_ = handlers.on_change(asked_for(TEXT), last + 5, [], 100, None)
    assert slider == shown["state"] == last


def test_what_if_masks_at_the_state(handlers, service, monkeypatch):
    states = []
    what_if = service.what_if
    monkeypatch.setattr(service, "what_if", lambda *given: states.append(given[4]) or what_if(*given))
    _, shown, *_ = handlers.on_change(asked_for(TEXT), 1, [], 100, None)
    handlers.on_change(asked_for(TEXT), 1, [3], shown["share"], shown)
    assert states == [1, 1]


def test_chosen_tokens_move_the_share_and_a_share_moves_the_tokens(handlers, explained, last):
    shown = explained[1]
    here = (asked_for(TEXT), last)
    asked = [*reversed(shown["order"][:3])]
    grid, by_token, tokens, share, state, *_, claim, _ = handlers.on_change(*here, asked, shown["share"], shown)
    assert (grid, tokens, state) == (gr.skip(),) * 3 and share == 25 and "Dropping 9 of 12 tokens" in claim
    assert (by_token["kept"], by_token["share"]) == (sorted(asked), 25)
    assert handlers.on_change(*here, asked, share, by_token) == SAME
    _, by_share, tokens, share, *_, claim, _ = handlers.on_change(*here, asked, 50, by_token)
    assert tokens == by_share["kept"] == sorted(shown["order"][:6]) and share == gr.skip()
    assert "Dropping 6 of 12 tokens" in claim and handlers.on_change(*here, tokens, 50, by_share) == SAME
    claim = handlers.on_change(*here, tokens, 100, by_share)[-2]
    assert "Dropping 0 of 12 tokens" in claim


def test_refusals_leave_nothing_behind(handlers, explained, last):
    shown = explained[1]
    escaped = '<p class="refusal" role="alert">No &lt;b&gt;.</p>'
    for asked, says in ((None, ""), (asked_for(" "), NO_TEXT), ({"refusal": "No <b>."}, escaped)):
        refused, now, tokens, share, slider, *rest = handlers.on_change(asked, last, [1], 50, shown)
        assert (refused, now, tokens.choices, tokens.value) == (says, None, [], [])
        assert [share, slider, *rest[:-1]] == [gr.skip(), gr.skip(), None, None, ""] and not rest[-1].visible
    assert "There is no token 99" in handlers.on_change(asked_for(TEXT), last, [99], shown["share"], shown)[-2]
    assert handlers.on_compare(" ", "", "") == [NO_TEXT, None]
    *skipped, refused = handlers.on_choose("org/name")
    assert skipped == [gr.skip(), gr.skip()] and "is not served here" in refused["refusal"]


def test_a_text_with_too_many_tokens_to_choose_from_is_explained(handlers, last):
    shown = handlers.on_change(asked_for("dull " * 50), last, [], 100, None)
    assert 'class="dm-certificate"' in shown[0]
    assert "The text has 52 tokens, and tokens are chosen from up to 40." in shown[-2]


def test_choose(handlers, service):
    card, state, asked = handlers.on_choose("bundled")
    held = service.shelf.get("")
    assert (card, state.maximum, state.value, asked) == (held.card, held.last_state, held.last_state, gr.skip())


def test_compare(handlers):
    said, compared = handlers.on_compare(TEXT, None, None)
    assert said.count("<section>") == 3 and compared == {"text": TEXT, "pair": "", "explainer": ""}


def test_run_says_how_far_it_is(handlers, tmp_path):
    (tmp_path / "t.csv").write_text("text\n" + "dull\n" * 20)
    told = []
    steps = handlers.on_run(str(tmp_path / "t.csv"), "", "", "", lambda done, unit: told.append((*done, unit)))
    assert next(steps) == ["<p>16 of 20 texts.</p>", None] and next(steps) == ["<p>20 of 20 texts.</p>", None]
    status, files = next(steps)
    assert status == "<p>20 texts explained: as parquet, as JSON lines, and as a page.</p>"
    assert [path.rsplit("/", 1)[-1] for path in files] == [f"attributions.{k}" for k in ("parquet", "jsonl", "html")]
    assert told == [(16, 20, "texts"), (20, 20, "texts")] and list(steps) == []
    ((refused, files),) = handlers.on_run(None, "", "", "")
    assert "There is no file: choose one first." in refused and files is None


def test_run_counts_the_time_of_reading(service, monkeypatch):
    clock, used = [100.0], []

    class Slow:
        def read(self, path, column, pair_column):
            clock[0] += 7.0
            return [{"text": "dull"}]

        def batch(self, inputs, explainer, seconds):
            used.append(seconds)
            return service.batch(inputs, explainer, seconds)

    monkeypatch.setattr("hf_diffmask.space.handlers.time", SimpleNamespace(monotonic=lambda: clock[0]))
    steps = Handlers(Slow(), service.settings).on_run("t.csv", "", "", "", lambda done, unit: None)
    assert next(steps) == ["<p>1 of 1 texts.</p>", None] and used == [7.0]
