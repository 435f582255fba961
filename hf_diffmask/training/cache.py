"""Cache of the base model's outputs and states for whole inputs."""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable

import torch
from torch import Tensor

from ..base.flow import Flow
from ..base.running import Batch, Recorded
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel


class RecordedCache:
    """
    Hidden states and outputs of a data set, in memory or, above a limit, in a file.

    The states of all examples are concatenated in one flat tensor, without padding. The data set has fixed groups of
    similar length. The first use of an example records its whole group. So the last digits of a state do not depend on
    the batch that uses it first, and a resumed run finds the same states as a run that was never interrupted.

    Args:
        lengths (`list[int]`): Length of each example in tokens.
        limit (`float`): GiB to keep in memory; a larger cache is a temporary file, removed when the process ends.
        batch_of (`Callable`): Makes a [`Batch`] of the examples with the given numbers.
        size (`int`): Examples in a group.
    """

    def __init__(self, lengths: list[int], limit: float, batch_of: Callable[[list[int]], Batch], size: int):
        self.starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
        self.limit, self.batch_of = limit, batch_of
        by_length = torch.tensor(lengths).argsort(stable=True)
        self.groups = by_length.split(size)
        self.group_of = torch.empty_like(by_length)
        for number, group in enumerate(self.groups):
            self.group_of[group] = number
        self.known = torch.zeros(len(lengths), dtype=torch.bool)
        self.targets = torch.empty(0)
        self.parts: list[Tensor] = []

    def _allocate(self, recorded: Recorded, by_unit: bool) -> None:
        total = self.starts[-1]
        by_token = _by_token(recorded)
        widths = [part[0, 0].numel() for part in by_token]
        # Under autocast, states differ in precision; the highest precision holds all.
        dtype = functools.reduce(torch.promote_types, (part.dtype for part in by_token))
        size = total * sum(widths)
        if size * dtype.itemsize > self.limit * 2**30:
            # If the disk is full, a write to a mapped file ends the process without an error message.
            if size * dtype.itemsize > 0.8 * shutil.disk_usage(tempfile.gettempdir()).free:
                raise DiffMaskError(
                    f"The hidden states of the data set take {size * dtype.itemsize / 2**30:.1f} GiB, more than "
                    "--cache_memory and the temporary folder allow: train with --cache_memory 0."
                )
            # Unlinked at once, so the space is free again even if the process is killed.
            descriptor, path = tempfile.mkstemp(prefix="hf_diffmask_states_")
            os.close(descriptor)
            flat = torch.from_file(path, shared=True, size=size, dtype=dtype)
            os.unlink(path)
        else:
            flat = torch.empty(size, dtype=dtype)
        parts = flat.split([total * width for width in widths])
        self.parts = [part.view(total, *like.shape[2:]) for part, like in zip(parts, by_token, strict=True)]
        # An output with a value for each unit is stored like the states.
        self.by_unit = by_unit
        rows = total if self.by_unit else len(self.known)
        self.targets = torch.empty(rows, recorded.target.shape[1], dtype=recorded.target.dtype)

    def _fill(self, explainer: DiffMaskModel, ids: Tensor) -> None:
        """Records a group of examples."""
        batch = self.batch_of(ids.tolist())
        recorded, real = explainer.record(batch), batch.units.cpu()
        if not self.parts:
            self._allocate(recorded, explainer.task.by_unit)
        rows = self._rows(ids)
        for flat, part in zip(self.parts, _by_token(recorded), strict=True):
            flat[rows] = part.cpu()[real].to(flat.dtype)
        target = recorded.target.cpu()
        if self.by_unit:
            self.targets[rows] = target.transpose(1, 2)[real]
        else:
            self.targets[ids] = target
        self.known[ids] = True

    def _rows(self, ids: Tensor) -> Tensor:
        return torch.cat([torch.arange(self.starts[k], self.starts[k + 1]) for k in ids.tolist()])

    def record(self, explainer: DiffMaskModel, batch: Batch) -> Recorded:
        """
        The base model's output and states for a batch. The base model runs only on groups that are not cached.

        Args:
            explainer ([`DiffMaskModel`]): Holds the base model.
            batch ([`Batch`]): With `example_ids`.

        Returns:
            [`Recorded`]: On the device of the batch; states are 0 at padding.
        """
        assert batch.example_ids is not None
        ids, device = batch.example_ids.cpu(), batch.example_ids.device
        real = batch.units.cpu()
        for number in self.group_of[ids[~self.known[ids]]].unique().tolist():
            self._fill(explainer, self.groups[number])
        rows = self._rows(ids)
        parts = []
        for flat in self.parts:
            part = flat.new_zeros(*real.shape, *flat.shape[1:])
            part[real] = flat[rows]
            parts.append(part.to(device))
        count = explainer.config.num_states
        flow = Flow(tuple(parts[count:-1]), parts[-1]) if explainer.config.read_flow else None
        if self.by_unit:
            target = self.targets.new_full((*real.shape, self.targets.shape[1]), explainer.task.padding)
            target[real] = self.targets[rows]
            target = target.transpose(1, 2)
        else:
            target = self.targets[ids]
        return Recorded(target.to(device), parts[:count], batch, flow)


def _by_token(recorded: Recorded) -> list[Tensor]:
    """The tensors with one entry for each token: states, and flow if there is one."""
    flow = recorded.flow
    return [*recorded.states, *((*flow.values, flow.shares) if flow else ())]
