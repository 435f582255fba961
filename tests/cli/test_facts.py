"""Facts about a run name its model and data without local paths."""

import json
import platform

import pytest
import torch

import hf_diffmask
from hf_diffmask.cli.facts import about_run, name_of


def test_names_without_the_path(tmp_path, monkeypatch):
    (tmp_path / "explainer").mkdir()
    monkeypatch.chdir(tmp_path / "explainer")
    assert name_of(str(tmp_path / "explainer")) == name_of(".") == "explainer"
    assert name_of("../explainer/") == "explainer"
    assert name_of("acme/explainer") == "acme/explainer"


@pytest.mark.parametrize(
    ("dataset", "shown"), [("acme/data", "acme/data"), ("texts.jsonl", "texts.jsonl"), ("{}/texts.csv", "texts.csv")]
)
def test_what_is_known_of_a_run(explainer, tmp_path, dataset, shown):
    (tmp_path / "mine").mkdir()
    (tmp_path / "texts.csv").write_text("text\na film\n")
    found = about_run(explainer, str(tmp_path / "mine"), dataset.format(tmp_path))
    assert found == {
        "version": hf_diffmask.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "model": "mine",
        "base_model_fingerprint": explainer.config.base_model_fingerprint,
        "dataset": shown,
    }
    assert str(tmp_path) not in json.dumps(found)
    assert about_run(explainer, None, dataset)["model"] == "bundled with the package"
