"""CSV files with a row a box, in one of two layouts.

With a header: columns filename, class, xmin, ymin, xmax, ymax in pixels, and perhaps width, height, in any order and among others: what
the raccoon tutorial's `xml_to_csv.py` and many after it write (github.com/datitran/raccoon_dataset). A row without class and box is an
image without objects.

Without: AutoML Vision's `set,path,label,x_min,y_min,x_max,y_min,x_max,y_max,x_min,y_max` in shares of the image, where the second and the
fourth corner may be empty, and the set may be missing from all rows (cloud.google.com/vision/automl/object-detection/docs/csv-format). A
path in a bucket means the file below the image folder whose name is the longest end of the path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.csv_rows import RowEntries, RowEntry, index_rows, iterate_rows, parse_number, peek_first_row, read_first_row, read_rows
from data_tools.formats.options import refuse_unused, require_file
from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from data_tools.image_folder import other_place
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_BOX_COLUMNS = ("ymin", "xmin", "ymax", "xmax")  # in the order of a PixelBox
_NEEDED_COLUMNS = ("filename", "class", *_BOX_COLUMNS)
_SETS = ("TRAIN", "TRAINING", "VALIDATION", "VALIDATE", "TEST", "UNASSIGNED")
_NUM_CORNER_CELLS = 8  # x and y of four corners
_MOST_PARTS = 20  # of a path in a bucket, looked for below the image folder


class CsvBox(NamedTuple):
    """What a row says; without a class text, that its image has no objects."""

    class_text: str
    box: PixelBox
    size: tuple[int, int] | None  # height, width of the image


@dataclass(frozen=True)
class HeaderLayout:
    """The layout with a header."""

    columns: Mapping[str, int]

    has_header: ClassVar = True
    has_relative_boxes: ClassVar = False

    @property
    def image_column(self) -> int:
        return self.columns["filename"]

    def __call__(self, cells: Sequence[str], where: str) -> CsvBox:
        if len(cells) != len(self.columns):
            raise InputError(f"{where}: the row has {len(cells)} cells, the header {len(self.columns)}")
        row = {name: cells[index] for name, index in self.columns.items()}
        size = _read_size(row.get("height", ""), row.get("width", ""), where)
        if not any(row[name] for name in ("class", *_BOX_COLUMNS)):
            return CsvBox("", PixelBox(0, 0, 0, 0), size)
        return CsvBox(_class_text(row["class"], where), PixelBox(*[parse_number(row[name], name, where) for name in _BOX_COLUMNS]), size)


@dataclass(frozen=True)
class AutoMlLayout:
    """AutoML Vision's layout."""

    has_set: bool  # as the first cell of every row

    has_header: ClassVar = False
    has_relative_boxes: ClassVar = True

    @property
    def image_column(self) -> int:
        return int(self.has_set)

    def __call__(self, cells: Sequence[str], where: str) -> CsvBox:
        if self.has_set and cells[0].upper() not in _SETS:
            raise InputError(f"{where}: the first cell must be one of {', '.join(_SETS)}, got {cells[0]!r}")
        label, *corners = cells[self.image_column + 1 :] or [""]
        if len(corners) > _NUM_CORNER_CELLS or len(corners) % 2:
            raise InputError(f"{where}: {_NUM_CORNER_CELLS} cells of corners may follow the label, got {len(corners)}")
        points = [point for point in zip(corners[::2], corners[1::2], strict=True) if any(point)]
        if not label and not points:
            return CsvBox("", PixelBox(0, 0, 0, 0), None)
        if len(points) not in (2, 4):
            raise InputError(f"{where}: a box must have two or four corners, got {len(points)}")
        xs = [parse_number(x, "x", where) for x, _ in points]
        ys = [parse_number(y, "y", where) for _, y in points]
        return CsvBox(_class_text(label, where), PixelBox(min(ys), min(xs), max(ys), max(xs)), None)


Layout = HeaderLayout | AutoMlLayout


def read_csv_table(options: ReadOptions) -> Source:
    """Lists the images that a CSV file names, in the order in which it first names each.

    Args:
        options: `images` is the folder that file names are relative to, `annotations` the CSV file; `split_file` lists the images to take,
            by name as in the CSV file, by its last part, or by either without the suffix. AutoML's sets are all taken; a note tells them.
    """
    refuse_unused(options, "csv", "split_file")
    path = options.annotations
    require_file(path, "csv", "a CSV file")
    layout = _find_layout(read_first_row(path), path)
    numbers: dict[str, int] = {}

    def number_of(name: str, line: int) -> int:
        if not name or CONTROL_CHARACTERS.search(name):
            raise InputError(f"{path}:{line}: the row must name an image file, got {name!r}")
        return numbers.setdefault(name, len(numbers))

    index = index_rows(path, layout.image_column, number_of, has_header=layout.has_header)
    if not numbers:
        raise InputError(f"{path} has a header and no row")
    names = list(numbers)
    chosen = range(len(names)) if options.split_file is None else _select(names, options.split_file, path)
    notes = _set_notes(path) if isinstance(layout, AutoMlLayout) and layout.has_set else ()
    entries = RowEntries([names[number] for number in chosen], chosen, (index,))
    return Source(entries, CsvReader(options.images.resolve(), path, layout), (schema.OBJECT_CLASS_LABEL,), notes=notes)


@dataclass(frozen=True)
class CsvReader:
    """Turns the rows of an image into an AnnotatedImage."""

    images: Path  # resolved
    path: Path
    layout: Layout

    def __call__(self, entry: RowEntry) -> AnnotatedImage:
        (runs,) = entry.runs
        image_where = f"{self.path}:{runs[0].line}"
        image_path, filename = self._find_image(entry.image, image_where)
        size, objects = None, list[AnnotatedObject]()
        for where, cells in read_rows(self.path, runs):
            class_text, box, row_size = self.layout(cells, where)
            if size is not None and row_size is not None and size != row_size:
                sizes = f"{row_size[1]}x{row_size[0]}, an earlier row {size[1]}x{size[0]}"
                raise InputError(f"{where}: says that {entry.image!r} has {sizes} pixels")
            size = row_size or size
            if class_text:
                objects.append(AnnotatedObject(class_text, box, f"{where} ({class_text} in {filename})"))
        relative = self.layout.has_relative_boxes
        return AnnotatedImage(image_path, filename, filename, size, tuple(objects), image_where, has_relative_boxes=relative)

    def _find_image(self, name: str, where: str) -> tuple[Path, str]:
        parts = [part for part in name.partition("://")[2].split("/") if part][-_MOST_PARTS:]  # empty without a scheme
        try:
            for candidate in ["/".join(parts[start:]) for start in range(len(parts))] or [name]:
                found = find_inside(self.images, candidate)
                if found is not None:
                    return found, candidate
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        raise InputError(f"{where}: no image {name!r} in {self.images}{other_place(self.images, name)}")


def _recognise(folder: Path) -> ReadOptions | None:
    """One CSV file in one of the layouts; images lie in `images` or beside it."""
    tables = [path for path in sorted(folder.glob("*.[cC][sS][vV]")) if _is_table(path)]
    if len(tables) != 1:
        return None
    return ReadOptions(folder / "images" if (folder / "images").is_dir() else folder, tables[0])


def _is_table(path: Path) -> bool:
    try:
        _find_layout(peek_first_row(path), path)
    except InputError:
        return False
    return True


def _find_layout(first: Sequence[str], path: Path) -> Layout:
    header = [name.lower() for name in first]
    if "filename" in header or "class" in header:
        missing = [name for name in _NEEDED_COLUMNS if name not in header]
        if missing:
            raise InputError(f"{path}: the header lacks {', '.join(missing)}; it has {', '.join(first)}")
        if len(set(header)) < len(header):
            raise InputError(f"{path}: a column stands twice in the header {', '.join(first)}")
        return HeaderLayout({name: index for index, name in enumerate(header)})
    has_set = bool(first) and first[0].upper() in _SETS
    if has_set or (len(first) == 2 + _NUM_CORNER_CELLS and not _is_number(first[0]) and _is_number(first[2])):
        return AutoMlLayout(has_set)
    separator = next((repr(each) for each in ";\t|" if len(first) == 1 and each in first[0]), "")
    hint = f"; cells must have commas between them, not {separator}" if separator else ""
    raise InputError(
        f"{path}: starts with neither a header with {', '.join(_NEEDED_COLUMNS)}, "
        f"nor a row of AutoML (set, path, label, corners in shares of the image): {', '.join(first)}{hint}"
    )


def _set_notes(path: Path) -> tuple[str, ...]:
    """What to do where the rows name several sets.

    Raises:
        InputError: an image is in two sets.
    """
    set_of: dict[str, str] = {}
    for where, cells in iterate_rows(path):
        set_name = cells[0].upper()
        if set_of.setdefault(cells[1], set_name) != set_name:
            raise InputError(f"{where}: {cells[1]!r} is in the set {set_name}, in an earlier row in {set_of[cells[1]]}")
    counts = Counter(set_of.values())
    if len(counts) < 2:
        return ()
    listed = ", ".join(f"{name} ({count:,} images)" for name, count in counts.items())
    return (f"{path}: all its sets were taken, {listed}; `grep '^TEST,' {path.name} > test.csv` makes a file of one of them",)


def _select(names: Sequence[str], split_file: Path, path: Path) -> list[int]:
    """The numbers of the images that a split file lists."""
    by_name: dict[str, int | None] = {}  # None: several images are called so
    for number, name in enumerate(names):
        last = PurePosixPath(name)
        for alias in {last.name, last.stem, name.removesuffix(last.suffix)} - {name}:
            by_name[alias] = number if alias not in by_name else None
    by_name |= {name: number for number, name in enumerate(names)}
    lines: dict[int, int] = {}
    for line_number, line in read_split_file(split_file):
        number = by_name.get(line)
        if number is None:
            raise InputError(f"{split_file}:{line_number}: {line!r} is {'more than one' if line in by_name else 'no'} image of {path}")
        if number in lines:
            raise InputError(f"{split_file}:{line_number}: {line!r} is listed twice, first in line {lines[number]}")
        lines[number] = line_number
    return list(lines)


def _read_size(height: str, width: str, where: str) -> tuple[int, int] | None:
    if not height or not width:
        return None
    sides = parse_number(height, "height", where), parse_number(width, "width", where)
    if not all(side.is_integer() and side >= 0 for side in sides):
        raise InputError(f"{where}: height and width must be whole numbers, got {height!r} and {width!r}")
    return (int(sides[0]), int(sides[1])) if all(sides) else None  # 0: not known


def _class_text(text: str, where: str) -> str:
    if not text or CONTROL_CHARACTERS.search(text):
        raise InputError(f"{where}: the class must be a name, got {text!r}")
    return text


def _is_number(text: str) -> bool:
    try:
        parse_number(text, "", "")
    except InputError:
        return False
    return True


FORMAT = Format(read_csv_table, _recognise)
