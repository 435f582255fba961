"""Batches hold inputs of similar length; results keep the order of the inputs."""

import pytest
import torch

from hf_diffmask.data.batching import in_batches
from hf_diffmask.testbeds.gru import word_tokenizer

CPU = torch.device("cpu")


def inputs_of(*lengths):
    """Inputs that start with their number."""
    return [
        {"input_ids": [number, *[7] * (length - 1)], "attention_mask": [1] * length}
        for number, length in enumerate(lengths)
    ]


def run_on(tokenizer, inputs, batch_size, **options):
    """Results of the inputs, and the batches they ran in."""
    batches = []

    def run(batch):
        batches.append(batch)
        return [f"of {row[0]}" for row in batch["input_ids"].tolist()]

    return in_batches(tokenizer, inputs, CPU, run, batch_size, **options), batches


def test_results_in_the_order_of_the_inputs_from_batches_of_like_length(tokenizer):
    found, batches = run_on(tokenizer, inputs_of(4, 1, 3, 2, 4), 2)
    assert found == [f"of {number}" for number in range(5)]
    assert [batch["input_ids"][:, 0].tolist() for batch in batches] == [[1, 3], [2, 0], [4]]
    assert [batch["input_ids"].shape for batch in batches] == [(2, 2), (2, 4), (1, 4)]
    assert batches[1]["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batches[1]["input_ids"][0, -1] == tokenizer.pad_token_id
    assert all(batch.keys() == {"input_ids", "attention_mask"} for batch in batches)


def test_with_ids_a_batch_knows_the_numbers_of_its_inputs(tokenizer):
    _, batches = run_on(tokenizer, inputs_of(3, 1, 2), 2, with_ids=True)
    assert [batch["example_ids"].tolist() for batch in batches] == [[1, 2], [0]]


def test_without_a_padding_token_inputs_run_one_by_one():
    tokenizer = word_tokenizer(["a warm film"], 10)
    tokenizer.pad_token = None
    found, batches = run_on(tokenizer, inputs_of(2, 1, 2), 8)
    assert found == ["of 0", "of 1", "of 2"] and [len(batch["input_ids"]) for batch in batches] == [1, 1, 1]


def test_a_result_for_each_row_or_none(tokenizer):
    assert in_batches(tokenizer, [], CPU, lambda batch: [], 4) == []
    with pytest.raises(ValueError, match="shorter"):
        in_batches(tokenizer, inputs_of(1, 2), CPU, lambda batch: [0], 4)
