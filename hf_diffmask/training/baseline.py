"""Trains the baseline on random masks, before the probes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from accelerate.utils import broadcast
from torch import Tensor
from tqdm.auto import tqdm
from transformers.utils import logging

from ..base.gradients import check_gradients
from ..data.features import Features
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.noise import hashed_uniform
from .arguments import DiffMaskTrainingArguments
from .cache import RecordedCache

logger = logging.get_logger(__name__)

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


def learn_baseline(
    explainer: DiffMaskModel,
    dataset: Features,
    collator: Callable,
    args: DiffMaskTrainingArguments,
    autocast: Callable[[], AbstractContextManager],
    cache: RecordedCache | None = None,
) -> None:
    """
    Learns the baselines, see [`fit_baseline`]. A base model without gradients takes the mean of its embeddings.

    Args:
        explainer ([`DiffMaskModel`]): Its baselines are changed in place.
        dataset ([`~hf_diffmask.data.features.Features`]): Inputs.
        collator (`Callable`): Makes a batch of items of `dataset`.
        args ([`DiffMaskTrainingArguments`]): See [`fit_baseline`].
        autocast (`Callable`): Makes the autocast context for the base model.
        cache ([`RecordedCache`], *optional*): See [`fit_baseline`].
    """
    learns = has_gradients(explainer)
    if not learns:
        logger.warning(
            f"{type(explainer.base).__name__} gives no gradients, so the baseline is the mean of the embeddings and "
            "is not learned."
        )
        with torch.no_grad():
            explainer.baseline.zero_()
    start_at_mean_states(explainer, dataset, collator, args)
    if learns and args.baseline_steps > 0:
        fit_baseline(explainer, dataset, collator, args, autocast, cache)
    # Processes compute the same, up to the last digits on a GPU.
    with torch.no_grad():
        for baseline in explainer.baselines():
            baseline.copy_(broadcast(baseline.detach().clone()))


def has_gradients(explainer: DiffMaskModel) -> bool:
    """
    Whether the base model gives gradients to state 0.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model.

    Returns:
        `bool`
    """
    try:
        check_gradients(explainer.base, explainer.config.state_names[0])
    except DiffMaskError:
        return False
    return True


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
