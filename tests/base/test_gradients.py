"""A base model through which no gradient passes is refused before training."""

import pytest
import torch

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.base.gradients import check_gradients
from hf_diffmask.base.states import state_names
from hf_diffmask.errors import DiffMaskError
from tests.helpers import ARCHITECTURES, build


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_all_states(name):
    model = build(name).eval()
    for state in state_names(model):
        check_gradients(model, state)


def test_a_base_without_gradients_is_refused_before_training(classifier, tokenizer, tmp_path):
    forward = classifier.classifier.forward
    # What layers with quantised activations do.
    classifier.classifier.forward = lambda hidden: forward(hidden.detach()).detach()
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config("paper"))
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe="paper", use_cpu=True, report_to="none")
    with pytest.raises(
        DiffMaskError, match="BertForSequenceClassification gives no gradient to the state 'embeddings'"
    ):
        DiffMaskTrainer(explainer, args, processing_class=tokenizer)
    with torch.no_grad():
        assert classifier(input_ids=torch.tensor([[5, 6]])).logits.shape == (1, 2)
