"""Samplers and splits use every input once."""

import pandas as pd
import pytest
import torch

from hf_diffmask.data.sampling import LengthGroupedSampler, train_validation_split
from hf_diffmask.errors import DiffMaskError


def test_sampler_is_a_permutation_by_length_and_by_epoch():
    lengths = torch.randint(3, 60, (1003,)).tolist()
    sampler = LengthGroupedSampler(lengths, 16, seed=1)
    first = list(sampler)
    # 62 full batches of 16; the 11 examples left over wait for another epoch.
    assert len(first) == len(sampler) == 992 == len(set(first))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first and set(range(1003)) - set(first) != set(range(1003)) - set(sampler)
    assert sorted(LengthGroupedSampler(lengths[:7], 16, seed=1)) == list(range(7))
    padded = sum(16 * max(lengths[k] for k in first[i : i + 16]) for i in range(0, 992, 16))
    assert padded < 1.15 * sum(lengths)
    spans = [max(lengths[k] for k in first[i : i + 16]) for i in range(0, 992, 16)]
    assert spans != sorted(spans) and spans != sorted(spans, reverse=True)


def test_split_is_disjoint_and_complete():
    texts = [str(k) for k in range(100)]
    train, validation = train_validation_split(texts, seed=3)
    assert len(validation) == 10 and sorted(train + validation) == sorted(texts)
    assert train_validation_split(texts, seed=3) == (train, validation)
    with pytest.raises(DiffMaskError, match="at least two"):
        train_validation_split(["one"], seed=0)


def test_split_counts_a_series_by_position_and_takes_any_iterable():
    texts = [str(k) for k in range(30)]
    expected = train_validation_split(texts, seed=3)
    assert train_validation_split(pd.Series(texts, index=range(100, 130)), seed=3) == expected
    assert train_validation_split(pd.Series(texts, index=range(29, -1, -1)), seed=3) == expected
    assert train_validation_split(iter(texts), seed=3) == expected
