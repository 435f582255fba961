"""Reads the rows of a table: csv, tsv, json, jsonl, parquet, and text files with one text a line."""

import csv
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import DiffMaskError, reason
from .files import PIECE, is_file, lines_of, opened, pieces_of, suffix_of, unreadable

Row = tuple[int, tuple[Any, ...]]
"""Number of a row, and its cells."""

SEPARATORS = {
    ",": ("commas", "name it .csv"),
    "\t": ("tabs", "name it .tsv"),
    ";": ("semicolons", "save it with commas"),
}
BATCH = 1024
"""Rows of a parquet file that are in memory at a time."""

_SPACE = re.compile(r"[ \t\n\r]*")


def rows_of(name: str | Path, columns: Sequence[str], suffix: str | None = None) -> Iterator[Row]:
    """
    The rows of a file, one by one. Other columns than the asked ones are not kept, whatever they hold.

    Args:
        name (`str` or `Path`): A file or a pipe. It is read once.
        columns (`Sequence[str]`): The columns to read. A text file has the column `text`.
        suffix (`str`, *optional*): One of [`READERS`]. By default the suffix of the name; a pipe without one is text.

    Returns:
        `Iterator`: For each row its number and a tuple with a cell for each column. Cells of csv and tsv are the
        characters in the file; a missing cell is empty there and `None` in JSON. Rows are counted from 0, and blank
        lines between them are no rows. Lines of text are counted from 1, and blank lines are rows.

    Raises:
        DiffMaskError: If the file is missing, empty or damaged, has another format, or lacks a column.
    """
    if not is_file(name):
        raise DiffMaskError(f"There is no file {name}: give the path of a data file or the id of a data set.")
    is_stream = str(name).startswith("/dev/") or not os.path.isfile(name)
    suffix = suffix or suffix_of(name) or (".txt" if is_stream else "")
    if suffix not in READERS:
        raise DiffMaskError(
            f"{name} has an unknown format: name it {', '.join(list(READERS)[:-1])} or {list(READERS)[-1]} (.gz may "
            "follow)."
        )
    with unreadable(f"The data set {name} cannot be read"):
        yield from READERS[suffix](str(name), list(columns))


def check_columns(name: str, names: Sequence[str], columns: Iterable[str]) -> None:
    """
    Checks that a table has each asked column once.

    Args:
        name (`str`): Name of the data set.
        names (`Sequence[str]`): The columns that it has.
        columns (`Iterable[str]`): The asked columns.

    Raises:
        DiffMaskError: If a column is missing, or there are several of its name.
    """
    for column in columns:
        if column not in names:
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            raise DiffMaskError(
                f"The data set {name} has no column {column!r}; it has {', '.join(names[:20])}{more}: name one with "
                "--text_column or --text_pair_column."
            )
        if names.count(column) > 1:
            raise DiffMaskError(f"The data set {name} has {names.count(column)} columns {column!r}: rename one.")


def _empty(name: str) -> DiffMaskError:
    return DiffMaskError(f"The data set {name} is empty.")


def _lines(name: str, columns: list[str]) -> Iterator[Row]:
    check_columns(name, ["text"], columns)
    number = 0
    with opened(name) as file:
        for number, line in enumerate(lines_of(file), 1):
            yield number, (line.rstrip("\r\n"),) * len(columns)
    if not number:
        raise _empty(name)


def _separated(separator: str, name: str, columns: list[str]) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # the limit of Python's csv is 128 KiB
    with opened(name) as file:
        lines = lines_of(file)
        before, first = next((found for found in enumerate(lines) if found[1].strip()), (0, ""))
        if not first:
            raise _empty(name)
        _check_separator(name, first, separator, columns)
        reader = csv.reader(chain([first], lines), delimiter=separator, strict=True)
        begin = before + 1
        try:
            header = next(reader)
            check_columns(name, header, columns)
            places = [header.index(column) for column in columns]
            begin = before + reader.line_num + 1
            for number, row in enumerate(filter(None, reader)):
                if any(row[len(header) :]):
                    raise ValueError(
                        f"the row in line {before + reader.line_num} has {len(row)} cells, and the header "
                        f"{len(header)}: put cells with {SEPARATORS[separator][0]} in quotation marks"
                    )
                yield number, tuple(row[place] if place < len(row) else "" for place in places)
                begin = before + reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"the row that begins in line {begin} is damaged: {error}; double the quotation marks inside a cell"
            ) from None


def _check_separator(name: str, header: str, separator: str, columns: list[str]) -> None:
    """Refuses a table whose columns are separated by something else."""

    def cells(mark: str) -> list[str]:
        return next(csv.reader([header.rstrip("\r\n")], delimiter=mark), [])

    own = cells(separator)
    if set(columns) <= set(own):
        return
    for mark, (what, remedy) in SEPARATORS.items():
        other = cells(mark)
        if mark != separator and (set(columns) <= set(other) or len(own) == 1 < len(other)):
            raise DiffMaskError(f"The columns of {name} are separated by {what}: {remedy}.")


def _number(digits: str) -> int | float:
    """A whole number in JSON. Python refuses to read very long ones, which other columns may hold."""
    return int(digits) if len(digits) < 4000 else float(digits)


class _Values:
    """The JSON values in a text, one by one."""

    def __init__(self, pieces: Iterator[str]):
        self.pieces, self.text, self.position, self.number = pieces, "", 0, 0
        self._decode = json.JSONDecoder(parse_int=_number).raw_decode

    def ahead(self) -> str:
        """The next character that is no space; empty at the end."""
        while (place := _SPACE.match(self.text, self.position).end()) == len(self.text):  # type: ignore[union-attr]
            self.text, self.position = next(self.pieces, ""), 0
            if not self.text:
                return ""
        self.position = place
        return self.text[place]

    def value(self) -> Any:
        """The value that begins here."""
        while True:
            try:
                found, self.position = self._decode(self.text, self.position)
            except json.JSONDecodeError as error:
                # The value may go on. Twice as much each time: else long values would take quadratic time.
                rest = self.text[self.position :]
                more = "".join(islice(self.pieces, 1 + len(rest) // PIECE))
                if not more:
                    raise ValueError(f"row {self.number} is no JSON: {error.msg}") from None
                self.text, self.position = rest + more, 0
            else:
                self.number += 1
                return found

    def items(self) -> Iterator[Any]:
        """The items of the array that begins here."""
        before = "["
        while True:
            self.position += 1  # past [ or ,
            if self.ahead() != "]" or before == ",":
                yield self.value()
            before = self.ahead()
            if before == "]":
                self.position += 1
                break
            if before != ",":
                raise ValueError(f"no comma and no end of the array follow row {self.number - 1}")
        if self.ahead():
            raise ValueError("text follows its array")

    def all(self) -> Iterator[Any]:
        """The values up to the end of the text."""
        while self.ahead():
            yield self.value()


def _json(name: str, columns: list[str]) -> Iterator[Row]:
    with opened(name) as file:
        values = _Values(pieces_of(file))
        start = values.ahead()
        if not start:
            raise _empty(name)
        if start == "[":
            yield from _picked(name, columns, values.items())
            return
        first = values.value()
        if values.ahead():
            yield from _picked(name, columns, chain([first], values.all()))
        else:
            yield from _of_object(name, columns, first)


def _of_object(name: str, columns: list[str], content: Any) -> Iterator[Row]:
    """The rows of one JSON object: a row, or a table with a list, or a dict, for each column."""
    if isinstance(content, dict):
        check_columns(name, list(content), columns)
        found = [content[column] for column in columns]
        found = [list(column.values()) if isinstance(column, dict) else column for column in found]
        if all(isinstance(column, list) for column in found):
            if len({len(column) for column in found}) > 1:
                raise ValueError(f"its columns {' and '.join(columns)} have different lengths")
            yield from enumerate(zip(*found, strict=True))
            return
    yield from _picked(name, columns, iter([content]))


def _json_lines(name: str, columns: list[str]) -> Iterator[Row]:
    def values() -> Iterator[Any]:
        with opened(name) as file:
            for number, line in enumerate(lines_of(file), 1):
                try:
                    if line.strip():
                        yield json.loads(line, parse_int=_number)
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number} is no JSON: {error.msg}") from None

    yield from _picked(name, columns, values())


def _picked(name: str, columns: list[str], records: Iterator[Any]) -> Iterator[Row]:
    """The asked cells of JSON objects. A column may lack in some rows, but not in all."""
    names: list[str] = []
    missing = set(columns)
    number = -1
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"row {number} is no JSON object but of type {type(record).__name__}")
        names = names or list(record)
        missing.difference_update(record)
        yield number, tuple(record.get(column) for column in columns)
    if number < 0:
        raise _empty(name)
    check_columns(name, names, sorted(missing))


def _parquet(name: str, columns: list[str]) -> Iterator[Row]:
    import pyarrow.parquet  # slow import, not needed for other files

    wanted = list(dict.fromkeys(columns))
    with opened(name) as file, tempfile.TemporaryFile() as copy:
        if not (isinstance(file, io.BufferedReader) and file.seekable()):  # it is read from its end
            shutil.copyfileobj(file, copy)
            file = copy
        try:
            metadata = pyarrow.parquet.read_metadata(file)
            schema = metadata.schema.to_arrow_schema()
            check_columns(name, schema.names, columns)
            # A small file can repeat a long text many times: a dictionary holds it once.
            texts = [one for one in wanted if schema.field(one).type in (pyarrow.string(), pyarrow.large_string())]
            table = pyarrow.parquet.ParquetFile(file, metadata=metadata, read_dictionary=texts)
            number = 0
            for batch in table.iter_batches(BATCH, columns=wanted):
                for row in zip(*(batch.column(column) for column in columns), strict=True):
                    yield number, tuple(cell.as_py() for cell in row)
                    number += 1
        except pyarrow.ArrowException as error:
            raise ValueError(reason(error)) from error


READERS: dict[str, Callable[[str, list[str]], Iterator[Row]]] = {
    ".csv": partial(_separated, ","),
    ".tsv": partial(_separated, "\t"),
    ".txt": _lines,
    ".json": _json,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
"""How files are read, by their suffix."""
