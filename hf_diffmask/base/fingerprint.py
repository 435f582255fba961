"""A hash that tells one base model's weights from another's."""

import hashlib

import torch
from transformers import PreTrainedModel


def fingerprint(model: PreTrainedModel, dtype: torch.dtype) -> str:
    """
    Hash of the names, shapes and fixed slices of a model's tensors.

    At most 16 evenly spaced values of each tensor are read, rounded to `dtype`, so that a model has the same
    fingerprint in that precision and in any higher one, and the cost is a few milliseconds.

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
