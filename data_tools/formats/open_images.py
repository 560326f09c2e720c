"""Open Images: CSV files of boxes and of image-level labels, classes as codes such as /m/01g317 (storage.googleapis.com/openimages/web).

Boxes: ImageID, LabelName, XMin, XMax, YMin, YMax in shares of the image, and flags IsOccluded, IsTruncated, IsGroupOf, IsDepiction, each
of which may be missing as a column; -1 (not known) counts as 0. Image-level labels: ImageID, LabelName, Confidence, 1 for a class that is
in the image, 0 for one that somebody looked for in vain. The image of ImageID is a file with that stem.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.class_hierarchy import ClassHierarchy, read_hierarchy
from data_tools.csv_rows import (
    RowEntries,
    RowEntry,
    RowIndex,
    RowRun,
    index_rows,
    iterate_rows,
    parse_number,
    peek_first_row,
    read_first_row,
    read_rows,
)
from data_tools.formats.options import refuse_unused, require_file
from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from data_tools.image_folder import images_by_stem
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_FLAGS = {  # column -> key
    "IsOccluded": schema.OBJECT_OCCLUDED,
    "IsTruncated": schema.OBJECT_TRUNCATED,
    "IsGroupOf": schema.OBJECT_GROUP_OF,
    "IsDepiction": schema.OBJECT_DEPICTION,
}
_IMAGE_LABEL_FEATURES = (schema.IMAGE_CLASS_TEXT, schema.IMAGE_CLASS_LABEL, schema.IMAGE_CLASS_CONFIDENCE)
_BOX_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_LABEL_COLUMNS = ("ImageID", "LabelName", "Confidence")


@dataclass(frozen=True)
class CsvTable:
    """A CSV file and where its columns stand."""

    path: Path
    columns: Mapping[str, int]


def read_open_images(options: ReadOptions) -> Source:
    """Lists an Open Images data set: every image of the folder, those without a box as negatives; rows of other images are left out.

    The published files list more images than most people download, so rows without an image are counted in a note instead of refused.

    Args:
        options: `images` is the folder of image files, `annotations` the CSV of boxes; `image_labels` the CSV of image-level labels;
            `class_descriptions` the CSV of codes and names, without which class texts are codes; `hierarchy` the JSON of classes, with
            which an object counts as each of its parent classes too; `split_file` lists the images to take, an id or file name a line.
    """
    refuse_unused(options, "open_images", "split_file", "image_labels", "class_descriptions", "hierarchy")
    for path, what in ((options.annotations, "a CSV of boxes"), (options.image_labels, "a CSV of image-level labels")):
        if path is not None:
            require_file(path, "open_images", what)
    by_id = images_by_stem(options.images)
    numbers = {image_id: number for number, image_id in enumerate(by_id)}
    boxes = _open_table(options.annotations, _BOX_COLUMNS)
    labels = _open_table(options.image_labels, _LABEL_COLUMNS) if options.image_labels else None
    if labels and "XMin" in labels.columns:
        raise InputError(f"{labels.path} has boxes; --image_labels is the CSV of image-level labels")
    tables = [boxes, labels] if labels else [boxes]
    indexes = tuple([_index(table, numbers) for table in tables])
    if not len(indexes[0].numbers):
        raise InputError(f"{boxes.path}: none of its {indexes[0].num_left_out:,} rows names an image of {options.images}")
    ids = list(by_id) if options.split_file is None else _split_ids(by_id, options.split_file, options.images)
    entries = RowEntries([by_id[id_] for id_ in ids], [numbers[id_] for id_ in ids], indexes)
    names = _read_descriptions(options.class_descriptions) if options.class_descriptions else None
    hierarchy = read_hierarchy(options.hierarchy) if options.hierarchy else None
    features = (schema.OBJECT_CLASS_LABEL, *[key for column, key in _FLAGS.items() if column in boxes.columns])
    reader = OpenImagesReader(options.images.resolve(), boxes, labels, names, hierarchy)
    notes = _notes(entries, tables, options.images)
    return Source(entries, reader, features + (_IMAGE_LABEL_FEATURES if labels else ()), notes=notes)


@dataclass(frozen=True)
class OpenImagesReader:
    """Turns one entry into an AnnotatedImage."""

    images: Path  # resolved
    boxes: CsvTable
    labels: CsvTable | None
    names: Mapping[str, str] | None  # code -> class text; None: the code is the text
    hierarchy: ClassHierarchy | None

    def __call__(self, entry: RowEntry) -> AnnotatedImage:
        path = find_inside(self.images, entry.image)
        if path is None:
            raise InputError(f"{self.images / entry.image} is not a file")
        boxes = entry.runs[0]
        objects = [item for row in _rows(self.boxes, boxes) for item in self._read_objects(*row)]
        labels = [label for row in _rows(self.labels, entry.runs[1]) for label in self._read_labels(*row)] if self.labels else []
        line = f":{boxes[0].line}" if boxes else ""
        return AnnotatedImage(
            path,
            entry.image,
            entry.image.rpartition(".")[0],
            None,
            tuple(objects),
            f"{self.boxes.path}{line}: image {entry.image}",
            image_labels=tuple([text for text, _ in labels]),
            image_label_confidences=tuple([confidence for _, confidence in labels]),
            has_relative_boxes=True,
        )

    def _read_objects(self, where: str, row: Mapping[str, str]) -> list[AnnotatedObject]:
        """The object of a row: once, or also once for each parent class."""
        code = _code(row, where)
        x_min, x_max, y_min, y_max = [parse_number(row[name], name, where) for name in ("XMin", "XMax", "YMin", "YMax")]
        item = AnnotatedObject(
            "",
            PixelBox(y_min, x_min, y_max, x_max),
            where,
            is_occluded=_flag(row, "IsOccluded", where),
            is_truncated=_flag(row, "IsTruncated", where),
            is_group_of=_flag(row, "IsGroupOf", where),
            is_depiction=_flag(row, "IsDepiction", where),
        )
        texts = [self._class_text(name, where) for name in (code, *self._parents(code, where))]
        return [item._replace(class_text=text, where=f"{where} ({text})") for text in texts]

    def _read_labels(self, where: str, row: Mapping[str, str]) -> list[tuple[str, float]]:
        """A class that is there makes its parents be there; one that is not there rules out its children."""
        code, confidence = _code(row, where), parse_number(row["Confidence"], "Confidence", where)
        if not 0 <= confidence <= 1:
            raise InputError(f"{where}: Confidence must lie between 0 and 1, got {confidence:g}")
        more: Sequence[str] = ()
        if self.hierarchy is not None and code in self.hierarchy.parents and confidence in (0, 1):  # others were not verified
            more = self.hierarchy.parents[code] if confidence else self.hierarchy.children[code]
        names = self.names or {}
        return [(names.get(name, name), confidence) for name in (code, *more)]

    def _parents(self, code: str, where: str) -> Sequence[str]:
        if self.hierarchy is None:
            return ()
        if code not in self.hierarchy.parents:
            raise InputError(f"{where}: LabelName {code!r} is not in the class hierarchy {self.hierarchy.name}")
        return self.hierarchy.parents[code]

    def _class_text(self, code: str, where: str) -> str:
        if self.names is None:
            return code
        if code not in self.names:
            raise InputError(f"{where}: LabelName {code!r} is not in the class descriptions")
        return self.names[code]


def _recognise(folder: Path) -> ReadOptions | None:
    """A CSV with Open Images' columns, and `class-descriptions*.csv` beside it; images lie in `images`, in the only folder, or beside."""
    boxes = [path for path in sorted(folder.glob("*.[cC][sS][vV]")) if set(_BOX_COLUMNS) <= set(peek_first_row(path))]
    if len(boxes) != 1:
        return None
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    images = folder / "images" if (folder / "images").is_dir() else folders[0] if len(folders) == 1 else folder
    return ReadOptions(images, boxes[0], class_descriptions=min(folder.glob("class-descriptions*.csv"), default=None))


def _open_table(path: Path, needed: Sequence[str]) -> CsvTable:
    header = read_first_row(path)
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(f"{path}:1: no column {', '.join(missing)}; the header of this Open Images file must have {', '.join(needed)}")
    if len(set(header)) < len(header):
        raise InputError(f"{path}:1: a column stands twice in the header: {', '.join(header)}")
    return CsvTable(path, {name: index for index, name in enumerate(header)})


def _index(table: CsvTable, numbers: Mapping[str, int]) -> RowIndex:
    return index_rows(table.path, table.columns["ImageID"], lambda name, _: numbers.get(name), has_header=True)


def _notes(entries: RowEntries, tables: Sequence[CsvTable], images: Path) -> tuple[str, ...]:
    notes = []
    for table, index in zip(tables, entries.indexes, strict=True):
        if index.num_left_out:
            notes.append(f"{table.path}: {index.num_left_out:,} rows name images that are not in {images}: left out")
    annotated = set(entries.indexes[0].numbers)
    num_negatives = sum(number not in annotated for number in entries.numbers)
    if num_negatives:
        notes.append(f"{num_negatives:,} images have no row in {tables[0].path}: kept, as images without objects")
    return tuple(notes)


def _split_ids(images: Mapping[str, str], split_file: Path, folder: Path) -> list[str]:
    numbers: dict[str, int] = {}
    for number, line in read_split_file(split_file):
        image_id = line.rpartition("/")[2]  # Open Images' own lists have "train/0a1b2c"
        if image_id not in images:
            image_id = image_id.rpartition(".")[0]
        if image_id not in images:
            raise InputError(f"{split_file}:{number}: no image {line!r} in {folder}")
        if image_id in numbers:
            raise InputError(f"{split_file}:{number}: {line!r} is listed twice, first in line {numbers[image_id]}")
        numbers[image_id] = number
    return list(numbers)


def _read_descriptions(path: Path) -> dict[str, str]:
    """Code -> name; names that several codes share are followed by the code, so that the classes stay apart."""
    names: dict[str, str] = {}
    for where, cells in iterate_rows(path):
        if len(cells) != 2 or not all(cells) or CONTROL_CHARACTERS.search("".join(cells)):
            raise InputError(f"{where}: a row of the class descriptions must have a code and a name, got {', '.join(cells)!r}")
        if names.setdefault(cells[0], cells[1]) != cells[1]:
            raise InputError(f"{where}: the code {cells[0]!r} has a name already, {names[cells[0]]!r}")
    count = Counter(names.values())
    return {code: name if count[name] == 1 else f"{name} ({code})" for code, name in names.items() if code != "LabelName"}  # a header


def _rows(table: CsvTable, runs: Sequence[RowRun]) -> list[tuple[str, Mapping[str, str]]]:
    rows = []
    for where, cells in read_rows(table.path, runs):
        if len(cells) != len(table.columns):
            raise InputError(f"{where}: the row has {len(cells)} cells, the header {len(table.columns)}")
        rows.append((where, {name: cells[index] for name, index in table.columns.items()}))
    return rows


def _code(row: Mapping[str, str], where: str) -> str:
    code = row["LabelName"]
    if not code or CONTROL_CHARACTERS.search(code):
        raise InputError(f"{where}: LabelName must be a class, got {code!r}")
    return code


def _flag(row: Mapping[str, str], name: str, where: str) -> bool:
    text = row.get(name, "0")
    if text not in ("0", "1", "-1"):
        raise InputError(f"{where}: {name} must be 0, 1 or -1, got {text!r}")
    return text == "1"


FORMAT = Format(read_open_images, _recognise)
