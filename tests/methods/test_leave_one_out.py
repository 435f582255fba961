"""Leave-one-out, checked against a loop over mask tokens."""

import torch

from hf_diffmask.methods.leave_one_out import leave_one_out
from tests.methods.helpers import kl, masked_by_hand, weights_of


def test_leave_one_out_is_a_loop_over_mask_tokens(explainer, classifier, tokenizer, batch):
    scores = leave_one_out(explainer, batch, batch_size=5)
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        words = range(1, length - 1)
        (target,) = masked_by_hand(classifier, tokenizer, batch, row, [words])
        for unit in words:
            (other,) = masked_by_hand(classifier, tokenizer, batch, row, [[k for k in words if k != unit]])
            torch.testing.assert_close(scores[row, unit], kl(target, other), atol=1e-5, rtol=1e-3)
    assert scores.max() > 0.1


def test_an_input_without_units_has_no_scores(explainer, batch):
    features = {**batch, "special_tokens_mask": batch["attention_mask"]}
    assert torch.equal(leave_one_out(explainer, features), torch.zeros_like(batch["input_ids"], dtype=torch.float32))


def test_drops_of_log_odds(explainer, classifier, tokenizer, batch):
    scores = leave_one_out(explainer, batch, batch_size=5, log_odds=True)
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        words = range(1, length - 1)
        every = [words, *([k for k in words if k != unit] for unit in words)]
        logs = masked_by_hand(classifier, tokenizer, batch, row, every).double()
        choice = int(logs[0].argmax())
        log_odds = logs[:, choice] - torch.log1p(-logs[:, choice].exp())
        torch.testing.assert_close(
            scores[row, 1 : length - 1].double(), log_odds[0] - log_odds[1:], atol=1e-3, rtol=1e-3
        )
    assert scores.min() < 0 < scores.max()


def test_log_odds_of_a_model_that_adds_up(bag):
    explainer, features = bag
    scores = leave_one_out(explainer, features, log_odds=True)
    torch.testing.assert_close(scores, weights_of(explainer, features), atol=1e-5, rtol=1e-4)
