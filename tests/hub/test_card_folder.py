"""Evaluations are written where the Hub looks for them."""

from hf_diffmask.hub.card_folder import write_card
from hf_diffmask.hub.results import add_results


def test_evaluations_where_the_hub_looks_for_them(explainer, tmp_path):
    figures = {"comprehensiveness": {"mean": 0.51234, "low": 0.5, "high": 0.6}}
    measured = {
        "preset": "hf_diffmask", "inputs": 9, "dataset": "org/data", "dataset_on_hub": True, "dataset_config": "one",
        "held_out": "pad", "machine": "m", "figures": figures, "table": "| a |\n|---|\n| 1 |",
    }  # fmt: skip
    add_results(tmp_path, faithfulness=measured)
    write_card(tmp_path, explainer)
    assert "Unseen replacement: tokens removed by `pad`. m." in (tmp_path / "README.md").read_text(), "as in 0.1.0"
    found = (tmp_path / ".eval_results" / "hf-diffmask.yaml").read_text()
    assert "id: org/data" in found and "task_id: one" in found and "value: 0.5123" in found
    add_results(tmp_path, faithfulness={**measured, "dataset": "mine.csv", "dataset_on_hub": False})
    write_card(tmp_path, explainer)
    assert not (tmp_path / ".eval_results" / "hf-diffmask.yaml").exists()
