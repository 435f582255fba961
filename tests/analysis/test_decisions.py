"""The state that settles a prediction, checked by hand and against masked passes of the pipeline."""

import json

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.analysis.decisions import decided_by_state, fixed_by_state, smallest_shares, unchanged_predictions
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.windows import windows
from hf_diffmask.masks.gates import hard_mask
from hf_diffmask.masks.paths import top
from hf_diffmask.methods.budget_search import smallest_budget
from tests.helpers import STATE_NAMES, masked_output, path_config, recorded_of

TEXTS = [
    "a warm and quietly funny film",
    "the plot is dull",
    "not bad",
    "the cast is lovely , although the second half drags and the ending is silly .",
    "it was fine",
    "dull but warm",
    "a tedious , pointless and lifeless evening",
    "superb",
]


def test_fixed_means_unchanged_from_there_on_up():
    unchanged = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]], dtype=torch.bool)
    data = fixed_by_state(STATE_NAMES, unchanged)
    assert data["unchanged"] == [0.75, 0.75, 0.75]
    # Inputs are fixed from states 0, 2 and 1; the last one never is.
    assert data["fixed"] == [0.25, 0.5, 0.75]
    assert data["count"] == 4 and data["states"] == STATE_NAMES
    assert json.loads(json.dumps(data)) == data


@pytest.mark.parametrize("batch_size", [1, 3])
def test_unchanged_predictions_are_the_pipeline_s(explainer, tokenizer, batch_size):
    """Results keep the order of the inputs, although batches are sorted by length."""
    with torch.no_grad():
        explainer.probes.out_bias.fill_(0.3)
    explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer)
    expected = [
        [explain(text, state=state)["same_prediction"] for state in range(explainer.config.num_states)]
        for text in TEXTS
    ]
    found = unchanged_predictions(explainer, tokenizer, TEXTS, batch_size)
    assert found.dtype == torch.bool and found.tolist() == expected
    assert found.any() and not found.all(dim=1).all()


def test_windows_of_one_text_must_all_be_unchanged(explainer, tokenizer, monkeypatch):
    with torch.no_grad():
        explainer.probes.out_bias.fill_(0.3)
    monkeypatch.setattr(tokenizer, "model_max_length", 8)
    texts = [
        "silly , dull and pointless , yet the cast is warm and lovely and the music is superb",
        "a warm film",
    ]
    rows: list[list[list[bool]]] = []  # for each text, a row for each window
    for text in texts:
        parts = list(windows(encode(tokenizer, text), 8))
        rows.append([])
        for window in parts:
            features = {name: torch.tensor([values]) for name, values in window.features.items()}
            output = explainer(**features)
            del features["special_tokens_mask"]
            masks = hard_mask(output.keep_probability).unbind(-1)
            masked = [masked_output(explainer, mask, state, **features) for state, mask in enumerate(masks)]
            rows[-1].append([bool(one.argmax() == output.target.argmax()) for one in masked])
    assert len(rows[0]) > 2 and len(rows[1]) == 1
    expected = [[all(column) for column in zip(*of_text, strict=True)] for of_text in rows]
    assert expected[0] not in (rows[0][-1], rows[0][1])  # a single window does not decide
    assert unchanged_predictions(explainer, tokenizer, texts).tolist() == expected


def test_smallest_shares_are_within_the_margin_at_every_state(classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config(), margin=0.02).eval()
    texts = ["a warm film", "the plot is dull and the cast looks tired of it", "fine"]
    shares = smallest_shares(explainer, tokenizer, texts, batch_size=2)
    assert shares.shape == (3, explainer.config.num_states)
    for text, of_text in zip(texts, shares, strict=True):
        features = dict(tokenizer(text, return_tensors="pt", return_special_tokens_mask=True))
        output = explainer(**features)
        special = features.pop("special_tokens_mask")
        assert output.maskable.sum() == (1 - special).sum()
        recorded = recorded_of(explainer, **features)
        for state, share in enumerate(of_text):
            budget = (share * output.maskable.sum()).round().long()[None]
            costs = [
                explainer.cost(
                    recorded.target,
                    masked_output(explainer, top(output.logits[..., state], size, output.maskable), state, recorded,
                                             **features),
                )
                for size in (budget, budget - 1)
            ]  # fmt: skip
            assert share * output.maskable.sum() == pytest.approx(budget.item(), abs=1e-4)
            assert costs[0] <= 0.02 + 1e-6 and (budget == 0 or costs[1] > 0.02)
    # No unit is needed if the margin allows any loss.
    assert smallest_shares(explainer, tokenizer, texts, margin=2.0).count_nonzero() == 0


def test_windows_of_a_long_text_add_up(classifier, tokenizer, monkeypatch):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config(), margin=0.02).eval()
    monkeypatch.setattr("hf_diffmask.explainer.inputs.max_length", lambda *_: 8)
    text = "the plot is dull and the cast looks tired of it , but the music is a delight"
    parts = list(windows(encode(tokenizer, text), 8))
    of_windows = []
    for window in parts:
        features = {name: torch.tensor([values]) for name, values in window.features.items()}
        output = explainer(**features)
        budget = smallest_budget(explainer, recorded_of(explainer, **features), output.logits[..., -1], 0.02).budget
        of_windows.append((budget.item(), output.maskable.sum().item()))
    kept, units = (sum(column) for column in zip(*of_windows, strict=True))
    alone = {budget / size for budget, size in of_windows}
    assert len(parts) > 2 and kept / units not in alone, "no window has the share of the whole text"
    shares = smallest_shares(explainer, tokenizer, [text, ""])
    assert shares[0, -1].item() == pytest.approx(kept / units) and (shares[1] == 0).all()


def test_only_a_path_has_smallest_shares(classifier, tokenizer):
    with pytest.raises(DiffMaskError, match="Only a path can be cut at any budget"):
        smallest_shares(DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, ["fine"])


def test_when_it_was_decided_by_hand():
    shares = torch.tensor([[1.0, 0.5, 0.2], [0.8, 0.5, 0.4], [0.9, 0.3, 0.0], [0.7, 0.7, 0.2], [1.0, 0.5, 0.2]])
    data = decided_by_state(STATE_NAMES, shares, 0.1)
    assert (data["states"], data["count"], data["margin"]) == (STATE_NAMES, 5, 0.1)
    assert data["lower"] == pytest.approx([0.8, 0.5, 0.2]) and data["median"] == pytest.approx([0.9, 0.5, 0.2])
    assert data["upper"] == pytest.approx([1.0, 0.5, 0.2]) and data["mean"] == pytest.approx([0.88, 0.5, 0.2])
    assert json.loads(json.dumps(data)) == data
    with pytest.raises(DiffMaskError, match="nothing to analyse"):
        decided_by_state(STATE_NAMES, torch.ones(0, 3), 0.1)
