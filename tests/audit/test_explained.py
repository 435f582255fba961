"""Explanations of many inputs, checked against single passes of the explainer."""

import pytest
import torch

from hf_diffmask.audit.explained import explain_inputs, masking_everything
from tests.helpers import masked_output, recorded_of


def test_explained_are_the_explainer_s_own_masks(explainer, tokenizer, inputs):
    for features, found in zip(
        inputs[:3], explain_inputs(explainer, tokenizer, inputs, batch_size=5)[:3], strict=True
    ):
        batch = {name: torch.tensor([values]) for name, values in features.items()}
        with torch.no_grad():
            output = explainer(**batch)
            kept = output.keep_probability[..., -1] > 0.5
            bare = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
            masked = masked_output(explainer, kept, **bare)
        assert found.kept == kept[0].tolist() and found.predicted == output.target.argmax().item()
        assert found.scores == pytest.approx(output.keep_probability.mean(-1)[0].tolist(), abs=1e-5)
        divergence = (output.target.exp() * (output.target - masked)).sum().item()
        assert found.cost == pytest.approx(divergence, abs=1e-5)
        assert found.agrees == (masked.argmax().item() == found.predicted)
        assert found.logits.shape == (len(found.kept) - 2, explainer.config.num_states)


def test_what_it_costs_to_mask_everything(explainer, tokenizer, inputs):
    costs = []
    for features in inputs[:5]:
        batch = {name: torch.tensor([values]) for name, values in features.items() if name != "special_tokens_mask"}
        with torch.no_grad():
            target = recorded_of(explainer, **batch).target
            masked = masked_output(explainer, torch.tensor([features["special_tokens_mask"]]).bool(), **batch)
        costs.append((target.exp() * (target - masked)).sum().item())
    found = masking_everything(explainer, tokenizer, inputs[:5], batch_size=2)
    assert found == pytest.approx(sum(costs) / 5, abs=1e-5) and found > 0.01
