"""The cost that is told beforehand is that of a run."""

import pytest

from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.ablating import ablate
from hf_diffmask.training.ablation_cost import cost_of_ablations
from tests.training.test_ablating import settings, without_gradients


def test_the_cost_is_that_of_a_run(classifier, tokenizer, tmp_path):
    explainer, args = DiffMaskModel.from_base_model(classifier, tokenizer), settings(tmp_path / "out")
    texts = sentences(300)
    found = cost_of_ablations(explainer, tokenizer, texts, args)
    assert not (tmp_path / "out").exists() and found.minutes > 0
    # Whole inputs and masks; and three steps of 32 inputs, whole, masked, and twice for gradients.
    assert (found.inputs, found.passes) == (300, 300 * 17 + 3 * 32 * 4)
    ablate(explainer, tokenizer, texts, args)
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert found.bytes == pytest.approx(size, rel=0.15)
    few = cost_of_ablations(
        DiffMaskModel.from_base_model(without_gradients(classifier), tokenizer),
        tokenizer,
        texts[:2],
        settings("x", masks=2),
    )
    assert few.passes == 2 * 3 + 32
    with pytest.raises(DiffMaskError, match="must be even"):
        cost_of_ablations(explainer, tokenizer, texts, settings("x", masks=3))
