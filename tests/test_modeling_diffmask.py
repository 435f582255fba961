"""The explainer as an artifact: probes, masks, saving, loading, and the base model it holds by reference."""

import copy
import json
import math
import shutil

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskModel
from hf_diffmask.data import max_length


def base_features(batch):
    return {name: value for name, value in batch.items() if name != "special_tokens_mask"}


def test_probes_agree_with_the_formula_state_by_state(explainer, batch):
    # alpha_l = 10 tanh(w_l . tanh(W_l [h0 ; h_l ; m_l ; o] + b_l)) + c_l, one state and one unit at a time, with w_l
    # and c_l of the class that is predicted, and o its log-odds, over 3, less 1.
    recorded = explainer.record(**base_features(batch))
    classes, probability = [0, 1, 1], torch.tensor([0.9, 0.6, 0.999])
    target = torch.stack([1 - probability, probability], -1).log()
    target[0] = target[0].flip(0)
    odds = [math.log(p / (1 - p)) / 3 - 1 for p in (0.9, 0.6, 0.999)]
    maskable = explainer(**batch).maskable
    logits = explainer.probes(recorded.states, target, maskable)
    probes, width = explainer.probes, explainer.config.probe_size

    def normal(vector):
        return (vector - vector.mean()) / (vector.var(unbiased=False) + 1e-5).sqrt()

    for state, row, unit in [(0, 0, 1), (1, 1, 4), (explainer.config.num_states - 1, 2, 3)]:
        h0, hl = normal(recorded.states[0][row, unit]), normal(recorded.states[state][row, unit])
        hidden = h0 @ probes.embedding_weight[:, state * width : (state + 1) * width] + probes.bias[state]
        hidden = hidden + odds[row] * probes.confidence_weight[state]
        if state > 0:
            mean = torch.stack([normal(vector) for vector in recorded.states[state][row, maskable[row]]]).mean(0)
            hidden = hidden + hl @ probes.state_weight[state - 1] + mean @ probes.mean_weight[state - 1]
        weight, level = probes.out_weight[classes[row], state], probes.out_bias[classes[row], state]
        alpha = 10 * torch.tanh(torch.tanh(hidden) @ weight) + level
        assert logits[row, unit, state].item() == pytest.approx(alpha.item(), abs=1e-4)


def test_probes_that_share_what_reads_the_mean(classifier, tokenizer, batch):
    own = DiffMaskModel.from_base_model(classifier, tokenizer, share_mean=False)
    shared = DiffMaskModel.from_base_model(classifier, tokenizer, share_mean=True)
    size = own.config.hidden_size, own.config.probe_size
    assert own.probes.mean_weight.shape == (4, *size) and shared.probes.mean_weight.shape == (1, *size)
    # One whose own weights are all the same is the one that shares them.
    same = {**shared.state_dict(), "probes.mean_weight": shared.probes.mean_weight.detach().expand(4, -1, -1)}
    own.load_state_dict(same)
    torch.testing.assert_close(own(**batch).logits, shared(**batch).logits)
    before = shared(**batch).logits.detach()
    with torch.no_grad():
        shared.probes.mean_weight.zero_()
    changed = (shared(**batch).logits - before).abs().amax((0, 1))
    assert changed[0] == 0 and (changed[1:] > 0).all()


def test_probes_are_those_of_the_predicted_class(explainer, batch):
    both = explainer(**batch)
    predicted = both.target.argmax(-1)
    assert predicted.unique().tolist() == [0, 1], "the sentences are of both classes"
    with torch.no_grad():
        explainer.probes.out_bias[1] -= 2.0
    changed = explainer(**batch)
    units = both.maskable
    assert torch.equal(changed.logits[predicted == 0], both.logits[predicted == 0])
    assert (changed.logits[(predicted == 1)[:, None] & units] < both.logits[(predicted == 1)[:, None] & units]).all()
    shared = DiffMaskModel.from_base_model(explainer.base, class_conditional=False)
    assert shared.probes.out_weight.shape[0] == 1 and shared(**batch).logits.shape == both.logits.shape


def test_probes_of_the_paper_read_no_context(explainer, batch):
    plain = DiffMaskModel.from_base_model(explainer.base, read_context=False)
    context = {"probes.mean_weight", "probes.confidence_weight"}
    assert explainer.state_dict().keys() - plain.state_dict().keys() == context
    plain.load_state_dict({k: v for k, v in explainer.state_dict().items() if k not in context})
    assert not torch.allclose(plain(**batch).logits, explainer(**batch).logits)
    with torch.no_grad():
        explainer.probes.mean_weight.zero_()
        explainer.probes.confidence_weight.zero_()
    torch.testing.assert_close(plain(**batch).logits, explainer(**batch).logits)


def test_forward_gives_falling_probabilities_and_keeps_special_tokens(explainer, batch):
    output = explainer(**batch)
    keep = output.keep_probability
    assert keep.shape == (*batch["input_ids"].shape, explainer.config.num_states)
    assert ((keep >= 0) & (keep <= 1)).all() and (keep.diff(dim=-1) <= 1e-6).all()
    fixed = batch["special_tokens_mask"].bool() | ~batch["attention_mask"].bool()
    assert (keep[fixed] == 1).all() and (keep[~fixed][:, -1] < 1).all()


def test_special_tokens_can_be_units(classifier, tokenizer, batch):
    model = DiffMaskModel.from_base_model(classifier, tokenizer, mask_special_tokens=True)
    output = model(**batch)
    assert output.maskable.sum() == batch["attention_mask"].sum()


def test_padding_changes_nothing(explainer, tokenizer, batch):
    together = explainer(**batch)
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        alone = explainer(**{name: value[row : row + 1, :length] for name, value in batch.items()})
        torch.testing.assert_close(
            together.keep_probability[row, :length], alone.keep_probability[0], atol=1e-5, rtol=0
        )


def test_masked_forward_of_everything_and_of_mask_tokens(explainer, classifier, tokenizer, batch):
    features = base_features(batch)
    with torch.no_grad():
        whole = classifier(**features).logits.log_softmax(-1)
        torch.testing.assert_close(
            explainer.masked_forward(torch.ones(3, batch["input_ids"].shape[1]), **features), whole
        )
        # The baseline starts at the mask token's embedding: masking is then the same as writing [MASK].
        mask = torch.ones_like(batch["input_ids"])
        mask[:, 2] = 0
        written = {**features, "input_ids": features["input_ids"].clone()}
        written["input_ids"][:, 2] = tokenizer.mask_token_id
        expected = classifier(**written).logits.log_softmax(-1)
        torch.testing.assert_close(explainer.masked_forward(mask, **features), expected)


def test_sampled_masks_only_touch_votes_up_to_the_state(explainer, batch):
    explainer.config.path_gradient = False
    noise = torch.rand(*batch["input_ids"].shape, explainer.config.num_states)
    states = torch.tensor([0, 1, 2])
    output = explainer(**batch, states=states, noise=noise)
    other = noise.clone()
    for row, state in enumerate(states.tolist()):
        other[row, :, state + 1 :] = torch.rand_like(other[row, :, state + 1 :])
    again = explainer(**batch, states=states, noise=other)
    assert torch.equal(output.masked, again.masked)


def test_masks_on_paths_come_with_the_hard_mask_of_the_state(explainer, batch):
    # Levels apart, so that both sides of one half occur and the states differ.
    with torch.no_grad():
        explainer.probes.out_weight.mul_(3)
        explainer.probes.out_bias.fill_(1.0)
    states = torch.tensor([0, 2, 1])
    output = explainer(
        **batch, states=states, noise=torch.rand(*batch["input_ids"].shape, explainer.config.num_states)
    )
    keep = torch.stack([output.keep_probability[row, :, state] for row, state in enumerate(states.tolist())]) > 0.5
    assert keep.any() and not keep.all() and not output.masked_hard.requires_grad
    assert torch.equal(output.masked_hard, explainer.masked_forward(keep, **base_features(batch)))
    assert not torch.equal(output.masked_hard, output.masked)
    noise = torch.rand(*batch["input_ids"].shape, explainer.config.num_states)
    unchecked = explainer(**batch, states=states, noise=noise, check=False)
    assert unchecked.masked is not None and unchecked.masked_hard is None


def test_gradient_reaches_probes_and_baseline_but_not_the_base(explainer, classifier, batch):
    noise = torch.rand(*batch["input_ids"].shape, explainer.config.num_states)
    output = explainer(**batch, states=torch.full((3,), 3), noise=noise)
    output.masked[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in explainer.parameters())
    assert explainer.baseline.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_saved_explainer_holds_no_base_and_reloads_identically(explainer, batch, tmp_path):
    explainer.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    size = sum(parameter.numel() for parameter in explainer.parameters()) * 4
    assert (tmp_path / "model.safetensors").stat().st_size < size + 2000
    for loaded in (DiffMaskModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, DiffMaskModel)
        assert loaded._base is None, "the base must not be loaded before it is needed"
        assert torch.equal(loaded(**batch).keep_probability, explainer(**batch).keep_probability)
        assert torch.equal(loaded(**batch).target, explainer(**batch).target)


def test_base_is_no_part_of_the_explainer(explainer):
    assert not any("bert" in name for name, _ in explainer.named_parameters())
    assert not any("bert" in name for name in explainer.state_dict())
    explainer.train()
    assert not explainer.base.training


def test_injected_base_is_never_moved_or_retyped(explainer, classifier, batch):
    explainer.half().float()
    assert classifier.dtype == torch.float32 and explainer.base is classifier
    explainer.to("meta")
    with pytest.raises(DiffMaskError, match="move one of them"):
        explainer.base  # noqa: B018
    assert classifier.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lazy_base_is_loaded_in_the_precision_of_training(tokenizer, batch, tmp_path, dtype):
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER, dtype=dtype)
    model = DiffMaskModel.from_base_model(base, tokenizer)
    model.save_pretrained(tmp_path)
    loaded = DiffMaskModel.from_pretrained(tmp_path)
    assert loaded.base.dtype == dtype and loaded.dtype == torch.float32
    torch.testing.assert_close(loaded(**batch).keep_probability, model(**batch).keep_probability)


def test_explainer_inside_the_folder_of_its_base(tmp_path, batch, monkeypatch):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "base")
    model = DiffMaskModel.from_base_model(AutoModelForSequenceClassification.from_pretrained(tmp_path / "base"))
    monkeypatch.chdir(tmp_path.parent)
    for folder in ("base/explainer", ".hidden", "."):
        model.save_pretrained(tmp_path / folder)
        loaded = DiffMaskModel.from_pretrained(tmp_path / folder)
        assert torch.equal(loaded(**batch).target, model(**batch).target)


def test_a_folder_that_is_no_explainer_is_refused():
    with pytest.raises(DiffMaskError, match="is no explainer"):
        DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)


def test_explainer_of_a_half_precision_base(classifier, tokenizer, batch):
    expected = DiffMaskModel.from_base_model(classifier, tokenizer)
    half = DiffMaskModel.from_base_model(classifier.bfloat16(), tokenizer)
    half.load_state_dict(expected.state_dict())
    output = half(**batch)
    assert output.keep_probability.dtype == torch.float32 and output.target.dtype == torch.float32


def test_relative_base_resolves_against_the_folder_of_the_explainer(explainer, batch, tmp_path, monkeypatch):
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "there" / "base")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "there" / "base")
    model = DiffMaskModel.from_base_model(base)
    model.save_pretrained(tmp_path / "there" / "explainer")
    config = json.loads((tmp_path / "there" / "explainer" / "config.json").read_text())
    assert config["base_model_name_or_path"] == "../base"
    # Both folders move together, and the working directory is somewhere else.
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    loaded = DiffMaskModel.from_pretrained("elsewhere/explainer")
    assert torch.equal(loaded(**batch).keep_probability, model(**batch).keep_probability)
    # Saved again from there, the path is relative to the new place.
    loaded.save_pretrained(tmp_path / "copy")
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert config["base_model_name_or_path"] == "../elsewhere/base"


def test_another_base_is_refused_with_what_differs(explainer, tmp_path):
    explainer.save_pretrained(tmp_path / "explainer")
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    with torch.no_grad():
        base.classifier.bias += 1
    with pytest.raises(DiffMaskError, match="weights fingerprint"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer", base_model=base)
    config = copy.deepcopy(base.config)
    config.num_hidden_layers -= 1
    config.vocab_size += 10
    smaller = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(DiffMaskError, match=r"number of states \d+ instead of \d+.*vocabulary \d+ instead of \d+"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer", base_model=smaller)
    # A lazily loaded base is checked as well.
    base.save_pretrained(tmp_path / "wrong")
    explainer_config = json.loads((tmp_path / "explainer" / "config.json").read_text())
    explainer_config["base_model_name_or_path"] = "../wrong"
    (tmp_path / "explainer" / "config.json").write_text(json.dumps(explainer_config))
    with pytest.raises(DiffMaskError, match="not the one that the explainer was trained for"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer").base  # noqa: B018


def test_missing_base_is_one_sentence(explainer, tmp_path):
    explainer.config.base_model_name_or_path = "./gone"
    explainer.__dict__["_base_location"] = "./gone"
    explainer.save_pretrained(tmp_path)
    with pytest.raises(DiffMaskError, match=r"base model .* cannot be loaded: put it there"):
        DiffMaskModel.from_pretrained(tmp_path).base  # noqa: B018


def test_models_that_are_no_classifier_are_refused(classifier):
    with pytest.raises(DiffMaskError, match="no sequence classifier"):
        DiffMaskModel.from_base_model(classifier.bert)
    classifier.config.problem_type = "regression"
    with pytest.raises(DiffMaskError, match="single-label"):
        DiffMaskModel.from_base_model(classifier)


def test_config_is_strict():
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig(margin=0.0)
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig(margin="much")
    with pytest.raises(Exception, match="masking"):
        DiffMaskConfig(masking="sideways")


def test_longest_input(classifier, tokenizer):
    assert max_length(classifier, tokenizer) == classifier.config.max_position_embeddings
