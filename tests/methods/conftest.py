"""Fixtures of methods: models with known explanations."""

import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_diffmask import DiffMaskModel
from hf_diffmask.testbeds.counting import STATES, draw, train_target
from tests.helpers import recorded_of


class BagConfig(PreTrainedConfig):
    model_type = "test-bag"


class BagForSequenceClassification(PreTrainedModel):
    """Adds up the features of units, and ignores every other unit."""

    config_class = BagConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(12, 3)
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    @property
    def dummy_inputs(self):
        return {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 1]])}

    def forward(self, input_ids, attention_mask):
        used = attention_mask * (1 - torch.arange(input_ids.shape[1]) % 2)
        yes = (self.embeddings(input_ids).sum(-1) * used).sum(-1, keepdim=True)
        return SequenceClassifierOutput(logits=torch.cat([torch.zeros_like(yes), yes], dim=-1))


@pytest.fixture
def bag():
    model = BagForSequenceClassification(BagConfig(num_labels=2)).eval()
    with torch.no_grad():
        model.embeddings.weight.copy_(torch.linspace(-1, 1, 36).view(12, 3)[torch.randperm(12)])
    explainer = DiffMaskModel.from_base_model(model, states=["embeddings"], margin=0.01).eval()
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]])
    return explainer, {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])}


@pytest.fixture(scope="session")
def counting():
    """A trained target of the counting task, an explainer with mean states as baselines, and examples."""
    torch.manual_seed(0)
    model = train_target(draw(2000, 0), epochs=25)
    explainer = DiffMaskModel.from_base_model(model, states=list(STATES), masking="hidden", margin=0.05).eval()
    examples = draw(60, 1)
    features = {name: getattr(examples, name) for name in ("query_ids", "input_ids", "attention_mask")}
    real = examples.attention_mask.bool()
    with torch.no_grad():
        embeddings, encoded = recorded_of(explainer, **features).states
        explainer.baseline.copy_(embeddings[real].mean(0))
        explainer.hidden_baselines.copy_(encoded[real].mean(0)[None])
    return explainer, features, examples.truth() > 0, real
