"""Reads the texts of an uploaded file, as a program of its own that can be stopped and has little memory.

The file is anybody's. A few kilobytes of parquet can unpack to gigabytes, and a parser written in C stops every other
thread of a process. This file imports nothing of the package, so that the program starts in a moment.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

COLUMNS = 1000  # most columns of a file
FOOTER = 500_000  # most bytes of a parquet footer, which is parsed whole
MEMORY = 300_000_000  # bytes for the data of this program, which begins with about 80 million


class Refused(ValueError):
    """The file cannot be used. The message is a sentence for the visitor."""


def too_long(characters: int, most: int) -> str:
    """
    The message for a text that is too long.

    Args:
        characters (`int`): Characters of the text, its second text included.
        most (`int`): The limit.

    Returns:
        `str`: A sentence.
    """
    return f"The text has {characters:,} characters, and the limit is {most:,}."


def rows(path: str, columns: list[str], most: int, characters: int) -> list[list[str]]:
    """
    The texts of a file. Reading stops at the first text that is too long, and at the first row too many.

    Args:
        path (`str`): A csv, jsonl or parquet file. The suffix says which.
        columns (`list[str]`): The column of the texts, and perhaps the column of second texts.
        most (`int`): Largest number of rows.
        characters (`int`): Largest number of characters in a row's texts together.

    Returns:
        `list[list[str]]`: For each row a text for each of `columns`. Values other than strings become empty texts.

    Raises:
        Refused: If the file cannot be read, lacks a column, has no rows, or exceeds a limit.
    """
    found: list[list[str]] = []
    for texts in READERS[os.path.splitext(path)[1].lower()](path, columns, most, characters):
        if len(found) == most:
            raise Refused(f"The file has more rows than the limit of {most}: upload a part of it.")
        if (length := sum(map(len, texts))) > characters:
            raise Refused(f"Row {len(found) + 1}: {too_long(length, characters)}")
        found.append(texts)
    if not found:
        raise Refused("The file has no rows.")
    return found


def _csv(path: str, columns: list[str], most: int, characters: int) -> Iterator[list[str]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        lines = _Lines(stream, characters)
        csv.field_size_limit(max(csv.field_size_limit(), lines.most))
        records = (record for record in csv.reader(lines, strict=True) if record)
        header = next(records, None)
        if header is None:
            raise Refused("The file cannot be read: it is empty.")
        if len(header) == 1 and ";" in header[0]:
            raise Refused("The columns are separated by semicolons: save the file with commas.")
        _check_columns(columns, header)
        places = [header.index(name) for name in columns]
        lines.next_row()
        for record in records:
            if len(record) > len(header):
                cells = f"{len(record)} cells, and the header {len(header)}"
                raise Refused(f"Row {lines.row} has {cells}: put quotes around texts with commas.")
            yield [record[place] if place < len(record) else "" for place in places]
            lines.next_row()


def _jsonl(path: str, columns: list[str], most: int, characters: int) -> Iterator[list[str]]:
    first: list[str] = []
    missing = set(columns)
    with open(path, encoding="utf-8-sig") as stream:
        lines = _Lines(stream, characters)
        lines.next_row()
        for line in filter(str.strip, lines):
            try:
                row = json.loads(line, parse_int=float)  # Python refuses integers of more than 4,300 digits
            except (ValueError, RecursionError) as error:
                raise Refused(f"Row {lines.row} cannot be read as JSON ({str(error)[:100]}).") from None
            if not isinstance(row, dict):
                raise Refused(f"Row {lines.row} is no JSON object: write one with the columns as its keys.")
            first = first or list(row)
            missing -= row.keys()
            values = [row.get(name) for name in columns]
            yield [value if isinstance(value, str) else "" for value in values]
            lines.next_row()
    if first:
        _check_columns([name for name in columns if name in missing], first)


def _parquet(path: str, columns: list[str], most: int, characters: int) -> Iterator[list[str]]:
    import pyarrow.parquet

    with open(path, "rb") as stream:
        stream.seek(-min(8, os.path.getsize(path)), os.SEEK_END)
        length, mark = int.from_bytes(stream.read(4), "little"), stream.read()
    if mark == b"PAR1" and length > FOOTER:
        raise Refused(f"The footer of the parquet file has {length:,} bytes, and the limit is {FOOTER:,}.")
    file = pyarrow.parquet.ParquetFile(path, thrift_container_size_limit=FOOTER // 10)
    names = file.schema_arrow.names
    _check_columns(columns, names)
    for name in columns:
        kind = file.schema_arrow.field(names.index(name)).type
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        if str(kind) not in ("string", "large_string", "string_view", "null"):
            raise Refused(f"The column {name[:100]!r} holds {str(kind)[:100]}, and a column of texts is needed.")
    data = file.metadata
    if data.num_rows > most:
        raise Refused(f"The file cannot be read: it has {data.num_rows:,} rows, and the limit is {most}.")
    groups = [data.row_group(number) for number in range(data.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    # As pyarrow picks them: `a` means `a.b` as well.
    asked = [chunk for chunk in chunks if f"{chunk.path_in_schema}.".startswith(tuple(f"{name}." for name in columns))]
    size = sum(chunk.total_uncompressed_size for chunk in asked)
    if size > (largest := 4 * characters * most + 1_000_000):  # UTF-8, and what the format adds
        raise Refused(
            f"The texts unpack to {size / 1e6:,.0f} MB, and {most:,} texts of {characters:,} characters have at most "
            f"{largest / 1e6:,.0f} MB: upload a part of them."
        )
    # One row at a time, since a page can repeat one long text in a few bytes.
    for batch in file.iter_batches(1, columns=columns, use_threads=False):
        picked = [batch.column(batch.schema.names.index(name)) for name in columns]
        for row in range(batch.num_rows):
            yield [values[row].as_py() or "" for values in picked]


READERS: dict[str, Callable[[str, list[str], int, int], Iterator[list[str]]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
"""Readers of files by suffix."""


class _Lines:
    """The lines of a file, with a limit on the characters of a row."""

    def __init__(self, stream: TextIO, characters: int):
        self.stream, self.taken, self.row = stream, 0, 0
        # A character of a text can be written in up to 12. Other columns have some room as well.
        self.most = 12 * characters + 100_000

    def next_row(self) -> None:
        self.taken, self.row = 0, self.row + 1

    def __iter__(self) -> Iterator[str]:
        while line := self.stream.readline(self.most + 1 - self.taken):
            self.taken += len(line)
            if self.taken > self.most:
                where = f"Row {self.row}" if self.row else "The header"
                raise Refused(f"{where} has more than {self.most:,} characters: leave out what is not needed.")
            yield line


def _check_columns(columns: list[str], names: list[str]) -> None:
    """Refuses a file with too many columns, or without one of `columns`."""
    if len(names) > COLUMNS:
        raise Refused(f"The file has {len(names):,} columns, and the limit is {COLUMNS:,}: leave out some.")
    if lacking := [name for name in columns if name not in names]:
        raise Refused(f"The file has no column {lacking[0][:100]!r}; it has {', '.join(names)[:300]}.")


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """
    The texts of a file, or what is wrong with it.

    Args:
        asked (`dict`): The arguments of [`rows`].

    Returns:
        `dict`: `rows`, or a sentence as `refused`.
    """
    try:
        return {"rows": rows(**asked)}
    except Refused as refused:
        return {"refused": str(refused)}
    except UnicodeDecodeError as error:
        return {"refused": f"The file cannot be read as UTF-8 ({error.reason} at byte {error.start}): save it so."}
    except MemoryError:
        return {"refused": f"Reading the file takes more than {MEMORY / 1e6:.0f} MB of memory: upload a part of it."}
    except Exception as error:  # pyarrow has many
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return {"refused": f"The file cannot be read ({said[:200]})."}


def main() -> None:
    """Answers the request on the standard input, as JSON on the standard output, within the limits of a program."""
    # So that libraries reserve no memory, which would count towards the limit.
    os.environ |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"}
    try:
        import resource

        os.nice(10)  # explaining goes first
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    except (ImportError, OSError, ValueError):  # Windows has no such limits
        pass
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
