"""Hash of a base model's weights."""

import hashlib

import torch
from transformers import PreTrainedModel


def fingerprint(model: PreTrainedModel, dtype: torch.dtype) -> str:
    """
    Hash of the names, shapes and some values of a model's tensors.

    Reads at most 16 evenly spaced values of each tensor, in a few milliseconds. Values are rounded to `dtype`, so the
    model has the same fingerprint in this and any higher precision.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        dtype (`torch.dtype`): The precision to compare in.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        values = tensor.detach().reshape(-1)
        picked = values[:: max(1, values.numel() // 16)][:16]
        digest.update(picked.to(dtype).to(torch.float64).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
