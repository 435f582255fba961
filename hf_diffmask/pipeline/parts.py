"""Which parts of a text are explained, for a task with outputs at positions: entities, all tokens, or spans."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..base.running import Recorded, joined_rows
from ..data.encoding import EncodedText
from ..data.merging import most_central
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..explainer.recording import record_at
from ..tasks.inputs import whole_number

ENTITIES, ALL = "entities", "all"
ROWS = 32  # explanations that run as one batch, at least
Targets = str | tuple[tuple[int, int], ...]
"""The explained parts: `"entities"`, `"all"`, or spans in characters."""


@dataclass(frozen=True)  # no tuple: pipelines split tuples
class Parts:
    """The parts of a window that are explained."""

    positions: list[list[int]] | None
    """Positions of each part. With `None` the base model finds the parts."""


def asked_targets(model: DiffMaskModel, targets: Any) -> Targets:
    """
    The targets of a caller, checked.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        targets (`str` or a list of spans): `"entities"`, `"all"`, or pairs of start and end in characters.

    Returns:
        `str` or `tuple[tuple[int, int], ...]`

    Raises:
        DiffMaskError: If the task has no parts, or this is none of the three.
    """
    if not model.task.at_positions:
        raise DiffMaskError("`targets` is for token classification, which is not this explainer's task.")
    if targets == ALL and not model.task.explains_any:
        raise DiffMaskError('This explainer explains mask tokens alone: leave `targets="all"` out.')
    if isinstance(targets, str) and targets in (ENTITIES, ALL):
        return targets
    if not isinstance(targets, Sequence) or isinstance(targets, str):
        raise DiffMaskError(
            f'`targets` must be "entities", "all", or a list of (start, end) in characters (on the command line '
            f"START:END), but is {targets!r}."
        )
    found = []
    for span in targets:
        ends = [whole_number(end) for end in span] if isinstance(span, list | tuple) else []
        if len(ends) != 2 or ends[0] is None or ends[1] is None or not 0 <= ends[0] < ends[1]:
            raise DiffMaskError(f"A span must be (start, end) in characters, start before end, but is {span!r}.")
        found.append((ends[0], ends[1]))
    if not found:
        raise DiffMaskError('The list `targets` is empty: name a span, or give "entities".')
    return tuple(found)


def parts_of(targets: Targets, encoded: EncodedText, units: Sequence[int]) -> Parts:
    """
    The parts of a window that are asked for.

    Args:
        targets (`str` or `tuple`): Result of [`asked_targets`].
        encoded ([`EncodedText`]): The whole text.
        units (`Sequence[int]`): Tokens of the window, by their numbers in the text.

    Returns:
        [`Parts`]

    Raises:
        DiffMaskError: If a span holds no token of the text.
    """
    ordinary = [position for position, unit in enumerate(units) if encoded.segments[unit] is not None]
    if isinstance(targets, str):
        return Parts(None if targets == ENTITIES else [[position] for position in ordinary])
    found = []
    for start, end in targets:
        if not _inside(encoded, range(len(encoded.tokens)), start, end):
            raise DiffMaskError(
                f"There is no token from character {start} to {end}: the text has {len(encoded.texts[0])} characters."
            )
        found.append([position for position in ordinary if _inside(encoded, [units[position]], start, end)])
    return Parts([part for part in found if part])


def _inside(encoded: EncodedText, units: Sequence[int], start: int, end: int) -> list[int]:
    """The tokens that share characters with a span."""
    return [
        unit
        for unit in units
        if encoded.segments[unit] is not None and encoded.offsets[unit][0] < end and encoded.offsets[unit][1] > start
    ]


def explain_parts(
    model: DiffMaskModel, recorded: Recorded, asked: Sequence[Parts], explain: Callable[[Recorded], dict[str, Any]]
) -> dict[str, Any]:
    """
    Explanations of several parts of each window, from one pass of the base model.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): The base model's output at each position, and its states.
        asked (`Sequence[Parts]`): For each window, what is explained.
        explain (`Callable`): Explains a batch with one part a row.

    Returns:
        `dict`: As from `explain`, with the parts in dimension 1; and `explained`, `(B, N, T)`, `bool`: the positions
        of each part, none where a window has fewer parts.
    """
    positions = [
        _found(model, recorded, row) if one.positions is None else one.positions for row, one in enumerate(asked)
    ]
    count = max(1, *(len(parts) for parts in positions))
    units = recorded.batch.units
    explained = torch.zeros(len(units), count, units.shape[1], dtype=torch.bool, device=units.device)
    for row, parts in enumerate(positions):
        (there,) = torch.where(units[row])
        for number, part in enumerate(parts):
            explained[row, number, there[part]] = True
    first = units & (units.cumsum(-1) == 1)
    asked_for = explained
    if not explained.any():  # something must run, to give results their shapes, and is thrown away
        asked_for = explained.clone()
        asked_for[0, 0] = first[0]
    found, places, waiting = [], [], []
    for number, marks in enumerate(asked_for.unbind(1)):
        (rows,) = torch.where(marks.any(-1))
        places.append(torch.stack([rows, torch.full_like(rows, number)]))
        # All rows at once, since the flow is read for the whole batch. Rows without this part take their first token.
        filled = torch.where(marks.any(-1, keepdim=True), marks, first)
        waiting.append(record_at(model.task, recorded, filled).rows(rows))
        if sum(len(one.target) for one in waiting) >= ROWS or number == count - 1:
            found.append(explain(joined_rows(waiting)))
            waiting = []
    rows, numbers = torch.cat(places, dim=1)
    results = {"explained": explained}
    for name in found[0]:
        values = torch.cat([one[name] for one in found])
        results[name] = values.new_zeros(len(units), count, *values.shape[1:]).index_put((rows, numbers), values)
    return results


def _found(model: DiffMaskModel, recorded: Recorded, row: int) -> list[list[int]]:
    """The parts that the base model finds in a window."""
    there = recorded.batch.units[row]
    ids, special = recorded.batch.inputs["input_ids"][row][there].cpu(), recorded.batch.special[row][there].cpu()
    return model.task.parts(recorded.target[row][there].cpu(), ids, special, model.base.config)


def each_part(windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    The explanations of the parts of a text, each from the window where the middle of the part is most central.

    Args:
        windows (`list[dict]`): For each window its features and the result of [`explain_parts`].

    Returns:
        `list[dict]`: For each part a window of its own, in the order of the text: `encoded` has the window's tokens
        alone, and `explained` their numbers (`list[int]`).
    """
    encoded: EncodedText = windows[0]["encoded"]
    numbered = [
        {**window, "number": torch.full((1, window["attention_mask"].shape[1], 1), number)}
        for number, window in enumerate(windows)
    ]
    owner = most_central(numbered, encoded, "number")[:, 0].tolist()
    found: dict[tuple[int, ...], dict[str, Any]] = {}
    for number, window in enumerate(windows):
        units = window["units"]
        marked = window["explained"][0][:, window["attention_mask"][0].bool()]
        for part, marks in enumerate(marked):
            tokens = torch.where(marks)[0].tolist()
            middle = units[tokens[len(tokens) // 2]] if tokens else None
            if middle is not None and owner[middle] == number:
                found[tuple(units[token] for token in tokens)] = _alone(window, part, tokens)
    if windows[0].get("asked") == Parts(None):  # spans that a caller names may overlap
        found = {key: found[key] for key in _apart(list(found))}
    return [found[key] for key in sorted(found)]


def _apart(parts: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The parts without overlaps. Of two that overlap, found in two windows, the longer one stays."""
    taken: set[int] = set()
    kept = []
    for part in sorted(parts, key=len, reverse=True):
        if taken.isdisjoint(part):
            kept.append(part)
            taken.update(part)
    return kept


def _alone(window: dict[str, Any], part: int, tokens: list[int]) -> dict[str, Any]:
    """One part of a window, as a window of a text that ends where the window does."""
    encoded, units = window["encoded"], window["units"]
    of_part = {
        name: value[:, part]
        for name, value in window.items()
        if isinstance(value, Tensor) and name not in ("attention_mask", "explained")
    }
    own = EncodedText(
        encoded.texts,
        {name: [values[unit] for unit in units] for name, values in encoded.features.items()},
        [encoded.tokens[unit] for unit in units],
        [encoded.offsets[unit] for unit in units],
        [encoded.segments[unit] for unit in units],
        encoded.token_of,
        encoded.unit,
    )
    return {**window, **of_part, "encoded": own, "units": list(range(len(units))), "explained": tokens}
