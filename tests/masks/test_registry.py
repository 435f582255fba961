"""Every objective of a config has its masks, and all of them agree."""

import pytest
import torch

from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskModel
from hf_diffmask.masks.registry import MASKS
from hf_diffmask.pipeline.options import ON_VIOLATION


def test_names():
    assert list(MASKS) == ["lagrangian", "path", "ablation"] == [masks.name for masks in MASKS.values()]
    assert DiffMaskConfig().objective in MASKS


@pytest.mark.parametrize("objective", MASKS)
def test_masks_keep_what_cannot_be_masked_and_rank_the_rest(classifier, tokenizer, batch, objective):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, objective=objective).eval()
    assert type(explainer.masks) is MASKS[objective]
    maskable = explainer.batch(**batch).maskable
    logits = torch.randn(*maskable.shape, len(explainer.config.columns))
    keep = explainer.masks.keep(logits, maskable, 0.1)
    assert keep.shape == logits.shape and (keep[~maskable] == 1).all() and ((keep >= 0) & (keep <= 1)).all()
    assert explainer.masks.attribution(logits, keep).shape == maskable.shape
    for name, value in MASKS[objective].buffers(len(explainer.config.columns)).items():
        assert torch.equal(getattr(explainer, name), value)


@pytest.mark.parametrize("objective", MASKS)
def test_what_can_be_done_about_a_violation_is_what_is_not_refused(classifier, tokenizer, objective):
    masks = DiffMaskModel.from_base_model(classifier, tokenizer, objective=objective).masks
    taken = []
    for on_violation in ON_VIOLATION:
        try:
            masks.check(on_violation, margin=None)
        except DiffMaskError:
            continue
        taken.append(on_violation)
    assert taken == [one for one in ON_VIOLATION if one in masks.on_violation]
    if masks.any_margin:
        masks.check("keep", margin=0.2)
    else:
        with pytest.raises(DiffMaskError, match="`margin` is for explainers"):
            masks.check("keep", margin=0.2)
