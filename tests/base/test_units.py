"""Units of several tokens: sums, copies and first tokens, against plain loops."""

import torch

from hf_diffmask.base.running import Batch
from hf_diffmask.base.units import first_tokens, pooled, spread


def random_units(seed: int):
    """Unit numbers `(4, 9)` in any order, and marks of padding on either side."""
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, 5, (4, 9), generator=draw)
    there = torch.ones(4, 9, dtype=torch.bool)
    there[1, 6:] = there[2, :3] = False
    return numbers, there


def by_hand(numbers, there):
    """The first token of each token's unit."""
    rows = []
    for row, marks in zip(numbers.tolist(), there.tolist(), strict=True):
        rows.append(
            [
                next(k for k, one in enumerate(row) if marks[k] and one == number) if marks[place] else place
                for place, number in enumerate(row)
            ]
        )
    return rows


def test_the_first_token_stands_for_its_unit_and_padding_for_itself():
    for seed in range(20):
        numbers, there = random_units(seed)
        assert first_tokens(numbers, there).tolist() == by_hand(numbers, there)


def test_values_are_summed_at_the_first_token_and_copied_from_it():
    for seed in range(20):
        numbers, there = random_units(seed)
        first = first_tokens(numbers, there)
        values = torch.randn(4, 9, 3)
        sums, copies = torch.zeros(4, 9, 3), torch.zeros(4, 9, 3)
        for row, places in enumerate(by_hand(numbers, there)):
            for place, leader in enumerate(places):
                sums[row, leader] += values[row, place]
                copies[row, place] = values[row, leader]
        assert torch.allclose(pooled(values, first), sums, atol=1e-6)
        assert torch.equal(spread(values, first), copies)
        assert torch.equal(spread(values[..., 0] > 0, first), copies[..., 0] > 0)


def test_padding_keeps_what_is_no_number_to_itself():
    numbers, there = torch.tensor([[0, 0, 1, 0]]), torch.tensor([[True, True, True, False]])
    values = torch.tensor([[1.0, 2.0, 3.0, torch.nan]])
    assert pooled(values, first_tokens(numbers, there))[0, :3].tolist() == [3.0, 0.0, 3.0]


def test_without_numbers_each_token_is_a_unit():
    values = torch.randn(2, 5)
    assert spread(values, None) is values and pooled(values, None) is values


def test_a_batch_masks_the_first_token_of_each_unit_and_keeps_its_units_when_rows_are_picked():
    ids = torch.arange(6).repeat(2, 1)
    special = torch.zeros(2, 6, dtype=torch.bool)
    special[:, 0] = True
    batch = Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ~special, special)
    batch = batch.in_units(torch.tensor([[0, 1, 1, 2, 2, 2], [0, 1, 2, 3, 1, 1]]))
    assert batch.maskable.int().tolist() == [[0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0]]
    assert batch.unit_of.tolist() == [[0, 1, 1, 3, 3, 3], [0, 1, 2, 3, 1, 1]]
    assert batch.rows(torch.tensor([1])).unit_of.tolist() == [[0, 1, 2, 3, 1, 1]]
    again = batch.in_units(batch.unit_of)
    assert torch.equal(again.unit_of, batch.unit_of) and "unit_of" in batch.features
