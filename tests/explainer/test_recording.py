"""One pass gives output and states, and flow where the explainer reads it."""

import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.base.flow import flow
from hf_diffmask.base.running import record_with_attention
from hf_diffmask.explainer.recording import record_batch
from hf_diffmask.training.recipes.registry import recipe_config


@torch.no_grad()
def test_flow_goes_to_the_positions_that_the_task_names(answerer, tokenizer):
    config = recipe_config("ablation", task="question-answering")
    explainer = DiffMaskModel.from_base_model(answerer, tokenizer, **config).eval()
    features = dict(tokenizer("who kept bees ?", "a baker kept bees there", return_tensors="pt"))
    batch = explainer.batch(**features)
    passes = []
    handle = answerer.register_forward_hook(lambda *_: passes.append(1))
    found = record_batch(answerer, explainer.task, explainer.config, batch)
    handle.remove()
    assert len(passes) == 1 and found.batch is batch and len(found.states) == explainer.config.num_states
    # Half of the weight is at the predicted start, half at the predicted end.
    positions = torch.zeros(batch.units.shape)
    for place in found.target[0].argmax(-1).tolist():
        positions[0, place] += 0.5
    expected = flow(record_with_attention(answerer, features, [])[2], positions)
    torch.testing.assert_close(found.flow.shares, expected.shares)
    explainer.config.read_flow = False
    assert record_batch(answerer, explainer.task, explainer.config, batch).flow is None
