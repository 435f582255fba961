"""Divergence, agreement and confidence of answers, checked by hand."""

import pytest
import torch

from hf_diffmask.tasks.question_answering import NEVER, QuestionAnswering


def test_divergence_is_the_sum_over_start_and_end_without_padding(answerer, pairs):
    features = {name: value for name, value in pairs.items() if name != "special_tokens_mask"}
    task = QuestionAnswering()
    other = {**features, "input_ids": features["input_ids"].flip(0)}
    with torch.no_grad():
        first, second = answerer(**features), answerer(**other)
    target, masked = (task.target(output, features["attention_mask"]) for output in (first, second))
    for row, length in enumerate(features["attention_mask"].sum(-1).tolist()):
        expected, same = 0.0, True
        for name in ("start_logits", "end_logits"):
            p, q = (output[name][row, :length].double().softmax(-1) for output in (first, second))
            expected += (p * (p / q).log()).sum().item()
            same &= bool(p.argmax() == q.argmax())
        assert task.divergence(target, masked)[row].item() == pytest.approx(expected, rel=1e-4)
        assert task.agreement(target, masked)[row] == same
        odds = [target[row, k, :length].exp().double() for k in (0, 1)]
        expected = sum((p.max() / (1 - p.max())).log().item() for p in odds) / 2
        assert task.confidence(target)[row].item() == pytest.approx(expected, abs=1e-3)
    assert (target[..., ~features["attention_mask"].bool().any(0)] == NEVER).all()
