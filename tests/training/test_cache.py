"""The cache returns the results of the base model."""

import torch

from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.cache import RecordedCache
from tests.helpers import make_trainer


def test_cached_training_is_the_same_as_uncached(classifier, tokenizer, tmp_path):
    weights = []
    for name, memory in (("memory", 4.0), ("disk", 1e-6), ("none", 0.0)):
        trainer = make_trainer(
            classifier, tokenizer, tmp_path / name, max_steps=30, cache_memory=memory, eval_strategy="no"
        )
        trainer.train()
        assert (trainer.cache is None) == (name == "none")
        if trainer.cache is not None:
            assert trainer.cache.known.all()
        weights.append(trainer.model.state_dict())
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(value, other[name], atol=1e-4, rtol=0)


def test_no_cache_where_examples_are_met_once(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path, max_steps=12)
    assert trainer._make_cache() is None
    trainer.args.max_steps = 24
    assert trainer._make_cache() is not None


def test_cache_gives_back_what_the_base_computes(explainer, tokenizer):
    features = TextFeatures(tokenizer, sentences(6), 64)

    def batch_of(ids):
        return explainer.batch(**collate(tokenizer, [features[k] for k in ids]))

    lengths = [len(item["input_ids"]) for item in features.items]
    cache = RecordedCache(lengths, 1.0, batch_of, size=2)
    for picked in ([0, 3], [3, 1, 5], [0, 1, 2, 3, 4, 5]):
        batch = collate(tokenizer, [features[k] for k in picked])
        batch.pop("special_tokens_mask")
        found, expected = cache.record(explainer, explainer.batch(**batch)), explainer.record(explainer.batch(**batch))
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(found.target, expected.target, atol=1e-5, rtol=0)
        for ours, theirs in zip(found.states, expected.states, strict=True):
            torch.testing.assert_close(ours[real], theirs[real], atol=1e-4, rtol=0)
            assert (ours[~real] == 0).all()
    assert cache.known.all()


def test_a_state_does_not_depend_on_the_batch_that_asks_first(explainer, tokenizer):
    features = TextFeatures(tokenizer, sentences(40), 64)
    lengths = [len(item["input_ids"]) for item in features.items]
    asked = []

    def batch_of(ids):
        asked.append(ids)
        return explainer.batch(**collate(tokenizer, [features[k] for k in ids]))

    found = []
    for orders in ([[3, 17, 20], list(range(40))], [list(range(39, -1, -1))]):
        cache = RecordedCache(lengths, 1.0, batch_of, size=8)
        for order in orders:
            recorded = cache.record(explainer, batch_of(order))
        found.append([state[order.index(k)][: lengths[k]] for state in recorded.states for k in range(40)])
    assert all(torch.equal(*both) for both in zip(*found, strict=True)), "to the last bit"
    groups = [ids for ids in asked if len(ids) == 8]
    assert len(groups) == 2 * 5 and all(sorted(ids) in [sorted(one) for one in groups[:5]] for ids in groups)
