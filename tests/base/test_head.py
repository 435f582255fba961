"""Positions that a head reads, and their weights."""

import pytest
import torch

from hf_diffmask.base.head import head_reads, head_weights
from hf_diffmask.base.states import state_names
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.testbeds.gru import GruConfig, GruForSequenceClassification
from tests.helpers import build


@pytest.mark.parametrize(
    ("name", "reads"),
    [("bert", "first"), ("roberta", "first"), ("distilbert", "first"), ("deberta-v2", "first"), ("gpt2", "last"),
     ("llama", "last"), ("modernbert", "first")],
)  # fmt: skip
def test_what_heads_read(name, reads):
    model = build(name).eval()
    assert head_reads(model, state_names(model)) == reads
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_a_head_that_reads_the_mean_and_one_that_reads_otherwise():
    mean = build("modernbert")
    mean.config.classifier_pooling = "mean"
    assert head_reads(mean, state_names(mean)) == "mean"
    gru = GruForSequenceClassification(GruConfig(vocab_size=20))
    assert head_reads(gru, state_names(gru)) is None, "it reads the maximum of each feature"


def test_weights_by_hand():
    units = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1]])
    assert head_weights("first", units).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert head_weights("last", units).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert head_weights("mean", units).tolist() == [pytest.approx([1 / 3] * 3 + [0]), [0, 0, 0.5, 0.5]]
    with pytest.raises(DiffMaskError, match="not known which positions"):
        head_weights(None, units)
