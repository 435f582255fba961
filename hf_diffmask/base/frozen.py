"""A base model that other code may use at the same time: eval mode and frozen weights, only while they are needed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn


class _Switch:
    """Turns something off in a model while at least one run needs it off."""

    def __init__(self, on: Callable[[nn.Module], list[Any]], turn: Callable[[Any, bool], None]):
        self._on, self._turn, self._lock = on, turn, Lock()
        self._held: WeakKeyDictionary[nn.Module, tuple[int, list[Any]]] = WeakKeyDictionary()

    @contextmanager
    def off(self, model: nn.Module) -> Iterator[None]:
        with self._lock:
            runs, parts = self._held.get(model, (0, []))
            if runs == 0:
                parts = self._on(model)
                for part in parts:
                    self._turn(part, False)
            self._held[model] = runs + 1, parts
        try:
            yield
        finally:
            with self._lock:
                runs, parts = self._held.pop(model)
                if runs > 1:
                    self._held[model] = runs - 1, parts
                else:
                    for part in parts:
                        self._turn(part, True)


def _set_training(module: nn.Module, value: bool) -> None:
    module.training = value


_training = _Switch(lambda model: [one for one in model.modules() if one.training], _set_training)
_trainable = _Switch(
    lambda model: [one for one in model.parameters() if one.requires_grad],
    lambda parameter, value: parameter.requires_grad_(value),
)


@contextmanager
def as_guest(model: nn.Module) -> Iterator[None]:
    """
    Puts a model into eval mode with frozen weights, and restores it after the last of several runs at once.

    A model in eval mode is not changed by runs without gradients.

    Args:
        model (`torch.nn.Module`): The base model.
    """
    with ExitStack() as stack:
        stack.enter_context(_training.off(model))
        if torch.is_grad_enabled():
            stack.enter_context(_trainable.off(model))
        yield
