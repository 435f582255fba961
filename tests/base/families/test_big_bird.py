"""BigBird: a short text leaves the sparse attention as it was, so that long texts do not depend on it."""

import copy
import threading

import pytest
import torch

from hf_diffmask.base.running import run
from tests.base.checks import ids, loud, padding_changes_nothing, rest_depends_on_the_state_only, states_are_reported

CONFIG = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 96, "block_size": 4, "num_random_blocks": 1,
}  # fmt: skip
PEGASUS = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 96,
    "block_size": 4, "num_random_blocks": 1, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
SHORT, LONG = 7, 50  # LONG is no whole number of blocks


def with_end(features):
    features["input_ids"][:, -1] = 2
    return features


@torch.no_grad()
@pytest.mark.parametrize(("name", "config"), [("big_bird", CONFIG), ("bigbird_pegasus", PEGASUS)])
def test_long_texts_do_not_depend_on_short_ones(name, config):
    model = loud(name, **config)
    bare, full = copy.deepcopy(model), copy.deepcopy(model)
    short, long = with_end(ids(2, SHORT)), with_end(ids(2, LONG))
    expected = bare(**long).logits  # before any short text
    of_short = full(**short).logits  # turns its attention
    assert not torch.allclose(full(**long).logits, expected, atol=1e-4)
    modules = set(model.modules())
    for _ in range(2):
        torch.testing.assert_close(run(model, short).logits, of_short)
        torch.testing.assert_close(run(model, long).logits, expected)
        assert set(model.modules()) == modules


@torch.no_grad()
def test_short_texts_draw_no_random_numbers():
    model = loud("big_bird", **CONFIG)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run(model, ids(2, SHORT))
    run(model, ids(2, SHORT))
    assert torch.equal(torch.rand(4), expected)


@torch.no_grad()
def test_a_caller_who_turned_the_attention_keeps_it():
    model = loud("big_bird", **CONFIG)
    model(**ids(2, SHORT))
    expected = model(**ids(2, LONG)).logits
    torch.testing.assert_close(run(model, ids(2, LONG)).logits, expected)


@pytest.mark.parametrize("length", [SHORT, 28, LONG])
def test_states(length):
    model = loud("big_bird", **CONFIG)
    states_are_reported(copy.deepcopy(model), ids(2, length), blocks=3)
    rest_depends_on_the_state_only(model, ids(2, length))


def test_padding_of_short_texts():
    padding_changes_nothing(loud("big_bird", **CONFIG))


@torch.no_grad()
def test_threads_wait_for_one_another():
    model = loud("big_bird", **CONFIG)
    lengths = [SHORT, LONG] * 4
    expected = {length: run(model, ids(2, length)).logits for length in lengths}
    found: dict[int, torch.Tensor] = {}

    @torch.no_grad()
    def one(number):
        found[number] = run(model, ids(2, lengths[number])).logits

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(lengths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, length in enumerate(lengths):
        torch.testing.assert_close(found[number], expected[length])
