"""Hash of a base model's weights."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import Tensor
from transformers import PreTrainedModel


def fingerprint(model: PreTrainedModel, dtype: torch.dtype) -> str:
    """
    Hash of the names, shapes and some values of a model's tensors.

    Reads at most 16 evenly spaced values of each tensor, in a few milliseconds. Values are rounded to `dtype`, so the
    model has the same fingerprint in this and any higher precision. Quantised weights are dequantised, and offloaded
    weights are loaded, one tensor at a time.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        dtype (`torch.dtype`): The precision to compare in.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        for leaf, tensor in _tensors(name, value):
            digest.update(f"{leaf}{tuple(tensor.shape)}".encode())
            values = _loaded(model, name, tensor).detach().reshape(-1)
            picked = values[:: max(1, values.numel() // 16)][:16]
            digest.update(picked.to(dtype).to(torch.float64).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of an entry of a state dict. Dynamically quantised layers have tuples, and dtypes without values."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _tensors(f"{name}.{number}", part)


def _loaded(model: PreTrainedModel, name: str, tensor: Tensor) -> Tensor:
    """A tensor with plain values, in memory."""
    if tensor.is_meta:  # offloaded by Accelerate
        folder, _, own = name.rpartition(".")
        with align_module_device(model.get_submodule(folder)):
            tensor = getattr(model.get_submodule(folder), own).detach().clone()
    # Subclasses of tensors, of torchao and quanto, and PyTorch's own quantised tensors.
    return tensor.dequantize() if tensor.is_quantized or hasattr(tensor, "__tensor_flatten__") else tensor
