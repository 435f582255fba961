"""Weights are compared by shape and digest; damaged files are named."""

import hashlib
import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from hf_diffmask import DiffMaskError
from hf_diffmask.explainer.weights import check_shapes, digest, read_weights, shapes


def test_the_digest_by_hand():
    tensors = {"b": torch.tensor([1.5, -2.0]), "a": torch.tensor([[3]], dtype=torch.int64)}
    wanted = hashlib.sha256(
        b'["a", "torch.int64", [1, 1]]' + struct.pack("<q", 3) + b'["b", "torch.float32", [2]]'
        + struct.pack("<ff", 1.5, -2.0)
    )  # fmt: skip
    assert digest(tensors) == digest(dict(reversed(tensors.items()))) == wanted.hexdigest()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.uint8])
def test_types_scalars_and_empty_tensors(dtype):
    tensors = {"a": torch.ones((), dtype=dtype), "b": torch.empty(0, 3, dtype=dtype)}
    assert len(digest(tensors)) == 64 and digest(tensors) != digest({**tensors, "b": torch.empty(3, 0, dtype=dtype)})


def test_any_change_changes_the_digest():
    wide = torch.arange(12.0).reshape(3, 4)
    first = digest({"a": wide})
    assert digest({"a": wide.t().contiguous().t()}) == first, "the order in memory does not matter"
    bits = wide.clone().view(torch.int32)
    bits[2, 3] ^= 1
    for other in ({"b": wide}, {"a": wide.reshape(4, 3)}, {"a": wide.half()}, {"a": bits.view(torch.float32)}):
        assert digest(other) != first


def test_files_are_read_in_their_own_precision(tmp_path):
    save_file({"a": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(3, 1)}, tmp_path / "2.safetensors")
    files = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    assert shapes(files, "x") == {"a": (2,), "b": (3, 1)}
    found = read_weights(files, "x")
    assert found["a"].dtype == torch.bfloat16 and torch.equal(found["b"], torch.zeros(3, 1))


def damages(path):
    good = path.read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + size])
    yield b""
    yield good[:5]
    yield good[: len(good) // 2]
    yield b"\xff" * 8 + good[8:]
    yield b"\x80\x02}q\x00." + good  # a pickle
    yield struct.pack("<Q", 2) + b"[]" + good[8 + size :]
    for change in ({"dtype": "F7"}, {"shape": [2**62]}, {"shape": [-1]}, {"data_offsets": [0, 10**18]}):
        text = json.dumps({**header, "a": {**header["a"], **change}}).encode()
        yield struct.pack("<Q", len(text)) + text + good[8 + size :]


def test_a_damaged_file_is_named_with_the_cause(tmp_path):
    path = tmp_path / "model-00001-of-00001.safetensors"
    save_file({"a": torch.ones(2)}, path)
    for bad in list(damages(path)):
        path.unlink()  # the old file may be mapped into memory
        path.write_bytes(bad)
        for read in (shapes, read_weights):
            with pytest.raises(DiffMaskError) as error:
                read([path], "acme/x")
            said = str(error.value)
            assert said.startswith(f"The weights of acme/x are damaged ({path.name}: ") and "\n" not in said


def test_weights_that_do_not_fit_are_named_but_not_all():
    wanted = {"a": (2,), "b": (3, 4)}
    check_shapes(wanted, wanted, "x")
    with pytest.raises(
        DiffMaskError, match=r"of x do not match its config: b has the shape \[4, 3\] instead of \[3, 4\];"
    ):
        check_shapes({**wanted, "b": (4, 3)}, wanted, "x")
    with pytest.raises(DiffMaskError, match="config: a, z missing or unknown;"):
        check_shapes({"z": (1,), "b": (3, 4)}, wanted, "x")
    with pytest.raises(DiffMaskError) as error:
        check_shapes({f"{k}" * 500: (1,) for k in range(9)}, {}, "x")
    assert "and 4 more missing or unknown" in str(error.value) and len(str(error.value)) < 900
