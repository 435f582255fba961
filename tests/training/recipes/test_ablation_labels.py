"""Ablations of training inputs, and in a folder in theirs those of some validation inputs."""

from types import SimpleNamespace

from hf_diffmask import DiffMaskModel
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes import ablation_labels
from hf_diffmask.training.recipes.ablation_labels import own_folder, training_ablations, validation_ablations


def test_validation_inputs_have_few_masks_and_only_the_first_have_any(classifier, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation_labels, "VALIDATED", 5)
    args = SimpleNamespace(output_dir=str(tmp_path), masks=4, seed=3, eval_batch_size=8, disable_tqdm=True)
    folder = own_folder(args)
    assert folder == tmp_path / "ablations"
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer)
    data = TextFeatures(tokenizer, sentences(9), 64)
    made = training_ablations(explainer, tokenizer, data, folder, args, None)
    held = validation_ablations(explainer, tokenizer, data, folder, args, None)
    assert (len(made), made.masks_per_input, len(held), held.masks_per_input) == (9, 4, 5, 8)
    assert held.folder == folder / "validation" and len(Ablations(folder)) == 9
