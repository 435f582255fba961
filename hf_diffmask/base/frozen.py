"""A base model that other code may use at the same time: eval mode and frozen weights, only while they are needed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch
from torch import nn

from .modules import modules_of


class _Switch:
    """Turns parts of models off while at least one run needs them off. Models may share parts."""

    def __init__(self, parts: Callable[[nn.Module], Iterable[Any]], is_on: Callable, turn: Callable[[Any, bool], Any]):
        self._parts, self._is_on, self._turn = parts, is_on, turn
        self._lock, self._runs = Lock(), Counter[int]()  # runs that need a part off, by the part's id

    @contextmanager
    def off(self, model: nn.Module) -> Iterator[None]:
        with self._lock:
            held = [part for part in self._parts(model) if self._is_on(part) or id(part) in self._runs]
            self._runs.update(map(id, held))
            for part in filter(self._is_on, held):
                self._turn(part, False)
        try:
            yield
        finally:
            with self._lock:
                self._runs.subtract(map(id, held))
                for part in held:
                    if not self._runs[id(part)]:
                        del self._runs[id(part)]
                        self._turn(part, True)


def _set_training(module: nn.Module, value: bool) -> None:
    module.training = value


_training = _Switch(modules_of, lambda module: module.training, _set_training)
_trainable = _Switch(nn.Module.parameters, lambda one: one.requires_grad, lambda one, value: one.requires_grad_(value))


@contextmanager
def as_guest(model: nn.Module) -> Iterator[None]:
    """
    Puts a model into eval mode with frozen weights, and restores it after the last of several runs at once.

    A model in eval mode is not changed by runs without gradients. A model in training mode is in eval mode for other
    callers as well, for the time of the runs.

    Args:
        model (`torch.nn.Module`): The base model.
    """
    with ExitStack() as stack:
        stack.enter_context(_training.off(model))
        if torch.is_grad_enabled():
            stack.enter_context(_trainable.off(model))
        yield
