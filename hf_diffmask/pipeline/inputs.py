"""Sorts what a caller has in hand: one input, several, or a stream of rows with some that cannot be explained."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count, repeat, zip_longest
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..data.encoding import EncodedText
from ..errors import DiffMaskError
from ..tasks.task import Task

# Treatments of a row that cannot be explained.
ON_ERROR = ("raise", "skip")

Read = Callable[[Any, str], Any]


def check_on_error(on_error: str) -> str:
    """
    Refuses an unknown treatment of bad rows.

    Args:
        on_error (`str`): The treatment.

    Returns:
        `str`: The same.

    Raises:
        DiffMaskError: If there is no such treatment.
    """
    if on_error not in ON_ERROR:
        raise DiffMaskError(f"`on_error` must be one of {', '.join(ON_ERROR)}, but is {on_error!r}.")
    return on_error


def with_keywords(task: Task, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """
    Inputs from keywords that are named as the task's two columns, such as `question=` and `context=`.

    Args:
        task ([`Task`]): Task of the explainer.
        inputs (`Any`): The first argument; `None` if there is none.
        options (`dict`): The keywords of the call.

    Returns:
        `tuple`: The inputs, and the other keywords. One text beside several is repeated for each.

    Raises:
        DiffMaskError: If one of the two keywords is missing, the first argument is given as well, or columns differ
            in length.
    """
    names = [name for name in task.columns if name is not None]
    given = {name: options[name] for name in names if name in options}
    if not given or len(names) < 2:
        return inputs, options
    if inputs is not None:
        raise DiffMaskError(f"There are two inputs: give either the first argument or `{'=` and `'.join(names)}=`.")
    if missing := [name for name in names if name not in given]:
        raise DiffMaskError(f"`{next(iter(given))}=` needs `{missing[0]}=` beside it.")
    rest = {name: value for name, value in options.items() if name not in names}
    alone = [_is_one(value) for value in given.values()]
    if all(alone):
        return given, rest
    many = [value for value, is_alone in zip(given.values(), alone, strict=True) if not is_alone]
    streamed = any(_is_stream(value) for value in many)
    if not streamed and len({len(value) for value in many}) > 1:
        raise DiffMaskError(f"There are {len(many[0])} of `{names[0]}` and {len(many[1])} of `{names[1]}`.")
    columns = [
        repeat(value) if is_alone else _rows_of(value) for value, is_alone in zip(given.values(), alone, strict=True)
    ]
    # A stream that ends first leaves bad rows, which have a number.
    together = zip(*columns, strict=False) if any(alone) else zip_longest(*columns)
    rows = (dict(zip(names, row, strict=True)) for row in together)
    return (rows if streamed else list(rows)), rest


def read_input(task: Task, tokenizer: PreTrainedTokenizerBase, length: int, item: Any, what: str) -> EncodedText:
    """
    The tokens of an input, checked.

    Args:
        task ([`Task`]): Task of the explainer.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        length (`int`): Tokens that fit into a window.
        item (`Any`): The input.
        what (`str`): Name of the input in an error.

    Returns:
        [`EncodedText`]

    Raises:
        DiffMaskError: If the input cannot be explained.
    """
    encoded = task.encoded(tokenizer, task.check(item, what), what)
    if all(segment is None for segment in encoded.segments):
        raise DiffMaskError(f"{what} holds no token: give a text with at least one visible character.")
    task.check_room(encoded, length, what)
    return encoded


def explained(inputs: Any, check: Read, read: Read, run: Callable[[Any], Any], on_error: str) -> Any:
    """
    Results of whatever the caller has in hand.

    Args:
        inputs (`Any`): One input or a container.
        check (`Callable`): Refuses an input, given with its name in errors. It is quick.
        read (`Callable`): Maps an input and its name in errors to an argument of `run`.
        run (`Callable`): Maps one such argument to its result, and a generator of them to an iterable of results.
        on_error (`str`): `"raise"` or `"skip"`, see [`DiffMaskAttributionPipeline`].

    Returns:
        `dict` for one input; a list for a container in memory; an iterator for a stream.

    Raises:
        DiffMaskError: If an input cannot be explained, and the caller does not skip it. For a container in memory,
            before anything runs if `check` finds it.
    """
    if _is_one(inputs):
        return run(read(inputs, "The input"))
    if _is_stream(inputs):
        return _results(_rows_of(inputs), read, run, on_error)
    rows = list(_rows_of(inputs))
    if on_error == "raise":
        for number, row in enumerate(rows):
            check(row, f"Input {number}")
    return list(_results(iter(rows), read, run, on_error))


def _results(rows: Iterator[Any], read: Read, run: Callable[[Any], Any], on_error: str) -> Iterator[Any]:
    """Results of rows, one by one. A row that cannot be explained costs no other row its result."""
    numbers = count()
    ended: list[tuple[int, Exception]] = []
    unread: list[Exception] = []

    def good() -> Iterator[Any]:
        """Inputs up to the first bad row. Ending there makes `run` hand out what it holds back for a full batch."""
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:
                unread.append(error)
                return
            number = next(numbers)
            try:
                given = read(row, f"Input {number}")
            except DiffMaskError as error:
                ended.append((number, error))
                return
            yield given

    while True:
        yield from run(good())
        if unread:
            raise unread[0]
        if not ended:
            return
        number, error = ended.pop()
        if on_error == "raise":
            raise error
        yield {"row": number, "error": str(error)}


def _is_one(inputs: Any) -> bool:
    """Whether this is one input and not a container: a text, a mapping, or no rows in a known order."""
    if isinstance(inputs, str | bytes | bytearray | Mapping | set | frozenset) or inputs is None:
        return True
    if not _is_data_set(inputs) and (shape := getattr(inputs, "shape", None)) is not None:
        if len(shape) > 1:
            raise DiffMaskError(
                f'The input is a table of type {type(inputs).__name__}: give one column, such as `table["text"]`, '
                'or a list of rows, such as `table.to_dict("records")`.'
            )
        return not shape
    return not (hasattr(inputs, "__iter__") or hasattr(inputs, "__getitem__"))


def _is_stream(inputs: Any) -> bool:
    """Whether rows come one by one, from an iterator or a data set. Lists and columns are in memory."""
    return _is_data_set(inputs) or isinstance(inputs, Iterator) or not hasattr(inputs, "__len__")


def _rows_of(inputs: Any) -> Iterator[Any]:
    """The rows of a container, one by one."""
    if hasattr(inputs, "__iter__") or not hasattr(inputs, "__len__"):
        return iter(inputs)
    # PyTorch's data sets have a length. Some never raise `IndexError`, which would end a plain loop.
    return (inputs[number] for number in range(len(inputs)))


def _is_data_set(inputs: Any) -> bool:
    """Whether this is a data set. `datasets` is slow to import; if the input is one, it is imported."""
    if isinstance(inputs, torch.utils.data.Dataset):
        return True
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(inputs).__mro__) and hasattr(
        inputs, "column_names"
    )
