"""Probes agree with their formula and read only the documented inputs."""

import math

import pytest
import torch

from hf_diffmask import DiffMaskModel
from tests.explainer.helpers import base_features
from tests.helpers import recorded_of


def test_probes_agree_with_the_formula_state_by_state(explainer, batch):
    # alpha_l = 10 tanh(w_l . tanh(W_l [h0 ; h_l ; m_l ; o] + b_l)) + c_l, one state and one unit at a time.
    # w_l and c_l belong to the predicted class; o is its log-odds / 3 - 1.
    recorded = recorded_of(explainer, **base_features(batch))
    classes, probability = [0, 1, 1], torch.tensor([0.9, 0.6, 0.999])
    target = torch.stack([1 - probability, probability], -1).log()
    target[0] = target[0].flip(0)
    odds = [math.log(p / (1 - p)) / 3 - 1 for p in (0.9, 0.6, 0.999)]
    maskable = explainer(**batch).maskable
    logits = explainer.probes(recorded.states, target, maskable)
    probes, width = explainer.probes, explainer.config.probe_size

    def normal(vector):
        return (vector - vector.mean()) / (vector.var(unbiased=False) + 1e-5).sqrt()

    for state, row, unit in [(0, 0, 1), (1, 1, 4), (explainer.config.num_states - 1, 2, 3)]:
        h0, hl = normal(recorded.states[0][row, unit]), normal(recorded.states[state][row, unit])
        hidden = h0 @ probes.embedding_weight[:, state * width : (state + 1) * width] + probes.bias[state]
        hidden = hidden + odds[row] * probes.confidence_weight[state]
        if state > 0:
            mean = torch.stack([normal(vector) for vector in recorded.states[state][row, maskable[row]]]).mean(0)
            hidden = hidden + hl @ probes.state_weight[state - 1] + mean @ probes.mean_weight[state - 1]
        weight, level = probes.out_weight[classes[row], state], probes.out_bias[classes[row], state]
        alpha = 10 * torch.tanh(torch.tanh(hidden) @ weight) + level
        assert logits[row, unit, state].item() == pytest.approx(alpha.item(), abs=1e-4)


def test_probes_that_share_what_reads_the_mean(classifier, tokenizer, batch):
    own = DiffMaskModel.from_base_model(classifier, tokenizer, share_mean=False)
    shared = DiffMaskModel.from_base_model(classifier, tokenizer, share_mean=True)
    size = own.config.hidden_size, own.config.probe_size
    assert own.probes.mean_weight.shape == (4, *size) and shared.probes.mean_weight.shape == (1, *size)
    # With equal weights in all states, own weights give the same logits as shared weights.
    same = {**shared.state_dict(), "probes.mean_weight": shared.probes.mean_weight.detach().expand(4, -1, -1)}
    own.load_state_dict(same)
    torch.testing.assert_close(own(**batch).logits, shared(**batch).logits)
    before = shared(**batch).logits.detach()
    with torch.no_grad():
        shared.probes.mean_weight.zero_()
    changed = (shared(**batch).logits - before).abs().amax((0, 1))
    assert changed[0] == 0 and (changed[1:] > 0).all()


def test_probes_are_those_of_the_predicted_class(explainer, batch):
    both = explainer(**batch)
    predicted = both.target.argmax(-1)
    assert predicted.unique().tolist() == [0, 1], "both classes are predicted"
    with torch.no_grad():
        explainer.probes.out_bias[1] -= 2.0
    changed = explainer(**batch)
    units = both.maskable
    assert torch.equal(changed.logits[predicted == 0], both.logits[predicted == 0])
    assert (changed.logits[(predicted == 1)[:, None] & units] < both.logits[(predicted == 1)[:, None] & units]).all()
    shared = DiffMaskModel.from_base_model(explainer.base, class_conditional=False)
    assert shared.probes.out_weight.shape[0] == 1 and shared(**batch).logits.shape == both.logits.shape


def test_probes_of_the_paper_read_no_context(explainer, batch):
    plain = DiffMaskModel.from_base_model(explainer.base, read_context=False)
    context = {"probes.mean_weight", "probes.confidence_weight"}
    assert explainer.state_dict().keys() - plain.state_dict().keys() == context
    plain.load_state_dict({k: v for k, v in explainer.state_dict().items() if k not in context})
    assert not torch.allclose(plain(**batch).logits, explainer(**batch).logits)
    with torch.no_grad():
        explainer.probes.mean_weight.zero_()
        explainer.probes.confidence_weight.zero_()
    torch.testing.assert_close(plain(**batch).logits, explainer(**batch).logits)
