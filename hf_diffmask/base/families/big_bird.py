"""BigBird: a short text turns its sparse attention into full attention, for good."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from ..modules import modules_of

_lock = RLock()
# By model: the longest text that turned the attention, and the parts as they were then.
_turned: WeakKeyDictionary[PreTrainedModel, tuple[int, list[tuple]]] = WeakKeyDictionary()
_parts: WeakKeyDictionary[PreTrainedModel, list[nn.Module]] = WeakKeyDictionary()


def _of(part: nn.Module) -> tuple[nn.Module, Any, nn.Module | None]:
    return part, part.attention_type, part._modules.get("self")


def _set(parts: list[tuple]) -> None:
    for part, kind, attention in parts:
        part.attention_type = kind
        if attention is not None:
            part._modules["self"] = attention


@contextmanager
def kept_attention(model: PreTrainedModel, length: int) -> Iterator[None]:
    """
    Leaves a model's kind of attention as it was. Texts then give the same numbers whatever ran before them.

    Runs of such a model wait for one another, since all share the modules that change. Other models do not wait.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        length (`int`): Tokens of the texts that run.
    """
    if model not in _parts:
        _parts[model] = [part for part in modules_of(model) if hasattr(part, "set_attention_type")]
    parts = _parts[model]
    if not parts:
        yield
        return
    with _lock:
        before = [_of(part) for part in parts]
        longest, full = _turned.get(model, (0, before))
        if length <= longest:
            _set(full)  # building it again takes time
        try:
            with torch.random.fork_rng(devices=[]):  # new modules draw weights that are not used
                yield
        finally:
            after = [_of(part) for part in parts]
            if any(one[1] != other[1] for one, other in zip(before, after, strict=True)):
                _turned[model] = max(length, longest), after
            _set(before)
