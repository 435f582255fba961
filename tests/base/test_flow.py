"""Flow equals sums over the attention weights that Transformers returns, for each family and each side of padding."""

import math

import pytest
import torch
from transformers import BertForSequenceClassification

from hf_diffmask.base import flow as module
from hf_diffmask.base.attention_read import Attention, BlockAttention
from hf_diffmask.base.flow import Flow, flow
from hf_diffmask.base.padding import _measured
from hf_diffmask.base.running import record, record_with_attention
from hf_diffmask.base.states import state_names
from tests.base.flow_families import FAMILIES, by_hand, close, family, weights_and_values
from tests.base.test_padding import TEXTS, padded

READS = {
    "first": lambda count: [1.0] + [0.0] * (count - 1),
    "last": lambda count: [0.0] * (count - 1) + [1.0],
    "two": lambda count: [0.0, 0.25] + [0.0] * (count - 3) + [0.75],
    "mean": lambda count: [1 / count] * count,
}
LONG = [[3 + (7 * k + row) % 57 for k in range(length)] for row, length in enumerate((30, 24))]


@pytest.fixture(autouse=True, params=["all blocks at once", "block by block"])
def way(request, monkeypatch):
    """Small inputs run at once. Both ways must give the same."""
    if request.param == "block by block":
        monkeypatch.setattr(module, "SMALL", 0)


def test_small_batches_with_and_without_padding_run_at_once(way, monkeypatch):
    """The comparisons below say nothing about a way that is never taken."""
    model, taken, at_once = family("bert"), [], module._every_row
    monkeypatch.setattr(module, "_every_row", lambda run: taken.append(at_once(run) is not None))
    for side in ("none", "left", "right"):
        texts = [LONG[0][:9]] * 2 if side == "none" else [LONG[0][:9], LONG[1][:5]]
        batch = batch_of(texts, side)
        positions = torch.ones(batch["input_ids"].shape) / 9
        with torch.no_grad():
            flow(record_with_attention(model, batch, [])[2], positions)
    assert len(taken) == 3 and set(taken) == {module.SMALL > 0}


def batch_of(texts, side="right"):
    if side == "none":  # no padding and no mask: models then take other ways through attention
        return {"input_ids": torch.tensor(texts)}
    longest = max(map(len, texts))
    empty = [[0] * (longest - len(text)) for text in texts]
    rows = [gap + text if side == "left" else text + gap for gap, text in zip(empty, texts, strict=True)]
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def check(name, model, texts, batch, kind, rows):
    """Compares the flow of a batch with that of each text alone, in the eager model, computed in plain loops."""
    there = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    positions = torch.zeros(there.shape)
    for row, text in enumerate(texts):
        positions[row][there[row]] = torch.tensor(READS[kind](len(text)))
    with torch.no_grad():
        found = flow(record_with_attention(model, batch, [])[2], positions, rows)
    eager = family(name, "eager", vocab_size=model.config.vocab_size, pad_token_id=model.config.pad_token_id)
    for row, text in enumerate(texts):
        weights, values = weights_and_values(name, eager, text)
        shares = by_hand(weights, READS[kind](len(text)), None if kind == "mean" else rows)
        close(torch.stack(found.values, 2)[row][there[row]], torch.from_numpy(values).permute(2, 0, 1, 3))
        close(found.shares[row][there[row]], torch.from_numpy(shares))
        assert not found.shares[row][~there[row]].any()
    assert not any(one.requires_grad for one in (*found.values, found.shares))


@pytest.mark.parametrize("side", ["left", "right", "none"])
@pytest.mark.parametrize("name", FAMILIES)
def test_flow_is_that_of_the_weights_that_transformers_returns(name, side):
    texts = [text[:4] for text in TEXTS] if side == "none" else TEXTS
    check(name, family(name), texts, batch_of(texts, side), "two", rows=7)


@pytest.mark.parametrize("kind", READS)
@pytest.mark.parametrize("name", ["bert", "mistral"])
def test_each_kind_of_reading(name, kind, monkeypatch):
    """With more read positions than rows, a mean over all is exact; rows in slices add up to the same."""
    check(name, family(name), TEXTS, padded("right"), kind, rows=2 if kind == "mean" else 7)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    check(name, family(name), TEXTS, padded("left"), kind, rows=2 if kind == "mean" else 7)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_in_parts(side):
    """A model that ignores the attention mask runs rows of one length; one without a free id runs each row alone."""

    class Unmasked(BertForSequenceClassification):
        def forward(self, input_ids):
            return super().forward(input_ids)

    model = Unmasked(family("bert").config).eval()
    model.load_state_dict(family("bert").state_dict())
    texts = [*TEXTS, TEXTS[0][::-1]]
    check("bert", model, texts, batch_of(texts, side), "two", rows=7)
    assert _measured[model]

    small = [[0, 1, 2, 1, 3], [3, 2, 0]]
    batch = {"input_ids": torch.tensor([[0, 1, 2, 1, 3], [3, 2, 0, 0, 0]])}
    batch["attention_mask"] = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    check("gpt2", family("gpt2", vocab_size=4, pad_token_id=None), small, batch, "last", rows=7)


@pytest.mark.parametrize("rows", [8, 3, 1])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_largest_weights_of_a_block(name, rows):
    check(name, family(name), LONG, batch_of(LONG), "last", rows)


def test_eight_rows_are_close_to_all(classifier, batch):
    with torch.no_grad():
        _, _, attention = record_with_attention(classifier, batch, [])
    positions = torch.zeros(batch["input_ids"].shape)
    positions[:, 0] = 1
    every, eight, two = (flow(attention, positions, rows) for rows in (99, 8, 2))
    assert all(map(torch.equal, every.values, eight.values))
    size = every.shares.norm()
    missed = [((few.shares - every.shares).norm() / size).item() for few in (eight, two)]
    assert missed[0] < 0.1 < missed[1]
    close(every.shares.sum(1), torch.ones_like(every.shares.sum(1)))


def test_long_texts_have_direct_flow_only(monkeypatch):
    """In each block, only what goes straight to the read position."""
    with torch.no_grad():
        _, _, attention = record_with_attention(family("bert"), padded("right"), [])
    positions = torch.zeros(3, 7)
    positions[:, 1] = 1
    short = flow(attention, positions)
    monkeypatch.setattr(module, "LONGEST", 6)
    long = flow(attention, positions)
    for block, one in enumerate(attention.runs[0]):
        alone = flow(attention.__class__(attention.units, [[one]], []), positions)
        close(long.shares[:, :, block], alone.shares[:, :, 0])
    assert not torch.allclose(short.shares, long.shares)


def drawn(heads=4, groups=2, length=5, **settings):
    query, key, value = (torch.randn(2, count, length, 3) for count in (heads, groups, groups))
    return BlockAttention(query, key, value, **{"mask": None, "is_causal": False, "scale": None, **settings})


def of(block, units=None, read=2):
    """Flow of one block; the head reads the position `read`."""
    length = block.query.shape[2]
    units = torch.ones(2, length, dtype=torch.bool) if units is None else units
    positions = torch.zeros(2, length)
    positions[:, read] = 1
    return flow(Attention(units, [[block]], []), positions)


def test_scale_and_groups_by_hand():
    """Heads 0 and 1 read the first keys and values, heads 2 and 3 the second."""
    block = drawn(scale=0.3)
    found = of(block)
    for row in range(2):
        for head in range(4):
            scores = [0.3 * float(block.query[row, head, 2] @ block.key[row, head // 2, j]) for j in range(5)]
            total = sum(map(math.exp, scores))
            for j in range(5):
                assert found.shares[row, j, 0, head].item() == pytest.approx(math.exp(scores[j]) / total, abs=1e-6)
                assert torch.equal(found.values[0][row, j, head], block.value[row, head // 2, j])
    close(of(block._replace(scale=None)).shares, of(block._replace(scale=3**-0.5)).shares)


@pytest.mark.parametrize("shape", [(5, 5), (2, 1, 5, 5), (1, 4, 5, 5), (2, 1, 1, 5)])
def test_masks_of_every_form(shape):
    """A sum of values weighted by their shares is the output of PyTorch's attention at the read position."""
    allowed = torch.rand(shape) < 0.6
    allowed[..., 0] = True
    bias = torch.randn(shape)
    hidden = torch.finfo(torch.float32).min
    for mask in (allowed, bias, bias.masked_fill(~allowed, -torch.inf), bias.masked_fill(~allowed, hidden)):
        block = drawn(groups=4, mask=mask[(None,) * (4 - mask.dim())], scale=0.7)
        query, key, value, mask, _, scale = block
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)
        found = of(block)
        close((found.shares[:, :, 0, :, None] * found.values[0]).sum(1), out[:, :, 2])
        if mask.dtype == torch.bool:
            assert not found.shares[:, :, 0].transpose(1, 2)[~allowed.expand(2, 4, 5, 5)[:, :, 2]].any()


def test_causal_attention_without_a_mask():
    found = of(drawn(is_causal=True))
    assert not found.shares[:, 3:].any()
    close(found.shares[:, :3].sum(1), torch.ones(2, 1, 4))


@pytest.mark.parametrize("of_nothing", [False, -torch.inf])
def test_rows_of_padding_that_attend_to_nothing_give_no_nan(of_nothing):
    units = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[1, :, 3:] = False
    mask[1, :, :, 3:] = False
    if of_nothing is not False:
        mask = torch.zeros(mask.shape).masked_fill(~mask, of_nothing)
    block = drawn(mask=mask)
    shares = of(block, units, read=0).shares
    assert shares.isfinite().all() and not shares[1, 3:].any()


@pytest.mark.parametrize("automatic", [False, True])
def test_half_precision(automatic):
    """Weights are computed in float32, and values keep their type."""
    model = family("bert") if automatic else family("bert").to(torch.bfloat16)
    positions = torch.zeros(3, 7)
    positions[:, 0] = 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=automatic):
        found = flow(record_with_attention(model, padded("right"), [])[2], positions, rows=7)
    assert {one.dtype for one in found.values} == {torch.bfloat16} and found.shares.dtype == torch.float32
    close(found.shares.sum(1), torch.ones_like(found.shares.sum(1)))


def test_reading_changes_nothing_that_is_recorded():
    model, batch = family("llama"), padded("left")
    with torch.no_grad():
        output, states, _ = record_with_attention(model, batch, state_names(model))
        plain, same = record(model, batch, state_names(model))
    assert torch.equal(output.logits, plain.logits) and all(map(torch.equal, states, same))


def test_rows_are_picked():
    found = Flow((torch.randn(3, 5, 4, 3), torch.randn(3, 5, 4, 3)), torch.rand(3, 5, 2, 4))
    for pick in (torch.tensor([2, 0, 2]), torch.tensor([True, False, True])):
        picked = found.rows(pick)
        assert torch.equal(picked.shares, found.shares[pick])
        assert all(torch.equal(one, whole[pick]) for one, whole in zip(picked.values, found.values, strict=True))
