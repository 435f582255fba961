"""Views are exact HTML; text from outside is escaped."""

import pytest

from hf_diffmask import DiffMaskError

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space import views
from hf_diffmask.space.settings import Settings

METHOD = {
    "method": "<DiffMask>",
    "tokens": [
        {"token": "[CLS]", "score": 9.0, "special": True},
        {"token": "<b>", "score": 0.5, "special": False},
        {"token": "dull", "score": -0.25, "special": False},
    ],
    "passes": 1,
    "seconds": 0.0123,
    "bare_seconds": 0.004,
}


def test_limits_and_status():
    assert views.limits(Settings(rows=1000, upload_megabytes=2.5, characters=5000)) == (
        "A .csv, .jsonl, .parquet file of up to 1,000 rows, 2.5 MB, and 5,000 characters a text. "
        "Files are deleted within a day."
    )
    assert views.progressed(3, 20) == "<p>3 of 20 texts.</p>"
    assert views.finished(20) == "<p>20 texts explained: as parquet, as JSON lines, and as a page.</p>"


def test_a_refusal_is_no_markup():
    assert views.refusal(DiffMaskError("No <b>.")) == '<p class="refusal" role="alert">No &lt;b&gt;.</p>'


def test_a_prediction_without_probabilities_is_shown_by_its_score():
    labels = {"A": 0.25, "B": 0.75}
    assert views.probabilities({"label": "B", "score": 0.75, "probabilities": labels}) == labels
    answer = {"task": "question-answering", "answer": "in 1999", "score": 0.5}
    assert views.probabilities(answer) == {"in 1999": 0.5}


def test_a_claim_counts_tokens_that_are_not_special():
    found = {
        "task": "text-classification", "whole": {"label": "A", "score": 0.9}, "masked": {"label": "A", "score": 0.8},
        "divergence": 0.01, "drop": 0.25, "same_prediction": True, "within_margin": True, "margin": 0.5,
        "kept": [0, 2, 3, 7], "special": 2,
    }  # fmt: skip
    said = views.claim(found, 6)
    assert said == (
        '<div class="dm-grid"><p class="dm-certificate" data-state="holds"><span aria-hidden="true">\u2713</span> '
        "Holds. Dropping 4 of 6 tokens moves the probability of A by -0.250, within the margin of 0.5, and the "
        "prediction stays.</p></div>"
    )
    said = views.claim({**found, "drop": 0.75, "same_prediction": False}, 6)
    assert 'data-state="does not hold"' in said and "outside the margin" in said and "Holds" not in said


def test_a_comparison_colours_shares_of_the_largest_score():
    said = views.comparison([METHOD, {**METHOD, "passes": 12, "comprehensiveness": 0.5, "sufficiency": 0.0625}])
    assert said.startswith('<div class="dm-grid compared"><section><h3>&lt;DiffMask&gt;</h3>')
    assert said.count("<section>") == 2 and "[CLS]" not in said and "<b>" not in said
    one = f'<span class="dm-unit" style="{views.paint(1.0)}" title="score +0.5000">&lt;b&gt;</span>'
    other = f'<span class="dm-unit" style="{views.paint(0.0)}" title="score -0.2500">dull</span>'
    assert said.count(f'<p class="dm-units">{one} {other}</p>') == 2
    assert '<p class="dm-quiet">1 pass of the model, 12 ms beside 4 ms of a bare one</p>' in said
    assert (
        '<p class="dm-quiet">12 passes of the model, 12 ms beside 4 ms of a bare one'
        "<br>comprehensiveness 0.500, sufficiency 0.062 here</p>"
    ) in said


def test_a_comparison_without_evidence_is_dark():
    tokens = [{"token": "dull", "score": 0.0, "special": False}]
    assert f'style="{views.paint(0.0)}"' in views.comparison([{**METHOD, "tokens": tokens}])
