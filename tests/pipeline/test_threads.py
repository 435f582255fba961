"""Threads share a pipeline, a base model, or both: every call gives what it gives alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.methods.attention import attention

TEXTS = ["a warm and funny film", "the plot is dull", "not bad at all", "superb", "the cast looks tired of it all"]


def made(base, tokenizer, masking, seed):
    explainer = DiffMaskModel.from_base_model(base, tokenizer, masking=masking).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        explainer.probes.out_weight.normal_(std=0.05)
        explainer.probes.out_bias.fill_(2.0)
        for baseline in explainer.baselines():
            baseline.normal_(std=0.1)
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer)


def numbers(result):
    return [result["score"], result["divergence"], *(value for token in result["tokens"] for value in token["states"])]


def together(threads, calls):
    """Results of calls that threads run at the same time."""
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(*call) for call in calls]]


@pytest.fixture
def pipes(classifier, tokenizer):
    return [made(classifier, tokenizer, masking, seed) for seed, masking in enumerate(("input", "hidden"))]


@pytest.mark.parametrize("threads", [2, 4])
def test_calls_at_the_same_time_give_what_each_gives_alone(pipes, classifier, tokenizer, threads):
    """120 calls of two explainers with one base model, which other calls use bare."""
    features = tokenizer(TEXTS, padding=True, return_tensors="pt")

    def bare():
        with torch.no_grad():
            return classifier(**features).logits

    alone = {(number, text): numbers(pipe(text)) for number, pipe in enumerate(pipes) for text in TEXTS}
    logits = bare()
    keys = [(number % 2, TEXTS[number % len(TEXTS)]) for number in range(120)]
    calls = [call for number, text in keys for call in ((pipes[number], text), (bare,))]
    found = together(threads, calls)
    for key, result in zip(keys, found[::2], strict=True):
        assert numbers(result) == pytest.approx(alone[key], abs=1e-6)
    assert all(torch.equal(one, logits) for one in found[1::2])
    assert torch.equal(bare(), logits)


def test_an_error_in_the_middle_of_a_pass_leaves_nothing_behind(pipes, classifier, tokenizer):
    alone = [numbers(pipe(TEXTS[0])) for pipe in pipes]
    features = tokenizer(TEXTS[0], return_tensors="pt")
    logits = classifier(**features).logits

    def fail(module, args, output):
        raise RuntimeError("on purpose")

    handle = classifier.bert.encoder.layer[1].register_forward_hook(fail)
    for pipe in pipes:
        with pytest.raises(RuntimeError, match="on purpose"):
            pipe(TEXTS[0])
    handle.remove()
    assert torch.equal(classifier(**features).logits, logits)
    assert [numbers(pipe(TEXTS[0])) for pipe in pipes] == [pytest.approx(one, abs=1e-6) for one in alone]


def test_a_base_model_is_loaded_once(tmp_path, monkeypatch):
    from hf_diffmask.explainer.guest import Guest

    loaded = []
    load = Guest._load
    monkeypatch.setattr(Guest, "_load", lambda self: loaded.append(1) or load(self))
    explain = pipeline(hf_diffmask.TASK)
    loaded.clear()
    explain.model.guest._base = None
    together(4, [(explain, text) for text in TEXTS])
    assert len(loaded) == 1


def test_attention_is_read_while_others_use_the_base(pipes, classifier, tokenizer):
    """Only the eager implementation returns attention, and the implementation is a field that all calls share."""
    explainer = pipes[0].model
    features = dict(tokenizer(TEXTS, padding=True, return_tensors="pt", return_special_tokens_mask=True))
    alone, result = attention(explainer, features), numbers(pipes[0](TEXTS[0]))
    with torch.no_grad():
        logits = classifier(input_ids=features["input_ids"], attention_mask=features["attention_mask"]).logits

    def bare():
        with torch.no_grad():
            return classifier(input_ids=features["input_ids"], attention_mask=features["attention_mask"])

    calls = [(attention, explainer, features), (bare,), (pipes[0], TEXTS[0])]
    found = together(4, 20 * calls)
    for weights, output, one in zip(found[::3], found[1::3], found[2::3], strict=True):
        assert torch.equal(weights, alone) and numbers(one) == pytest.approx(result, abs=1e-6)
        assert torch.equal(output.logits, logits) and output.attentions is None
