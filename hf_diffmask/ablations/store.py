"""Reads the ablations of a data set, and aligns them to batches."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..data.features import Features
from ..data.writing import writing
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..explainer.weights import digest, read_weights
from .description import Description, describe, read_description
from .running import replacement_of
from .shards import AGAIN, bytes_for, read_shard, shard_count, shard_path

logger = logging.get_logger(__name__)

BASELINE_FILE = "baseline.safetensors"
VALIDATION_FOLDER = "validation"  # ablations of validation inputs, in the folder of those of training inputs
NAMED = 5  # inputs that a warning names


class Ablations:
    """
    The ablations of a data set: masks of each input, and what the base model said under each.

    All are in memory, as bits and `float32` numbers.

    Args:
        folder (`str` or `os.PathLike`): A folder that `hf-diffmask ablate` or training wrote.

    Attributes:
        description ([`Description`]): What the ablations are of.
        baseline (`torch.Tensor` of shape `(d,)`): The baseline that replaced units.
        left_out (`torch.BoolTensor` of shape `(N, M)`): Masks whose outputs are not finite; their outputs are NaN.

    Raises:
        DiffMaskError: If the folder holds no ablations, a shard is missing or damaged, or no output is finite.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        found = read_description(folder)
        if found is None:
            raise DiffMaskError(f"{folder} holds no ablations: make them with `hf-diffmask ablate`.")
        self.description = found
        self.baseline = read_baseline(folder, found)
        count, masks = found.inputs, found.masks
        self._units = np.zeros(count, dtype=np.int64)
        self._outputs = np.full((count, masks, found.outputs), np.nan, dtype=np.float32)
        bits: list[bytes] = [b""] * count
        seen = np.zeros(count, dtype=bool)
        for number in range(shard_count(count)):
            path = shard_path(folder, number)
            shard = read_shard(path, None, found)
            if seen[shard.inputs].any():
                raise DiffMaskError(f"{path} holds inputs of another shard: make the ablations anew elsewhere.")
            self._units[shard.inputs], self._outputs[shard.inputs] = shard.units, shard.outputs
            for row, packed in zip(shard.inputs.tolist(), shard.masks, strict=True):
                bits[row] = packed
            seen[shard.inputs] = True
        self._bits = np.frombuffer(b"".join(bits), dtype=np.uint8)
        self._starts = np.concatenate([[0], bytes_for(self._units, masks).cumsum()])
        self.left_out = torch.from_numpy(~np.isfinite(self._outputs).all(-1))
        if bool(self.left_out.all()):
            raise DiffMaskError(
                f"No output in {folder} is a finite number: the base model cannot be explained in its precision; make "
                "the ablations in another folder in full precision."
            )

    def __len__(self) -> int:
        return self.description.inputs

    @property
    def masks_per_input(self) -> int:
        """Masks for each input (`int`)."""
        return self.description.masks

    @property
    def replacements(self) -> tuple[str, ...]:
        """The replacements that pairs of masks alternate over (`tuple[str, ...]`)."""
        return tuple(self.description.replacements)

    @property
    def replacement_of_mask(self) -> Tensor:
        """Number of the replacement of each mask (`torch.Tensor` of shape `(M,)`)."""
        return replacement_of(torch.arange(self.masks_per_input), len(self.replacements))

    def batch(self, ids: Tensor | Sequence[int], maskable: Tensor) -> tuple[Tensor, Tensor]:
        """
        Masks and outputs of some inputs, aligned to a padded batch.

        Args:
            ids (`torch.Tensor` of shape `(B,)`): Numbers of the inputs in the data set.
            maskable (`torch.Tensor` of shape `(B, T)`, `bool`): Units that can be masked.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: Masks `(B, M, T)`, `bool`, `True` at kept units and `False` at units
            that cannot be masked; and outputs `(B, M, K)`, see [`Task.kept`], NaN for masks that are left out. On the
            device of `maskable`.

        Raises:
            DiffMaskError: If an input has another number of units than its ablations.
        """
        rows = np.asarray(ids.tolist() if isinstance(ids, Tensor) else ids, dtype=np.int64)
        counts = maskable.sum(-1).tolist()
        if counts != self._units[rows].tolist():
            raise DiffMaskError(
                f"The ablations in {self.folder} are of inputs with other units: make them for this data set and "
                "these special tokens."
            )
        unpacked = [self._masks_of(row).reshape(-1) for row in rows.tolist()]
        masks = torch.zeros(len(rows), self.masks_per_input, maskable.shape[-1], dtype=torch.bool)
        flat = torch.from_numpy(np.concatenate(unpacked)).bool()
        masks = masks.masked_scatter(maskable.cpu()[:, None].expand_as(masks), flat)
        return masks.to(maskable.device), torch.from_numpy(self._outputs[rows]).to(maskable.device)

    def _masks_of(self, row: int) -> np.ndarray:
        """The masks of an input, `(M, n)`, 0 and 1."""
        shape = self.masks_per_input, int(self._units[row])
        packed = self._bits[self._starts[row] : self._starts[row + 1]]
        return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape)

    def check(
        self,
        explainer: DiffMaskModel,
        tokenizer: PreTrainedTokenizerBase,
        dataset: Features,
        masks: int | None = None,
        seed: int | None = None,
        replacements: Sequence[str] | None = None,
    ) -> None:
        """
        Refuses ablations of another base model, tokenizer, data set, task or baseline, or with other masks.

        Args:
            explainer ([`DiffMaskModel`]): Holds base model and baseline; to take the baseline of the ablations, copy
                it first.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
            dataset ([`~hf_diffmask.data.features.Features`]): The inputs.
            masks (`int`, *optional*): Masks for each input; by default any number.
            seed (`int`, *optional*): Seed of the masks; by default any.
            replacements (`Sequence[str]`, *optional*): By default any.

        Raises:
            DiffMaskError: With all that differs.
        """
        found = self.description
        asked = describe(
            explainer, tokenizer, dataset, found.masks if masks is None else masks,
            found.seed if seed is None else seed, found.replacements if replacements is None else replacements,
        )  # fmt: skip
        found.check(asked, self.folder)

    def warn_of_left_out(self) -> None:
        """Warns of masks that are left out since their outputs are not finite, if there are any."""
        inputs = self.left_out.any(-1).nonzero()[:, 0].tolist()
        if inputs:
            named = ", ".join(map(str, inputs[:NAMED])) + (", ..." if len(inputs) > NAMED else "")
            logger.warning(
                f"{int(self.left_out.sum())} of {self.left_out.numel()} masked inputs gave outputs that are not "
                f"finite, and are left out. They are of {len(inputs)} inputs, counted from 0: {named}."
            )


def write_baseline(folder: str | os.PathLike, baseline: Tensor) -> None:
    """
    Writes the baseline of ablations.

    Args:
        folder (`str` or `os.PathLike`): The folder of the ablations.
        baseline (`torch.Tensor` of shape `(d,)`): The baseline.

    Raises:
        DiffMaskError: If the folder cannot be written.
    """
    with writing(Path(folder) / BASELINE_FILE, "wb") as file:
        file.write(save({"baseline": baseline.detach().float().cpu().contiguous()}))


def read_baseline(folder: str | os.PathLike, description: Description) -> Tensor:
    """
    The baseline of ablations.

    Args:
        folder (`str` or `os.PathLike`): The folder of the ablations.
        description ([`Description`]): The description of the ablations, with the hash of the baseline.

    Returns:
        `torch.Tensor` of shape `(d,)`

    Raises:
        DiffMaskError: If the file is missing, damaged, or holds another baseline.
    """
    path = Path(folder) / BASELINE_FILE
    found = read_weights([path], str(path)) if path.is_file() else {}
    if found.keys() != {"baseline"} or digest(found)[:16] != description.baseline:
        raise DiffMaskError(f"{path} is missing, or another baseline than that of the ablations beside it: {AGAIN}.")
    return found["baseline"]
