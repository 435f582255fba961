"""Evaluation agrees with one example at a time."""

import pytest
import torch

from hf_diffmask.training.validation import format_table, measure, table_of_states
from tests.helpers import make_trainer, masked_output, recorded_of


def test_evaluation_agrees_with_one_example_at_a_time(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path, "paper")
    explainer = trainer.model
    torch.nn.init.normal_(explainer.probes.out_weight, std=0.1)
    torch.nn.init.constant_(explainer.probes.out_bias, 1.0)
    metrics = trainer.evaluate()
    kept = units = 0
    divergences, same = [], []
    for item in trainer.eval_dataset.items:
        features = {name: torch.tensor([value]) for name, value in item.items()}
        special = features.pop("special_tokens_mask").bool()
        with torch.no_grad():
            output = explainer(**features, special_tokens_mask=special)
            mask = output.keep_probability[..., -1] > 0.5
            q = masked_output(explainer, mask, **features).double()
        p = output.target.double()
        divergences.append((p.exp() * (p - q)).sum().item())
        same.append(p.argmax() == q.argmax())
        kept += int((mask & ~special).sum())
        units += int((~special).sum())
    assert metrics["eval_kept_share"] == pytest.approx(kept / units, abs=1e-6)
    assert metrics["eval_divergence"] == pytest.approx(sum(divergences) / len(divergences), abs=1e-5)
    assert metrics["eval_agreement"] == pytest.approx(sum(same) / len(same))
    within = sum(d <= 0.1 for d in divergences) / len(divergences)
    assert metrics["eval_within_margin"] == pytest.approx(within)
    met = metrics["eval_divergence"] <= 0.1
    assert metrics["eval_selection"] == pytest.approx(
        metrics["eval_kept_share"] if met else 1 + metrics["eval_divergence"]
    )
    assert format_table(trainer.rows).count("\n") == explainer.config.num_states + 1


def test_measure_of_chosen_states(explainer, tokenizer, batch):
    recorded = recorded_of(explainer, **batch)
    everything, last = measure(explainer, recorded), measure(explainer, recorded, [explainer.config.num_states - 1])
    assert torch.equal(everything[:, -1:], last)
    assert len(table_of_states(["only"], last)) == 1
