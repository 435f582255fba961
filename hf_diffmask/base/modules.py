"""Walks through the modules of a base model, which every run does."""

from collections.abc import Iterator

from torch import nn


def modules_of(model: nn.Module) -> Iterator[nn.Module]:
    """
    All modules of a model, each once, in any order. Unlike `Module.modules` it names none, and is faster in small
    runs.

    Args:
        model (`torch.nn.Module`): The model.

    Returns:
        `Iterator[torch.nn.Module]`: The model itself comes first.
    """
    seen, waiting = {id(model)}, [model]
    while waiting:
        module = waiting.pop()
        yield module
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
