"""Noise is uniform or normal, and depends only on seed, step and example."""

import numpy as np
import pytest
import torch
from scipy import stats

from hf_diffmask.masks import noise as noises
from hf_diffmask.masks.noise import gaussian_noise


def test_noise_is_uniform():
    noise = noises.gate_noise(3, 5, torch.arange(64), torch.ones(64, 40, dtype=torch.long), 8).flatten().numpy()
    assert stats.kstest(noise, "uniform").pvalue > 0.01
    assert noise.min() > 0 and noise.max() < 1
    correlation = np.corrcoef(noise[:-1], noise[1:])[0, 1]
    assert abs(correlation) < 0.02


def test_noise_depends_on_seed_step_and_example_alone():
    mask = torch.ones(3, 12, dtype=torch.long)
    whole = noises.gate_noise(0, 7, torch.tensor([4, 9, 2]), mask, 3)
    nine = torch.tensor([9])
    part = noises.gate_noise(0, 7, nine, mask[:1, :8], 3)
    assert torch.equal(whole[1, :8], part[0])
    for other in [noises.gate_noise(1, 7, nine, mask[:1, :8], 3), noises.gate_noise(0, 8, nine, mask[:1, :8], 3)]:
        assert (other != part).float().mean() > 0.99
    # Padding on the left moves the units, not their noise.
    left = torch.cat([torch.zeros(1, 4, dtype=torch.long), mask[:1, :8]], dim=1)
    assert torch.equal(noises.gate_noise(0, 7, nine, left, 3)[:, 4:], part)


def test_hash_matches_splitmix64_in_python_integers():
    mask = (1 << 64) - 1

    def reference(*counters):
        state = 0
        for counter in counters:
            state = ((state + counter + 1) * 0x9E3779B97F4A7C15) & mask
            state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
            state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
            state ^= state >> 31
        return ((state >> 41) + 0.5) / 2**23

    ids = torch.tensor([0, 5, 123456])
    ours = noises.hashed_uniform(42, 7, ids)
    assert ours.tolist() == pytest.approx([reference(42, 7, k) for k in ids.tolist()], abs=1e-9)


def test_noise_is_normal_and_each_units_own():
    maskable = torch.ones(1, 50, dtype=torch.bool)
    noise = gaussian_noise(maskable, 400, 0, 0)[0]
    assert noise.mean().abs() < 0.02 and abs(noise.std() - 1) < 0.02
    assert ((noise.abs() < 1).float().mean() - 0.6827).abs() < 0.01
    assert torch.corrcoef(noise).fill_diagonal_(0).abs().max() < 0.25
    assert not torch.equal(noise, gaussian_noise(maskable, 400, 0, 1)[0])
    shifted = torch.tensor([[False, True, True, False], [True, True, False, False]])
    first, second = gaussian_noise(shifted, 400, 0, 0)
    assert torch.equal(first[1:3], noise[:2]) and torch.equal(second[:2], noise[:2])
