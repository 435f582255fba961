"""Cards state the measured figures."""

import pytest

from hf_diffmask.hub.card import render
from hf_diffmask.hub.card_folder import write_card
from tests.helpers import path_pipeline


@pytest.fixture
def explain(classifier, tokenizer):
    return path_pipeline(classifier, tokenizer)


def test_the_card_states_the_coverage(explain, tmp_path):
    coverage = explain.model.masks.threshold_at(0.1)[1][-1].item()
    card = write_card(tmp_path, explain.model).read_text()
    assert f"At the last state's threshold, {coverage:.2f} of the calibration" in card and 0.7 < coverage <= 1


@pytest.mark.parametrize(
    "target, cost, part", [("prediction", "drop", "prediction"), ("distribution", "divergence", "output")]
)
def test_the_card_says_which_examples_hold_and_what_that_means(explain, target, cost, part):
    row = {"prediction": "NO (0.90)", "kept": "0.50"}
    rows = [
        {**row, "text": "a film", "cost": "0.300", "check": "\u2717 does not hold"},
        {**row, "text": "an old film", "cost": "0.080"},
    ]
    explain.model.config.target = target
    card = render(explain.model.config, 0.9, {"examples": rows}, "org/name", "org/base")
    assert f"| input | prediction | kept | {cost} | check |\n|---|---|---|---|---|\n" in card
    assert "| a film | NO (0.90) | 0.50 | 0.300 | \u2717 does not hold |" in card
    assert "| an old film | NO (0.90) | 0.50 | 0.080 | not recorded |" in card, "before checks were recorded"
    words = " ".join(card.split())
    assert (
        f"The check holds if the {cost} is at most the margin of 0.1. If it does not hold, the kept tokens do not"
        in words
    )
    assert (
        f'(`certificate` is `"holds"`), the kept tokens suffice to preserve the model\'s {part} within the margin'
        in words
    )
    assert ("`drop`" in card) == (cost == "drop")
