"""Rows of a CSV file by image: one pass remembers where the rows of each image stand, so that memory does not grow with what they say.

A row is a line. Cells are parted by commas and may be quoted, but a quoted cell that holds a line end is refused.
"""

from __future__ import annotations

import csv
import itertools
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

from data_tools.formats.first_bytes import first_bytes
from data_tools.progress import progress
from object_detection_ext.errors import InputError

_LONGEST_LINE = 1 << 16  # bytes
_BLOCK = 1 << 20  # bytes read at a time to count lines
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class RowRun(NamedTuple):
    """Rows of one image that follow each other in the file."""

    offset: int  # bytes
    num_bytes: int
    line: int  # of the first row, from 1


@dataclass(frozen=True)
class RowIndex:
    """Where the rows of each image stand, images by their number."""

    numbers: array[int]  # of the image of each run, ascending; parallel to the others
    offsets: array[int]
    lengths: array[int]
    lines: array[int]
    num_left_out: int  # rows that `number_of` had no number for

    def runs(self, number: int) -> tuple[RowRun, ...]:
        """The runs of image `number`, in file order; none where no row names it."""
        start, stop = bisect_left(self.numbers, number), bisect_right(self.numbers, number)
        return tuple([RowRun(self.offsets[i], self.lengths[i], self.lines[i]) for i in range(start, stop)])


class RowEntry(NamedTuple):
    """An image, and where its rows stand in each of the CSV files."""

    image: str
    runs: tuple[tuple[RowRun, ...], ...]


@dataclass(frozen=True)
class RowEntries(Sequence[RowEntry]):
    """Entries of a `Source` that are made when asked for: millions of images take the memory of their names and places."""

    images: Sequence[str]
    numbers: Sequence[int]  # what the indexes call each image
    indexes: tuple[RowIndex, ...]

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> RowEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[RowEntry]: ...
    def __getitem__(self, index: int | slice) -> RowEntry | list[RowEntry]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = self.numbers[index]
        return RowEntry(self.images[index], tuple([rows.runs(number) for rows in self.indexes]))


def iterate_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields "file:line" and the cells of every line that is not blank, the header included.

    Raises:
        InputError: a line is too long, not UTF-8, or no CSV.
    """
    for number, _, line in _lines(path):
        where = f"{path}:{number}"
        yield where, parse_row(line, where)


def read_first_row(path: Path) -> list[str]:
    """The cells of the first line that is not blank, which may be a header.

    Raises:
        InputError: there is none, or it is no CSV.
    """
    for _, cells in iterate_rows(path):
        return cells
    raise InputError(f"{path} is empty; a CSV file with one row an object is needed")


def peek_first_row(path: Path) -> list[str]:
    """The cells of the first line of what may be any file, no cell where it is no CSV: to tell one format from another."""
    line = first_bytes(path).removeprefix(_BYTE_ORDER_MARK).partition(b"\n")[0]
    try:
        return parse_row(line, "") if line.strip() else []
    except InputError:
        return []


def index_rows(path: Path, column: int, number_of: Callable[[str, int], int | None], *, has_header: bool) -> RowIndex:
    """Finds the rows of each image.

    Args:
        path: the CSV file.
        column: the cell that names the image, from 0.
        number_of: the number of the image of that name, None to leave the row out; its second argument is the line. Asked only where the
            name differs from that of the row before.
        has_header: the first line that is not blank is no row.

    Raises:
        InputError: a line is too long, not UTF-8, no CSV, or has no such cell.
    """
    numbers, offsets, lengths, lines = array("q"), array("q"), array("q"), array("q")
    num_left_out, last_name, number = 0, None, None
    lines_found = progress(_lines(path), total=_count_lines(path), label=f"reading {path.name}", unit="rows")
    for line_number, offset, line in itertools.islice(lines_found, int(has_header), None):
        name = _cell(line, column, path, line_number)
        is_new = name != last_name
        if is_new:
            number, last_name = number_of(_decode(name, f"{path}:{line_number}").strip(), line_number), name
        if number is None:
            num_left_out += 1
        elif is_new or offset != offsets[-1] + lengths[-1]:
            for values, value in ((numbers, number), (offsets, offset), (lengths, len(line)), (lines, line_number)):
                values.append(value)
        else:
            lengths[-1] += len(line)
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    numbers, offsets, lengths, lines = (array("q", [values[i] for i in order]) for values in (numbers, offsets, lengths, lines))
    return RowIndex(numbers, offsets, lengths, lines, num_left_out)


def read_rows(path: Path, runs: Sequence[RowRun]) -> Iterator[tuple[str, list[str]]]:
    """Yields "file:line" and the cells of every row of `runs`."""
    with path.open("rb") as file:
        for run in runs:
            file.seek(run.offset)
            rows = file.read(run.num_bytes).removesuffix(b"\n").split(b"\n")
            for line_number, line in enumerate(rows, run.line):
                where = f"{path}:{line_number}"
                yield where, parse_row(line, where)


def parse_row(line: bytes, where: str) -> list[str]:
    """The cells of one line, without the blanks around them.

    Raises:
        InputError: not UTF-8, or quotes that do not match.
    """
    text = _decode(line, where).rstrip("\r\n")
    if '"' not in text:
        return [cell.strip() for cell in text.split(",")]
    try:
        (row,) = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        raise InputError(f"{where}: not a row of a CSV file: {error}; a row must be one line") from None
    return [cell.strip() for cell in row]


def parse_number(text: str, name: str, where: str) -> float:
    """The number in a cell, which may be infinite or NaN: whoever checks the box says so."""
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise InputError(f"{where}: {name} must be a number, got {text!r}")


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yields number, offset in bytes and content of every line that holds anything; the last one may lack its line end."""
    with path.open("rb") as file:
        offset = len(_BYTE_ORDER_MARK) if file.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK else 0
        file.seek(offset)
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                raise InputError(
                    f"{path}:{number}: the line has more than {_LONGEST_LINE:,} bytes; a CSV file with one row a line is needed"
                )
            if line.strip(b", \r\n"):
                yield number, offset, line
            offset += len(line)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))


def _cell(line: bytes, column: int, path: Path, number: int) -> bytes:
    if b'"' in line:
        cells = [cell.encode() for cell in parse_row(line, f"{path}:{number}")]
    else:
        cells = line.split(b",", column + 1)  # quick: this is done for every row of files with millions
    if len(cells) <= column:
        raise InputError(f"{path}:{number}: the row has {len(cells)} cells, too few: cell {column + 1} must name the image")
    return cells[column]


def _decode(text: bytes, where: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not a text file in UTF-8: {error}") from None
