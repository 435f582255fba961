"""Refined scores lower the objective."""

import pytest
import torch

from hf_diffmask.evaluation.faithfulness import curves, mean_measures, measures
from hf_diffmask.methods.path_refinement import forwards_of, refine_scores
from tests.helpers import path_config, path_of, recorded_of


@pytest.mark.parametrize(("masking", "target"), [("hidden", "prediction"), ("input", "distribution")])
def test_refining_of_other_kinds(classifier, tokenizer, batch, masking, target):
    explainer = path_of(classifier, tokenizer, **path_config(masking, target))
    recorded = recorded_of(explainer, **batch)
    output = explainer(**batch)
    # The classifier reads only the first token of the last state, and this token is never masked.
    state = 1 if masking == "hidden" else -1
    scores = output.logits[..., state].detach()
    found = refine_scores(explainer, recorded, scores, state, steps=3)
    from_end = state % explainer.config.num_states - explainer.config.num_states
    torch.testing.assert_close(found, refine_scores(explainer, recorded, scores, from_end, steps=3))
    assert (found != scores)[output.maskable].any()
    assert torch.equal(found[~output.maskable], scores[~output.maskable])
    if masking == "hidden":
        assert not torch.allclose(found, refine_scores(explainer, recorded, scores, 0, steps=3)), "another state"
        assert torch.equal(scores, refine_scores(explainer, recorded, scores, -1, steps=3))
    if target == "prediction":
        other = 1 - output.target.argmax(-1)
        assert not torch.allclose(found, refine_scores(explainer, recorded, scores, state, classes=other, steps=3))


def test_refining_moves_scores_down_the_objective(classifier, tokenizer, batch):
    explainer = path_of(classifier, tokenizer, share_mean=False)  # random scores leave room to improve
    recorded = recorded_of(explainer, **batch)
    output = explainer(**batch)
    scores = explainer.attribution(output).detach()
    torch.testing.assert_close(scores, output.logits[..., -1].detach())
    refined = refine_scores(explainer, recorded, scores, steps=30, samples=8, seed=1)
    assert torch.equal(refined, refine_scores(explainer, recorded, scores, steps=30, samples=8, seed=1))
    assert torch.equal(refined[~output.maskable], scores[~output.maskable]), "special tokens, padding"
    inputs = [
        {name: values[row][there].tolist() for name, values in batch.items()}
        for row, there in enumerate(batch["attention_mask"].bool())
    ]
    found = []
    for side in (scores, refined):
        rows = [row[there].tolist() for row, there in zip(side, batch["attention_mask"].bool(), strict=True)]
        found.append(mean_measures(measures(curve) for curve in curves(classifier, tokenizer, inputs, rows)))
    assert found[1]["comprehensiveness"] > found[0]["comprehensiveness"] + 0.05
    assert found[1]["sufficiency"] < found[0]["sufficiency"]
    assert forwards_of(30, 8) == 30 * 8 * 6
