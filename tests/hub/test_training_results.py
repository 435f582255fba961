"""Results of training lie beside the explainer, with a card and a plot made from them."""

import json
import sys

import pytest

from hf_diffmask import DiffMaskModel
from hf_diffmask.hub.card_folder import PLOT
from hf_diffmask.hub.results import read_results
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.training.validation import StateRow
from tests.helpers import path_config

TRAINING = {
    "dataset": "texts.jsonl", "dataset_on_hub": False, "inputs": 900, "validation_inputs": 80, "pairs": False,
    "minutes": 2.5, "machine": "a machine", "versions": {"hf-diffmask": "1", "torch": "2", "transformers": "5"},
    "settings": {"recipe": "fast", "margin": 0.1, "seed": 0},
}  # fmt: skip


@pytest.fixture
def rows(explainer):
    return [StateRow(name, 0.5, 0.0625, 0.9375, 0.875) for name in explainer.config.state_names]


def test_results_plot_and_card(explainer, tokenizer, rows, tmp_path):
    add_training_results(str(tmp_path), explainer, tokenizer, TRAINING, rows)
    found = read_results(tmp_path)
    assert found.keys() == {"training", "states", "examples"} and found["training"] == TRAINING
    assert found["states"] == [row._asdict() for row in rows]
    assert [one["text"].replace("**", "") for one in found["examples"]] == explainer.task.card_inputs(False)
    assert (tmp_path / PLOT).read_bytes().startswith(b"\x89PNG")
    card = (tmp_path / "README.md").read_text()
    assert PLOT in card and "900" in card and "0.938" in card


def test_without_matplotlib_the_card_has_no_plot(explainer, tokenizer, rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    add_training_results(str(tmp_path), explainer, tokenizer, {**TRAINING, "pairs": True}, rows)
    assert not (tmp_path / PLOT).exists() and PLOT not in (tmp_path / "README.md").read_text()
    assert len(read_results(tmp_path)["examples"]) == 2, "pairs"


def test_a_path_that_is_not_calibrated_has_nothing_to_plot(classifier, tokenizer, tmp_path):
    path = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config())
    add_training_results(str(tmp_path), path, tokenizer, TRAINING, [])
    assert not (tmp_path / PLOT).exists() and (tmp_path / "README.md").is_file()
    assert json.loads((tmp_path / "explainer_results.json").read_text())["states"] == []
