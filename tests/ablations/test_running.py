"""What is said under masks equals a plain loop over single inputs without padding, in plain Transformers calls."""

import pytest
import torch

from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.ablations.drawing import draw_masks
from hf_diffmask.ablations.running import REPLACEMENTS, replacement_of, replacements_for, run_masks
from hf_diffmask.testbeds.gru import GruConfig, GruForSequenceClassification
from tests.helpers import ARCHITECTURES, CONTEXT, OTHERS, QUESTION, build, recorded_of

LENGTHS = (3, 9, 6)


def of(model):
    """An explainer with a random baseline, for a base model whose output depends on all tokens."""
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(4 if value.dim() == 2 else 1)
    explainer = DiffMaskModel.from_base_model(model).eval()
    with torch.no_grad():
        explainer.baseline.normal_()
    return explainer


def padded(lengths=LENGTHS):
    """Ids from 2 on, padded on the right, with special tokens at the start and the end."""
    units = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(4, 60, units.shape).masked_fill(~units, 0)
    last = torch.tensor(lengths)[:, None] - 1
    special = (torch.arange(max(lengths)) == last) | (torch.arange(max(lengths)) == 0)
    return {"input_ids": ids, "attention_mask": units.long(), "special_tokens_mask": special.long()}


@torch.no_grad()
def plain(explainer, ids, keep, replacement):
    """Log-probabilities of one input without padding."""
    model = explainer.base
    if replacement == "attention":
        output = model(input_ids=ids[None], attention_mask=keep[None].long())
    else:
        embedded = torch.where(keep[:, None], model.get_input_embeddings()(ids), explainer.baseline)
        output = model(inputs_embeds=embedded[None])
    return output.logits.log_softmax(-1)[0]


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("replacements", [REPLACEMENTS, ("attention",), ("baseline",)])
def test_each_mask_is_run_as_a_single_input(name, replacements):
    explainer, features = of(build(name).eval()), padded()
    recorded = recorded_of(explainer, **features)
    masks = draw_masks(0, torch.arange(3), recorded.batch.maskable, 6)
    found = run_masks(explainer, recorded, masks, replacements, batch_size=4)
    assert found.shape == (3, 6, 2) and not found.requires_grad
    torch.testing.assert_close(run_masks(explainer, recorded, masks, replacements), found)
    for row, length in enumerate(LENGTHS):
        keep = masks[row] | features["special_tokens_mask"][row].bool()
        for number in range(6):
            replacement = replacements[number // 2 % len(replacements)]
            expected = plain(explainer, features["input_ids"][row, :length], keep[number, :length], replacement)
            torch.testing.assert_close(found[row, number], expected, atol=1e-5, rtol=1e-4)


def test_one_pair_has_one_replacement():
    explainer, features = of(build("bert").eval()), padded()
    recorded = recorded_of(explainer, **features)
    masks = draw_masks(0, torch.arange(3), recorded.batch.maskable, 2)
    found = run_masks(explainer, recorded, masks, REPLACEMENTS)
    torch.testing.assert_close(found, run_masks(explainer, recorded, masks, ("baseline",)))


def test_pairs_alternate_over_the_replacements():
    assert replacement_of(torch.arange(9), 2).tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0]
    assert replacement_of(torch.arange(4), 1).tolist() == [0, 0, 0, 0]


def test_answers_are_kept_as_log_odds_of_the_predicted_span(answerer, tokenizer):
    explainer = DiffMaskModel.from_base_model(answerer, tokenizer).eval()
    texts = [(QUESTION, CONTEXT), *OTHERS]
    questions, contexts = [question for question, _ in texts], [context for _, context in texts]
    features = tokenizer(questions, contexts, padding=True, return_tensors="pt", return_special_tokens_mask=True)
    recorded = recorded_of(explainer, **features)
    masks = draw_masks(0, torch.arange(4), recorded.batch.maskable, 4)
    found = run_masks(explainer, recorded, masks, REPLACEMENTS)
    assert found.shape == (4, 4, 1)
    for row, (question, context) in enumerate(texts):
        single = tokenizer(question, context, return_tensors="pt", return_special_tokens_mask=True)
        special, length = single.pop("special_tokens_mask")[0].bool(), single["input_ids"].shape[1]
        with torch.no_grad():
            whole = answerer(**single)
        spans = [logits[0].argmax() for logits in (whole.start_logits, whole.end_logits)]
        for number in range(4):
            keep = masks[row, number, :length] | special
            with torch.no_grad():
                if number < 2:
                    embedded = torch.where(
                        keep[:, None], answerer.get_input_embeddings()(single["input_ids"][0]), explainer.baseline
                    )
                    given = {name: value for name, value in single.items() if name != "input_ids"}
                    output = answerer(**given, inputs_embeds=embedded[None])
                else:
                    output = answerer(**{**single, "attention_mask": keep[None].long()})
            logs = [
                (logits[0] if number < 2 else logits[0].masked_fill(~keep, -1e9)).double().log_softmax(-1)[k]
                for logits, k in zip((output.start_logits, output.end_logits), spans, strict=True)
            ]
            expected = (sum(logs).exp() / -torch.expm1(sum(logs))).log()
            value, clamped = found[row, number, 0], explainer.task.log_odds(found[row, number])
            torch.testing.assert_close(clamped[0].double(), expected.clamp(-8, 8), atol=1e-3, rtol=1e-3)
            assert value == clamped or abs(value) > 8


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_models_with_attention_allow_its_removal(name):
    assert replacements_for(of(build(name).eval())) == REPLACEMENTS


def test_a_recurrent_model_allows_only_the_baseline():
    torch.manual_seed(0)
    model = GruForSequenceClassification(GruConfig(vocab_size=30, embedding_size=8, hidden_size=8, num_labels=3))
    assert replacements_for(of(model.eval())) == ("baseline",)


def test_an_unknown_replacement_is_refused(explainer, batch):
    recorded = recorded_of(explainer, **batch)
    with pytest.raises(DiffMaskError) as error:
        run_masks(explainer, recorded, recorded.batch.maskable[:, None], ("baseline", "mask"))
    assert str(error.value) == "The replacement must be baseline or attention, but is 'mask'."
