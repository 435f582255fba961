"""Shards hold what is put into them, in a form that other readers of parquet understand."""

import numpy as np
import pyarrow.parquet
import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.ablations.shards import (
    SIZE,
    Shard,
    bytes_for,
    read_shard,
    shard_count,
    shard_groups,
    shard_path,
    write_shard,
)
from tests.ablations.test_description import description


def shard():
    generator = np.random.default_rng(0)
    units = np.array([3, 0, 8], dtype=np.int32)
    masks = [np.packbits(generator.random(4 * count) < 0.5).tobytes() for count in units]
    outputs = generator.normal(size=(3, 4, 2)).astype(np.float32)
    outputs[1, 2] = np.nan
    return Shard(np.array([5, 2, 9]), units, masks, outputs)


def test_a_shard_comes_back_as_it_was(tmp_path):
    path, one = tmp_path / "shard.parquet", shard()
    write_shard(path, one, description())
    for inputs in ([5, 2, 9], None):
        found = read_shard(path, inputs, description())
        for mine, theirs in zip(found, one, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_other_readers_see_names_types_and_versions(tmp_path):
    write_shard(tmp_path / "shard.parquet", shard(), description())
    table = pyarrow.parquet.read_table(tmp_path / "shard.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("input", "int64"), ("units", "int32"), ("masks", "binary"), ("outputs", "list<element: float>"),
    ]  # fmt: skip
    assert table.schema.metadata[b"hf_diffmask_schema"] == b"1"
    assert table.schema.metadata[b"hf_diffmask_description"] == description().digest.encode()
    assert table["outputs"][0].as_py() == shard().outputs[0].flatten().tolist()


@pytest.mark.parametrize("inputs", [[5, 2], [2, 5, 9], [5, 2, 8]])
def test_other_inputs_than_asked_are_refused(tmp_path, inputs):
    write_shard(tmp_path / "shard.parquet", shard(), description())
    with pytest.raises(DiffMaskError, match=r"shard\.parquet is damaged: make it anew"):
        read_shard(tmp_path / "shard.parquet", inputs, description())


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": np.array([5, 2, 10])},
        {"inputs": np.array([5, 2, -1])},
        {"units": np.array([3, 0, 9], dtype=np.int32)},
        {"outputs": shard().outputs[:, :3]},
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, wrong):
    write_shard(tmp_path / "shard.parquet", shard()._replace(**wrong), description())
    with pytest.raises(DiffMaskError, match=r"shard\.parquet is damaged"):
        read_shard(tmp_path / "shard.parquet", None, description())


def test_another_table_is_refused(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a film"]}), tmp_path / "shard.parquet")
    with pytest.raises(DiffMaskError, match=r"shard\.parquet is of other ablations"):
        read_shard(tmp_path / "shard.parquet", None, description())


def test_groups_hold_inputs_of_similar_length():
    lengths = np.random.default_rng(1).integers(3, 40, 2 * SIZE + 7).tolist()
    groups = shard_groups(lengths)
    assert [len(group) for group in groups] == [SIZE, SIZE, 7] and shard_count(len(lengths)) == 3
    order = [number for group in groups for number in group]
    assert sorted(order) == list(range(len(lengths))) and shard_count(SIZE) == 1 and shard_count(0) == 0
    assert order == sorted(range(len(lengths)), key=lambda number: lengths[number])
    assert shard_path("out", 3).name == "shard-00003.parquet"


def test_bytes_are_counted_by_packing():
    for units in range(20):
        expected = len(np.packbits(np.zeros(6 * units, dtype=bool)))
        assert bytes_for(np.array([units]), 6).tolist() == [expected]
