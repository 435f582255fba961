"""Attention, checked by hand, and refused for models without attention."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.methods.attention import attention
from tests.helpers import ARCHITECTURES, SMALL
from tests.methods.helpers import without_special


def test_attention_by_hand(explainer, classifier, batch):
    with torch.no_grad():
        hidden = classifier(**without_special(batch), output_hidden_states=True).hidden_states
    attended = [attention(explainer, batch, state) for state in range(4)]
    heads = classifier.config.num_attention_heads
    real = batch["attention_mask"].bool()
    for block, layer in enumerate(classifier.bert.encoder.layer):
        q, k = (
            part(hidden[block]).detach().unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in (layer.attention.self.query, layer.attention.self.key)
        )
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~real[:, None, None], -torch.inf).softmax(-1)
        for row, length in enumerate(real.sum(-1).tolist()):
            expected = scores[row, :, :length, :length].mean((0, 1))
            found = attended[block + 1][row]
            torch.testing.assert_close(found[1 : length - 1], expected[1:-1], atol=1e-5, rtol=1e-4)
            assert found.sum() < 1
    assert torch.equal(attended[0], attended[1])
    assert not torch.allclose(attended[1], attended[2], atol=1e-2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_attention_of_architectures(name):
    config = AutoConfig.for_model(name, **{**SMALL, **ARCHITECTURES[name]})
    model = AutoModelForSequenceClassification.from_config(config).eval()
    implementation = model.config._attn_implementation
    explainer = DiffMaskModel.from_base_model(model)
    features = {"input_ids": torch.randint(3, 60, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    found = [attention(explainer, features, state) for state in (0, 1, 3)]
    assert model.config._attn_implementation == implementation and not model.config.output_attentions
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(**features, output_attentions=True).attentions
    for scores, block in zip(found, (0, 0, 2), strict=True):
        torch.testing.assert_close(scores, weights[block].mean((1, 2)))
        torch.testing.assert_close(scores.sum(-1), torch.ones(2))


def test_attention_that_is_not_there(explainer, batch, counting, monkeypatch):
    with pytest.raises(DiffMaskError, match=r"No block reads the state 'block.2.output'"):
        attention(explainer, batch, -1)
    counter, features, *_ = counting
    for state in (0, 1):
        with pytest.raises(DiffMaskError, match="No block reads the state"):
            attention(counter, features, state)
    base = explainer.base
    config = base.config.to_dict()
    with monkeypatch.context() as patch:
        patch.setattr(type(base), "_can_set_attn_implementation", classmethod(lambda cls: False))
        with pytest.raises(DiffMaskError, match="cannot return attention in its implementation 'sdpa'"):
            attention(explainer, batch)
    with monkeypatch.context() as patch:
        forward = base.forward
        patch.setattr(base, "forward", lambda **inputs: SequenceClassifierOutput(logits=forward(**inputs).logits))
        with pytest.raises(DiffMaskError, match="does not return the attention of its 3 blocks"):
            attention(explainer, batch)
    assert base.config.to_dict() == config and base.config._attn_implementation == "sdpa"
