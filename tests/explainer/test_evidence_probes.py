"""Evidence probes agree with their formula and read only what they say."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.base.flow import Flow
from hf_diffmask.training.recipes.registry import recipe_config
from tests.helpers import ARCHITECTURES


@pytest.fixture
def explainer(classifier, tokenizer):
    return DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config("ablation")).eval()


def test_a_state_reads_the_embeddings_and_itself(explainer, batch):
    recorded, probes = explainer.record(explainer.batch(**batch)), explainer.probes
    found = probes(recorded)
    for state in (0, 1, explainer.config.num_states - 1):
        h0, hl = (F.layer_norm(one[1, 3], one.shape[-1:]) for one in (recorded.states[0], recorded.states[state]))
        hidden = h0 @ probes.embedding_weight + probes.bias[state]
        if state > 0:
            hidden = hidden + hl @ probes.state_weight[state - 1]
        expected = (F.gelu(hidden) @ probes.out_weight[state]).item()
        assert found[1, 3, state].tolist() == pytest.approx([-expected, expected], abs=1e-5)
    # Another state and another output change no column but the head's and the state's own.
    states = [one.clone() for one in recorded.states]
    states[2] += torch.randn_like(states[2])
    other = probes(recorded._replace(states=states, target=recorded.target.flip(-1)))
    changed = (other - found).abs().amax((0, 1, 3)) > 1e-6
    assert changed.nonzero()[:, 0].tolist() == [2]


def test_the_head_reads_flow_and_others(explainer, batch):
    recorded, probes = explainer.record(explainer.batch(**batch)), explainer.probes
    assert explainer.config.flow_blocks == 3 and recorded.flow is not None
    found = probes(recorded)
    values, shares = recorded.flow
    for flow in (Flow(tuple(one * 1.5 for one in values), shares), Flow(values, shares * 1.5)):
        changed = (probes(recorded._replace(flow=flow)) - found).abs().amax((0, 1, 3)) > 1e-6
        assert changed.nonzero()[:, 0].tolist() == [explainer.config.num_states]


def test_values_at_padding_may_be_nan(explainer, batch):
    """Rows of padding that attend to nothing leave NaN in the next block."""
    recorded, probes = explainer.record(explainer.batch(**batch)), explainer.probes
    padding = ~batch["attention_mask"].bool()
    assert padding.any()
    values = tuple(one.masked_fill(padding[..., None, None], torch.nan) for one in recorded.flow.values)
    found = probes(recorded._replace(flow=recorded.flow._replace(values=values)))
    torch.testing.assert_close(found[~padding], probes(recorded)[~padding])


def test_padding_changes_nothing(explainer, batch):
    whole = explainer(**batch)
    short = {name: value[:1, :5] for name, value in batch.items()}
    assert batch["attention_mask"][0].sum() == 5
    torch.testing.assert_close(explainer(**short).evidence, whole.evidence[:1, :5], atol=1e-4, rtol=1e-4)


def test_the_scale_is_the_root_mean_square_of_a_block(explainer, batch):
    recorded, head = explainer.record(explainer.batch(**batch)), explainer.probes.head
    rows, flow = torch.arange(len(recorded.target)), recorded.flow
    head.measure_scale([recorded.rows(rows[:1]), recorded.rows(rows[1:])])
    real = batch["attention_mask"].bool()
    for block in range(3):
        given = (flow.shares[:, :, block, :, None] * flow.values[block])[real]
        assert head.flow_scale[block].item() == pytest.approx(given.square().mean().sqrt().item(), rel=1e-4)


def test_many_choices_have_evidence_of_their_own(tokenizer, batch):
    settings = {**ARCHITECTURES["bert"], "vocab_size": len(tokenizer), "num_labels": 3}
    base = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", **settings)).eval()
    explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config("ablation")).eval()
    output = explainer(**batch, classes=torch.tensor([2, 0, 1]))
    assert output.evidence.shape[-1] == 3
    assert torch.equal(output.logits[1], output.evidence[1, ..., 0])
    whole = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config("ablation", target="distribution")).eval()
    whole.load_state_dict(explainer.state_dict())
    expected = (output.evidence.abs() * output.target.exp()[:, None, None]).sum(-1)
    torch.testing.assert_close(whole(**batch).logits, expected)


def test_a_base_without_flow_does_without(tokenizer, batch):
    settings = {**ARCHITECTURES["deberta-v2"], "vocab_size": len(tokenizer), "num_labels": 2}
    base = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("deberta-v2", **settings)).eval()
    explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config("ablation")).eval()
    assert not explainer.config.read_flow and not hasattr(explainer.probes.head, "flow_weight")
    assert explainer(**batch).evidence.isfinite().all()


def test_a_base_whose_flow_cannot_be_read_is_refused_when_it_is_loaded(explainer, classifier, batch, tmp_path):
    explainer.save_pretrained(tmp_path)
    eager = type(classifier).from_pretrained(classifier.name_or_path, attn_implementation="eager").eval()
    with pytest.raises(DiffMaskError, match='attn_implementation="sdpa"'):
        DiffMaskModel.from_pretrained(tmp_path, base_model=eager)
    assert DiffMaskModel.from_pretrained(tmp_path)(**batch).evidence.isfinite().all()


def test_small_inputs_are_read_at_once_with_the_same_evidence(explainer, batch, monkeypatch):
    recorded, probes = explainer.record(explainer.batch(**batch)), explainer.probes
    calls, at_once = [], probes._at_once
    monkeypatch.setattr(probes, "_at_once", lambda *given: calls.append(1) or at_once(*given))
    expected = probes(recorded)
    monkeypatch.setattr("hf_diffmask.explainer.evidence_probes.SMALL", 0)
    torch.testing.assert_close(probes(recorded), expected, atol=1e-5, rtol=1e-5)
    assert len(calls) == 1
