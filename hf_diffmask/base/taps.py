"""Hooks on the base model's modules that act only in the run that asks for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch import nn

from .modules import modules_of

Inputs = tuple[tuple, dict[str, Any]]


@dataclass
class Taps:
    """What one run of the base model reads and replaces, by module."""

    inputs: dict[nn.Module, list[Callable[[tuple, dict[str, Any]], Inputs | None]]] = field(default_factory=dict)
    """Functions of a module's arguments. A function may return other arguments."""
    outputs: dict[nn.Module, list[Callable[[tuple, Any], Any]]] = field(default_factory=dict)
    """Functions of a module's positional arguments and output. A function may return another output, or `None`."""
    instead: dict[nn.Module, Any] = field(default_factory=dict)
    """Outputs of modules that do not run."""

    def on_input(self, module: nn.Module, tap: Callable[[tuple, dict[str, Any]], Inputs | None]) -> None:
        """Adds a function of a module's arguments."""
        self.inputs.setdefault(module, []).append(tap)

    def on_output(self, module: nn.Module, tap: Callable[[tuple, Any], Any]) -> None:
        """Adds a function of a module's positional arguments and output."""
        self.outputs.setdefault(module, []).append(tap)

    @contextmanager
    def active(self) -> Iterator[None]:
        """
        Makes the functions act on forward passes of this thread.

        Other threads, and other runs in this thread, see the modules as they are: hooks stay on a module after its
        first run, but do nothing without an active run.
        """
        for module in {*self.inputs, *self.outputs}:
            _hook(module)
        for module in self.instead:
            _dispatch(module)
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)


# A context variable: a new thread starts without one.
_active: ContextVar[Taps | None] = ContextVar("hf_diffmask_taps", default=None)
_installing = Lock()


def _before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Inputs | None:
    if torch.compiler.is_compiling():  # compiled code reads no context variable; runs with taps are not compiled
        return None
    taps = _active.get()
    changed = None
    for tap in taps.inputs.get(module, ()) if taps else ():
        changed = tap(*(changed or (args, kwargs))) or changed
    return changed


def _after(module: nn.Module, args: tuple, output: Any) -> Any:
    if torch.compiler.is_compiling():
        return None
    taps = _active.get()
    changed = None
    for tap in taps.outputs.get(module, ()) if taps else ():
        found = tap(args, output if changed is None else changed)
        changed = changed if found is None else found
    return changed


def _hook(module: nn.Module) -> None:
    """Adds the hooks, once. A copy of a module has its hooks as well."""
    if _after not in module._forward_hooks.values():
        with _installing:
            if _after not in module._forward_hooks.values():
                module.register_forward_pre_hook(_before, with_kwargs=True)
                module.register_forward_hook(_after)


def _call_or_stand_in(module: nn.Module, call: Callable, *args: Any, **kwargs: Any) -> Any:
    taps = None if torch.compiler.is_compiling() else _active.get()
    if taps is None:
        return call(*args, **kwargs)
    # Hooks do not act in compiled code.
    return taps.instead[module] if module in taps.instead else module._call_impl(*args, **kwargs)


def look_into_compiled(model: nn.Module) -> None:
    """
    Makes the compiled parts of a model run uncompiled in runs with taps.

    Args:
        model (`torch.nn.Module`): The model. The model itself is called uncompiled by its caller.
    """
    for module in modules_of(model):
        if module is not model and module._compiled_call_impl is not None:
            _dispatch(module)


def _dispatch(module: nn.Module) -> None:
    """Makes calls of a module ask for a stand-in first, once: no hook can skip a module.

    PyTorch calls `_compiled_call_impl`, if there is one, and leaves it out of copies and pickles. `forward` stays free
    for others, such as Accelerate's offloading.
    """
    with _installing:
        call = module._compiled_call_impl
        if not (isinstance(call, partial) and call.func is _call_or_stand_in):
            module._compiled_call_impl = partial(_call_or_stand_in, module, call or module._call_impl)
