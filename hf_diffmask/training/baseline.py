"""Trains the baseline on random masks, before the probes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..data.features import Features
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.noise import hashed_uniform
from .arguments import DiffMaskTrainingArguments
from .cache import RecordedCache

BATCH_SIZE = 32
# Counters that separate this noise from the noise of states and gates.
_SHARE, _MASK, _STATE = 15485863, 32452843, 49979687


def _batches(dataset: Features, collator: Callable, seed: int) -> Iterator[dict[str, Tensor]]:
    # Batches mix lengths: there are too few steps to group by length, as the probes' batches do.
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(dataset), generator=generator).tolist()
        for start in range(0, len(order), BATCH_SIZE):
            yield collator([dataset[index] for index in order[start : start + BATCH_SIZE]])


@torch.no_grad()
def start_at_mean_states(
    explainer: DiffMaskModel, dataset: Features, collator: Callable, args: DiffMaskTrainingArguments
) -> None:
    """
    Sets baselines that are still 0 to the means of their states. Initially, only the embeddings' baseline is not 0.

    Args:
        explainer ([`DiffMaskModel`]): Its baselines are changed in place.
        dataset ([`~hf_diffmask.data.features.Features`]): Inputs; the first 32 in the seed's order are used.
        collator (`Callable`): Makes a batch of items of `dataset`.
        args ([`DiffMaskTrainingArguments`]): Seed and device are used.
    """
    inputs = {name: value.to(args.device) for name, value in next(_batches(dataset, collator, args.seed)).items()}
    batch = explainer.batch(**inputs)
    first, *others = [state[batch.units].mean(0) for state in explainer.record(batch).states]
    if not explainer.baseline.any():
        explainer.baseline.copy_(first)
    for baseline in explainer.baselines()[1:]:
        if others and not baseline.any():
            baseline.copy_(torch.stack(others))


def fit_baseline(
    explainer: DiffMaskModel,
    dataset: Features,
    collator: Callable,
    args: DiffMaskTrainingArguments,
    autocast: Callable[[], AbstractContextManager],
    cache: RecordedCache | None = None,
) -> None:
    """
    Learns the baselines that move the output least when they replace randomly masked units.

    A baseline that is learned together with the gates becomes evidence for one class. Then inputs of this class can be
    masked completely, and inputs of other classes need every unit. Random masks prevent this.

    Every process computes the same on the same examples, so there is nothing to reduce.

    Args:
        explainer ([`DiffMaskModel`]): Its baselines are changed in place.
        dataset ([`~hf_diffmask.data.features.Features`]): Inputs.
        collator (`Callable`): Makes a batch of items of `dataset`.
        args ([`DiffMaskTrainingArguments`]): `baseline_steps`, `baseline_learning_rate` (falls to a third over these
            steps), seed and device are used.
        autocast (`Callable`): Makes the autocast context for the base model.
        cache ([`RecordedCache`], *optional*): Stores outputs and states for whole inputs, for training the probes.
    """
    optimizer = torch.optim.Adam(explainer.baselines(), lr=args.baseline_learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / 3, args.baseline_steps)
    batches = _batches(dataset, collator, args.seed)
    quiet = args.disable_tqdm or args.process_index > 0
    explainer.eval()
    for step in tqdm(range(args.baseline_steps), desc="Baseline", leave=False, disable=quiet):
        batch = explainer.batch(**{name: value.to(args.device) for name, value in next(batches).items()})
        ids, units = batch.example_ids, batch.units.long().cumsum(-1)
        assert ids is not None
        share = hashed_uniform(args.seed, step, ids, _SHARE)[:, None]
        keep = hashed_uniform(args.seed, step, ids[:, None], units, _MASK) < share
        with autocast():
            recorded = cache.record(explainer, batch) if cache else explainer.record(batch)
            states = hashed_uniform(args.seed, step, ids, _STATE) * explainer.config.num_states
            masked = explainer.masked(recorded, keep, states.long())
        explainer.task.divergence(recorded.target, masked).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
