"""Reading attention acts in the run that asks for it, in its thread, and keeps nothing."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import _get_current_function_mode_stack
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hf_diffmask.base.attention_read import AttentionReader
from hf_diffmask.base.flow import flow
from hf_diffmask.base.running import record, record_with_attention
from hf_diffmask.base.states import state_names
from hf_diffmask.base.taps import Taps
from hf_diffmask.errors import DiffMaskError
from tests.base.flow_families import family
from tests.base.test_padding import padded

FIRST = torch.eye(7)[:1].expand(3, 7)


@pytest.fixture
def model():
    return family("bert")


@torch.no_grad()
def read(model, batch=None):
    values, shares = flow(record_with_attention(model, batch or padded("right"), [])[2], FIRST)
    return [*values, shares]


def test_what_a_block_gives_is_kept_as_it_is(model):
    """No copies: the tensors are those that PyTorch's function gets."""
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is scaled_dot_product_attention:
                seen.append(args)
            return func(*args, **(kwargs or {}))

    read(model)  # the first run is also tried with padding
    with Watch(), torch.no_grad():
        _, _, attention = record_with_attention(model, padded("right"), [])
    (blocks,) = attention.runs
    assert len(blocks) == len(seen) == 3 and attention.parts == []
    for block, given in zip(blocks, seen, strict=True):
        assert all(one is other for one, other in zip(block[:3], given, strict=True))
        assert block.query.shape == (3, 4, 7, 4) and not block.is_causal


def test_threads_that_use_the_bare_base_meanwhile_see_nothing(model):
    batch = padded("right")

    @torch.no_grad()
    def bare():
        return model(**batch).logits

    @torch.no_grad()
    def recorded():
        output, states = record(model, batch, state_names(model))
        return [output.logits, *states]

    alone, logits, states = read(model), bare(), recorded()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(40) for call in (lambda: read(model), bare, recorded)]
        found = [call.result() for call in calls]
    for one, output, others in zip(found[::3], found[1::3], found[2::3], strict=True):
        assert all(map(torch.equal, one, alone))
        assert torch.equal(output, logits) and all(map(torch.equal, others, states))


def test_another_thread_in_the_middle_of_the_run_is_not_read(model):
    """It runs the base while the first run is between two blocks."""
    alone, batch, met = read(model), padded("right"), []

    def other():
        with torch.no_grad():
            met.append((model(**batch).logits, _get_current_function_mode_stack()))

    def run_other(module, args):
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    handle = model.bert.encoder.layer[1].attention.register_forward_pre_hook(run_other)
    found = read(model)
    handle.remove()
    assert all(map(torch.equal, found, alone))
    assert torch.equal(met[0][0], model(**batch).logits) and met[0][1] == []


def test_nothing_is_kept_or_changed(model):
    before, functions = model.config.to_dict(), dict(ALL_ATTENTION_FUNCTIONS)
    with torch.no_grad():
        _, _, attention = record_with_attention(model, padded("right"), [])
    kept = [weakref.ref(one) for block in attention.runs[0] for one in (block.query, block.key, block.mask)]
    assert all(one() is not None for one in kept)
    found = flow(attention, FIRST)
    gc.disable()  # nothing waits for the collection of circles either
    try:
        del attention
        assert [one() for one in kept] == [None] * 9
    finally:
        gc.enable()
    assert len(found.values) == 3 and _get_current_function_mode_stack() == []
    assert model.config.to_dict() == before and dict(ALL_ATTENTION_FUNCTIONS) == functions


def test_an_error_in_the_middle_leaves_nothing_behind(model):
    alone, kept = read(model), []

    def fail(module, args, output):
        kept.append(weakref.ref(output[0]))
        raise RuntimeError("on purpose")

    handle = model.bert.encoder.layer[1].attention.self.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        read(model)
    handle.remove()
    assert _get_current_function_mode_stack() == []
    gc.collect()
    assert kept[0]() is None
    assert all(map(torch.equal, read(model), alone))


@pytest.mark.parametrize("how", ["whole model", "forward", "blocks", "attention"])
def test_a_compiled_base_is_read(model, how):
    alone, runs = read(model), []

    def backend(graph, inputs):
        runs.append(1)
        return graph.forward

    if how == "whole model":
        model.compile(backend=backend)
    elif how == "forward":
        model.forward = torch.compile(model.forward, backend=backend)
    else:
        for block in model.bert.encoder.layer:
            (block if how == "blocks" else block.attention.self).compile(backend=backend)
    with torch.no_grad():
        expected = model(**padded("right")).logits
        assert runs
        assert all(map(torch.equal, read(model), alone))
        torch.testing.assert_close(model(**padded("right")).logits, expected)


class Block(nn.Module):
    """A block that attends within given queries, once for each."""

    def __init__(self, *queries):
        super().__init__()
        self.queries = queries

    def forward(self, hidden):
        for query in self.queries:
            hidden = scaled_dot_product_attention(query, query, query)
        return hidden


def read_blocks(model, second):
    """What is read from three blocks, with attention before and after them as well."""
    query = torch.randn(3, 4, 7, 4)
    blocks = [Block(query), second(query), Block(query)]
    reader, taps = AttentionReader(model, torch.Size([3, 7])), Taps()
    reader.tap(taps, blocks)
    with taps.active(), reader:
        for block in [Block(query), *blocks, Block(query)]:
            block(query)
    return reader.blocks()


def test_attention_outside_of_the_blocks_is_left_out(model):
    assert len(read_blocks(model, Block)) == 3


@pytest.mark.parametrize(
    "second",
    [
        lambda query: Block(),
        lambda query: Block(query, query),
        lambda query: Block(query[:, :, :5]),
        lambda query: Block(query[:, :2]),
        lambda query: Block(query[:2]),
        lambda query: Block(query[0]),
    ],
    ids=["none", "twice", "fewer positions", "fewer heads", "fewer rows", "no rows"],
)
def test_blocks_that_attend_otherwise_are_refused(model, second):
    with pytest.raises(DiffMaskError, match="Flow cannot be read from BertForSequenceClassification"):
        read_blocks(model, second)
