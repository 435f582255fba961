"""The explainer for other methods has the trained one's base model, states and constants. It uses the mask token."""

import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.testbeds.counting import STATES, CountingConfig, CountingForSequenceClassification


def test_it_is_untrained_and_shares_the_base_model(explainer, classifier, tokenizer):
    with torch.no_grad():
        explainer.baseline.add_(1.0)
    explainer.set_constants({"reads": "last"})
    plain = plain_explainer(explainer, tokenizer)
    assert plain.base is explainer.base and not plain.training
    mask_token = classifier.get_input_embeddings().weight[tokenizer.mask_token_id]
    torch.testing.assert_close(plain.baseline.detach(), mask_token.detach())
    assert plain.task.constants == plain.config.task_constants == {"reads": "last"}
    assert plain.config.state_names == explainer.config.state_names
    plain.set_constants({"reads": "first"})
    assert explainer.task.constants == {"reads": "last"}


def test_a_model_without_blocks_keeps_its_named_states(tokenizer):
    base = CountingForSequenceClassification(CountingConfig()).eval()
    explainer = DiffMaskModel.from_base_model(base, states=STATES)
    assert plain_explainer(explainer, None).config.state_names == list(STATES)
