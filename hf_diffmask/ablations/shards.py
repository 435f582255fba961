"""Shards of ablations: parquet files with the masks of some inputs and what the base model said under them."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.writing import writing
from ..errors import DiffMaskError
from .description import SCHEMA, Description

SIZE = 256  # inputs in a shard
AGAIN = "make it anew with the `hf-diffmask ablate` or the training that made it, which keeps the others"
"""What to do about a file that is missing or damaged, for errors."""
_SCHEMA, _DESCRIPTION = b"hf_diffmask_schema", b"hf_diffmask_description"


class DamagedShard(DiffMaskError):
    """A shard that is missing, damaged, or of other ablations."""


class Shard(NamedTuple):
    """The ablations of some inputs."""

    inputs: np.ndarray
    """`(n,)`, `int64`: numbers of the inputs in their data set."""
    units: np.ndarray
    """`(n,)`, `int32`: units of each input that can be masked."""
    masks: list[bytes]
    """For each input, the bits of its masks, one after the other, packed by `np.packbits`."""
    outputs: np.ndarray
    """`(n, M, K)`, `float32`: what the base model said, NaN for masks that are left out."""


def shard_groups(lengths: list[int]) -> list[list[int]]:
    """
    The inputs of each shard: groups of similar length. They depend on the data alone.

    Args:
        lengths (`list[int]`): Length of each input in tokens.

    Returns:
        `list[list[int]]`: Numbers of inputs, short inputs first.
    """
    order = np.argsort(np.asarray(lengths), kind="stable").tolist()
    return [order[start : start + SIZE] for start in range(0, len(order), SIZE)]


def shard_count(inputs: int) -> int:
    """
    Number of shards for a data set.

    Args:
        inputs (`int`): Number of inputs.

    Returns:
        `int`
    """
    return -(-inputs // SIZE)


def shard_path(folder: str | os.PathLike, number: int) -> Path:
    """
    The file of a shard.

    Args:
        folder (`str` or `os.PathLike`): The folder of the ablations.
        number (`int`): Number of the shard.

    Returns:
        `Path`
    """
    return Path(folder) / f"shard-{number:05d}.parquet"


def bytes_for(units: np.ndarray, masks: int) -> np.ndarray:
    """
    Size of the packed masks of inputs.

    Args:
        units (`np.ndarray`): Units of each input.
        masks (`int`): Masks for each input.

    Returns:
        `np.ndarray`: In bytes.
    """
    return -(-units.astype(np.int64) * masks // 8)


def write_shard(path: Path, shard: Shard, description: Description) -> None:
    """
    Writes a shard, whole or not at all.

    Args:
        path (`Path`): The file.
        shard ([`Shard`]): Its content.
        description ([`Description`]): The ablations that it belongs to.

    Raises:
        DiffMaskError: If the file cannot be written.
    """
    import pyarrow  # slow imports, not needed by other commands
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "input": pyarrow.array(shard.inputs, pyarrow.int64()),
            "units": pyarrow.array(shard.units, pyarrow.int32()),
            "masks": pyarrow.array(shard.masks, pyarrow.binary()),
            "outputs": pyarrow.array(
                list(shard.outputs.reshape(len(shard.inputs), -1)), pyarrow.list_(pyarrow.float32())
            ),
        },
        metadata={_SCHEMA: str(SCHEMA), _DESCRIPTION: description.digest},
    )
    with writing(path, "wb") as file:
        pyarrow.parquet.write_table(table, file, use_dictionary=False, write_page_checksum=True)


def read_shard(path: Path, inputs: list[int] | None, description: Description) -> Shard:
    """
    Reads a shard and checks that it is whole.

    Args:
        path (`Path`): The file.
        inputs (`list[int]`, *optional*): Inputs that it must hold, in this order; by default any.
        description ([`Description`]): The ablations that it belongs to.

    Returns:
        [`Shard`]

    Raises:
        DamagedShard: If the file is missing, damaged, or of other ablations.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise DamagedShard(f"{path} is missing: {AGAIN}.")
    try:
        # A path would be memory-mapped or looked up among the file systems that pyarrow knows.
        with path.open("rb") as file:
            table = pyarrow.parquet.ParquetFile(file, page_checksum_verification=True).read()
        names = table.schema.metadata or {}
        if names.get(_SCHEMA) != str(SCHEMA).encode() or names.get(_DESCRIPTION) != description.digest.encode():
            raise DamagedShard(f"{path} is of other ablations: {AGAIN}.")
        shard = _checked(table, inputs, description)
    except DamagedShard:
        raise
    except (OSError, KeyError, ValueError, TypeError, pyarrow.ArrowException) as error:
        raise DamagedShard(f"{path} is damaged: {AGAIN}.") from error
    return shard


def _checked(table: Any, inputs: list[int] | None, description: Description) -> Shard:
    """The content of a file whose pages are whole; raises ValueError where its parts do not fit one another."""
    numbers, units = table["input"].to_numpy(), table["units"].to_numpy()
    masks = table["masks"].to_pylist()
    flat = table["outputs"].combine_chunks()
    outputs = flat.flatten().to_numpy(zero_copy_only=False)
    shape = (len(numbers), description.masks, description.outputs)
    sizes = bytes_for(units, description.masks).tolist()
    others = (
        not np.isin(numbers, np.arange(description.inputs)).all() if inputs is None else numbers.tolist() != inputs
    )
    if others or [len(one) for one in masks] != sizes:
        raise ValueError("masks or inputs are not those of the description")
    return Shard(numbers, units, masks, outputs.reshape(shape))
