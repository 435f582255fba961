"""Measures the constants of a task on training inputs."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..data.features import Features
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments

MOST = 1024  # largest number of inputs


@torch.no_grad()
def measure_constants(
    explainer: DiffMaskModel, dataset: Features, collator: Callable, args: DiffMaskTrainingArguments
) -> None:
    """
    Measures constants of the explainer's task from the base model's outputs, such as their variance.

    Every process computes the same on the same inputs. Most tasks have no constants; then the base model does not run.

    Args:
        explainer ([`DiffMaskModel`]): Its `config.task_constants` are changed in place.
        dataset ([`~hf_diffmask.data.features.Features`]): Inputs; the first 1024 in the seed's order are used.
        collator (`Callable`): Makes a batch of items of `dataset`.
        args ([`DiffMaskTrainingArguments`]): Seed, batch size and device are used.
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
