"""Checks the pipeline's arguments and sorts them by step."""

from collections.abc import Sequence
from typing import Any

from ..data.units import asked_unit
from ..errors import DiffMaskError, unrefined
from ..explainer.modeling_diffmask import DiffMaskModel
from ..methods.per_example import per_example
from ..methods.reinforce import reinforce
from ..tasks.inputs import whole_number
from ..tasks.registry import TASKS
from .labels import asked_labels
from .parts import asked_targets
from .violations import SEARCHES

AGGREGATIONS = ("token", "word")
# Methods that need no probes.
PER_EXAMPLE: dict[str, Any] = {"per_example": per_example, "reinforce": reinforce}
# Treatments of an explanation outside the margin.
ON_VIOLATION = ("keep", "search", "refine", "abstain")


def sorted_options(
    model: DiffMaskModel,
    state: str | int | None = None,
    verify: bool | None = None,
    aggregation: str | None = None,
    method: str | None = None,
    on_violation: str | None = None,
    margin: float | None = None,
    label: str | int | Sequence[str | int] | None = None,
    curve: bool | None = None,
    refine_steps: int | None = None,
    targets: str | Sequence[tuple[int, int]] | None = None,
    probabilities: bool | None = None,
    unit: str | Sequence[tuple[int, int]] | None = None,
    **of_task: Any,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """
    Arguments of [`DiffMaskAttributionPipeline`], checked one by one and sorted by step.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        state, verify, aggregation, method, on_violation, margin, label, curve, targets, probabilities, unit: See
            the pipeline.
        refine_steps: Refused; see [`~hf_diffmask.errors.unrefined`].
        of_task: Options for the task, see [`Task.options`].

    Returns:
        `tuple`: The given arguments of `preprocess`, `_forward` and `postprocess`.

    Raises:
        DiffMaskError: If an argument is unknown or wrong, or this explainer does not take it.
    """
    forward: dict[str, Any] = {}
    post: dict[str, Any] = {}
    if refine_steps is not None:
        raise unrefined("`refine_steps`")
    model.masks.check(on_violation or "keep", margin=margin, label=label, curve=curve)
    if margin is not None:
        if isinstance(margin, bool | str):
            raise DiffMaskError(f"`margin` must be a number, but is {margin!r}.")
        if not margin > 0:
            raise DiffMaskError(f"`margin` must be greater than 0, but is {margin}.")
        forward["margin"] = post["margin"] = float(margin)
    if label is not None:
        forward["label"] = post["label"] = asked_labels(model, label)
    if curve is not None:
        forward["curve"] = curve
    if probabilities is not None:
        post["probabilities"] = probabilities
    if state is not None:
        forward["state"] = post["state"] = state_index(model, state)
    if verify is not None:
        forward["verify"] = verify
    if aggregation is not None:
        if aggregation not in AGGREGATIONS:
            raise DiffMaskError(f"`aggregation` must be one of {', '.join(AGGREGATIONS)}, but is {aggregation!r}.")
        post["aggregation"] = aggregation
    if method is not None:
        if method != "amortised" and method not in PER_EXAMPLE:
            raise DiffMaskError(f"`method` must be amortised, {' or '.join(PER_EXAMPLE)}, but is {method!r}.")
        forward["method"] = post["method"] = method
    if on_violation is not None:
        if on_violation not in ON_VIOLATION:
            raise DiffMaskError(f"`on_violation` must be one of {', '.join(ON_VIOLATION)}, but is {on_violation!r}.")
        forward["on_violation"] = post["on_violation"] = on_violation
    _check_of_task(model, of_task)
    before: dict[str, Any] = {} if targets is None else {"targets": asked_targets(model, targets)}
    if unit is not None:
        before["unit"] = asked_unit(unit)
        if before["unit"] != "token" and not model.masks.adds_up:
            raise DiffMaskError("Units of several tokens need an explainer that was trained with --recipe ablation.")
    return before, forward, {**post, **of_task}


def count_of(name: str, value: Any) -> int:
    """
    A number of things, at least one.

    Args:
        name (`str`): Name of the argument.
        value (`Any`): Its value, an integer of any library.

    Returns:
        `int`

    Raises:
        DiffMaskError: If the value is no integer, or below 1.
    """
    number = whole_number(value)
    if number is None or number < 1:
        raise DiffMaskError(f"`{name}` must be a whole number from 1 on, but is {value!r}.")
    return number


def _check_of_task(model: DiffMaskModel, of_task: dict[str, Any]) -> None:
    """Refuses options that the explainer's task does not have."""
    known: dict[str, list[str]] = {}
    for task in TASKS.values():
        for name in task.options:
            known.setdefault(name, []).append(task.name.replace("-", " "))
    if unknown := sorted(of_task.keys() - known.keys()):
        raise DiffMaskError(f"There is no argument {', '.join(unknown)}.")
    for name in of_task:
        if name not in model.task.options:
            raise DiffMaskError(f"`{name}` is for {' and '.join(known[name])}, which is not this explainer's task.")


def check_together(
    model: DiffMaskModel, verify: bool, method: str, on_violation: str, margin: float | None, **of_path: Any
) -> None:
    """
    Refuses arguments that contradict each other, from the constructor and the call.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        verify, method, on_violation, margin: See the pipeline.
        of_path: Arguments for paths, which `method` cannot take.

    Raises:
        DiffMaskError: If two arguments contradict each other.
    """
    if on_violation != "keep" and not verify:
        raise DiffMaskError(f"`on_violation={on_violation!r}` needs the check: leave `verify` on.")
    if method in PER_EXAMPLE:
        if on_violation in SEARCHES:
            raise DiffMaskError(f"`method={method!r}` stays within the margin by itself: leave `on_violation` out.")
        for name, value in {"margin": margin, **of_path}.items():
            if value:
                raise DiffMaskError(f"`method={method!r}` does not use the path: leave `{name}` out.")
    elif margin and on_violation != "search" and not model.masks.is_calibrated:
        raise DiffMaskError(
            'This explainer was trained without validation inputs and has no thresholds: use `on_violation="search"`.'
        )


def state_index(model: DiffMaskModel, state: str | int) -> int:
    """
    The number of a state.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        state (`str` or `int`): Name, or number of any library, from 0 or from the end.

    Returns:
        `int`: From 0.

    Raises:
        DiffMaskError: If the state does not exist.
    """
    names = model.config.columns
    if isinstance(state, str) and state in names:
        return names.index(state)
    number = whole_number(state)
    if number is not None and -len(names) <= number < len(names):
        return number % len(names)
    raise DiffMaskError(f"There is no state {state!r}: name one of {', '.join(names)}, or a number from 0.")
