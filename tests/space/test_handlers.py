"""Handlers return the values of their outputs, or a refusal."""

from types import SimpleNamespace

import pytest

from tests.helpers import TEXT

gr = pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space.handlers import Handlers  # noqa: E402

NO_TEXT = '<p class="refusal" role="alert">There is no text: give one with at least one visible character.</p>'


@pytest.fixture(scope="module")
def handlers(service):
    return Handlers(service, service.settings)


def test_explain_fills_both_tabs(handlers, service):
    grid, about, tokens, share, state, whole, masked, claim = handlers.on_explain(TEXT, None, None)
    result = service.explain(TEXT)
    units = {number: token for number, token in enumerate(result["tokens"]) if not token["special"]}
    assert 'class="dm-certificate"' in grid
    assert {name: about[name] for name in ("text", "pair", "explainer")} == {
        "text": TEXT, "pair": "", "explainer": ""
    }  # fmt: skip
    scores = [units[number]["score"] for number in about["order"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 12
    assert tokens.choices == [(token["token"], number) for number, token in units.items()]
    assert tokens.value == [number for number, token in units.items() if token["kept"]]
    assert share == round(100 * len(tokens.value) / 12)
    assert (state.maximum, state.value) == (len(result["states"]) - 1,) * 2
    assert [whole, masked, claim] == handlers.on_keep(about, tokens.value)
    assert whole["NEGATIVE"] == pytest.approx(result["score"], abs=1e-5)
    assert f"Dropping {12 - len(tokens.value)} of 12 tokens moves " in claim


def test_a_budget_keeps_the_tokens_with_the_highest_scores(handlers):
    about = handlers.on_explain(TEXT, "", "")[1]
    kept, *shown = handlers.on_budget(about, 25)
    assert kept == about["order"][:3] and shown == handlers.on_keep(about, kept)
    assert handlers.on_budget(about, 100)[-1].count("Dropping 0 of 12 tokens") == 1
    assert handlers.on_budget(None, 50) == [[], None, None, ""] and handlers.on_keep(None, [1]) == [None, None, ""]


def test_refusals_are_shown(handlers):
    refused, about, tokens, *rest = handlers.on_explain(" ", "", "")
    assert (refused, about, tokens.choices, tokens.value) == (NO_TEXT, None, [], [])
    assert rest == [gr.skip(), gr.skip(), None, None, ""]
    assert handlers.on_compare(" ", "", "") == NO_TEXT
    lost = {"text": TEXT, "pair": "", "explainer": "", "order": []}
    assert "There is no token 99" in handlers.on_keep(lost, [99])[2]
    *skipped, says = handlers.on_choose("org/name")
    assert skipped == [gr.skip(), gr.skip()] and "is not served here" in says


def test_a_text_with_too_many_tokens_to_choose_from_is_explained(handlers):
    shown = handlers.on_explain("dull " * 50, "", "")
    assert 'class="dm-certificate"' in shown[0]
    assert "The text has 52 tokens, and tokens are chosen from up to 40." in shown[-1]


def test_choose(handlers, service):
    card, state, explanation = handlers.on_choose("bundled")
    held = service.shelf.get("")
    assert (card, state.maximum, state.value, explanation) == (held.card, held.last_state, held.last_state, "")


def test_compare(handlers):
    assert handlers.on_compare(TEXT, "", "").count("<section>") == 3


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
