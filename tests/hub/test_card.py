"""Cards state the measured figures."""

import pytest

from hf_diffmask.hub.card_folder import write_card
from tests.helpers import path_pipeline


@pytest.fixture
def explain(classifier, tokenizer):
    return path_pipeline(classifier, tokenizer)


def test_the_card_states_the_coverage(explain, tmp_path):
    coverage = explain.model.masks.threshold_at(0.1)[1][-1].item()
    card = write_card(tmp_path, explain.model).read_text()
    assert f"At the last state's threshold, {coverage:.2f} of the calibration" in card and 0.7 < coverage <= 1
