"""Measures the constants of a task on training inputs."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..data.features import Features
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments

MOST = 1024  # inputs


@torch.no_grad()
def measure_constants(
    explainer: DiffMaskModel, dataset: Features, collator: Callable, args: DiffMaskTrainingArguments
) -> None:
    """
    Measures what the explainer's task needs to know of the base model's outputs, such as their variance.

    Every process computes the same on the same inputs. Most tasks need nothing, and nothing is run for them.

    Args:
        explainer ([`DiffMaskModel`]): Its `config.task_constants` are changed in place.
        dataset ([`~hf_diffmask.data.features.Features`]): Inputs, of which the first few in the seed's order are run.
        collator (`Callable`): Makes a batch of items of `dataset`.
        args ([`DiffMaskTrainingArguments`]): Gives seed, batch size and device.
    """

    def outputs() -> Tensor:
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(args.seed)).tolist()[:MOST]
        order.sort(key=lambda index: len(dataset.items[index]["input_ids"]))
        found = []
        for start in range(0, len(order), args.eval_batch_size):
            batch = collator([dataset[index] for index in order[start : start + args.eval_batch_size]])
            inputs = {name: value.to(args.device) for name, value in batch.items()}
            found.append(explainer.record(explainer.batch(**inputs)).target)
        return torch.cat(found)

    explainer.set_constants(explainer.task.measured_constants(outputs))
