"""KITTI: one text file an image, a line an object with 15 columns (readme.txt of the object development kit, cvlibs.net/datasets/kitti).

Columns: type, truncated, occluded, alpha, box (left, top, right, bottom in pixels from 0), size in metres (height, width, length),
location in metres (x, y, z of the camera), rotation_y; a sixteenth, the score of a detection, is not read. Class names come in lower case,
as the TF Object Detection API writes them and its label map has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.options import refuse_unused
from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from data_tools.image_folder import images_by_stem
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

DONT_CARE = "dontcare"  # a region where objects were not annotated

_OBJECT_FEATURES = (schema.OBJECT_CLASS_LABEL, schema.OBJECT_DIFFICULT)
# The API's keys; `truncated` is the share of the object that lies outside the image, so a float here, where other formats have a flag.
_EXTRA_FEATURES = (
    schema.OBJECT_TRUNCATED,
    "image/object/alpha",
    "image/object/3d_bbox/height",
    "image/object/3d_bbox/width",
    "image/object/3d_bbox/length",
    "image/object/3d_bbox/x",
    "image/object/3d_bbox/y",
    "image/object/3d_bbox/z",
    "image/object/3d_bbox/rot_y",
)
_COLUMNS = ("truncated", "occluded", "alpha", "left", "top", "right", "bottom", "height", "width", "length", "x", "y", "z", "rotation_y")
_NUM_COLUMNS = (1 + len(_COLUMNS), 2 + len(_COLUMNS))  # without and with a score
_LARGEST_FILE = 1 << 22  # bytes; a line has about 80
_LARGEST = 1e30  # beyond any metre or angle, and within float32


class KittiEntry(NamedTuple):
    """An image file and its label file, None where there is none."""

    image: str
    labels: str | None


def read_kitti(options: ReadOptions) -> Source:
    """Lists a KITTI data set: every image, those without a label file as negatives.

    Args:
        options: `images` and `annotations` are the folders of image and label files, paired by stem; `split_file` lists the images to take,
            a stem or file name a line.
    """
    refuse_unused(options, "kitti", "split_file")
    images = images_by_stem(options.images)
    labels = _labels_by_stem(options.annotations)
    lost = next((stem for stem in labels if stem not in images), None)
    if lost is not None:
        raise InputError(f"{options.annotations / labels[lost]}: no image {lost!r} in {options.images}")
    stems = list(images) if options.split_file is None else _split_stems(images, options.split_file, options.images)
    entries = [KittiEntry(images[stem], labels.get(stem)) for stem in stems]
    num_negatives = sum(entry.labels is None for entry in entries)
    notes = (f"{num_negatives:,} images have no label file in {options.annotations}: kept, as images without objects",)
    reader = KittiReader(options.images.resolve(), options.annotations.resolve())
    return Source(entries, reader, _OBJECT_FEATURES, extra_features=_EXTRA_FEATURES, notes=notes if num_negatives else ())


@dataclass(frozen=True)
class KittiReader:
    """Turns one entry into an AnnotatedImage; DontCare regions are not objects."""

    images: Path  # resolved
    annotations: Path  # resolved
    classes: frozenset[str] | None = None  # in lower case; other objects are left out
    clears_dont_care: bool = False  # leaves out the objects that overlap a DontCare region, as the API's converter does by default

    def __call__(self, entry: KittiEntry) -> AnnotatedImage:
        path, where = find_inside(self.images, entry.image), str(self.images / entry.image)
        if path is None:
            raise InputError(f"{where} is not a file")
        lines: Sequence[tuple[str, list[str]]] = ()
        if entry.labels is not None:
            where = str(self.annotations / entry.labels)
            lines = _read_lines(find_inside(self.annotations, entry.labels), where)
        objects = [_read_object(columns, line_where) for line_where, columns in lines]
        regions = [item.box for item in objects if item.class_text == DONT_CARE] if self.clears_dont_care else []
        wanted = [item for item in objects if self._counts(item.class_text)]
        kept = [item for item in wanted if not any(_overlap(item.box, box) for box in regions)]
        notes = (f"{where}: {len(wanted) - len(kept)} objects that overlap a DontCare region: left out",) if len(kept) < len(wanted) else ()
        return AnnotatedImage(path, entry.image, entry.image, None, tuple(kept), where, notes=notes)

    def _counts(self, class_text: str) -> bool:
        return class_text != DONT_CARE and (self.classes is None or class_text in self.classes)


def _recognise(folder: Path) -> ReadOptions | None:
    """`label_2` and `image_2` as the archives unpack, together or each in its folder, or KITTI files in `labels` beside `images`."""
    for root in (folder / "training", folder):
        for labels, images in (("label_2", "image_2"), ("labels", "images")):
            if _starts_like_kitti(root / labels) and (root / images).is_dir():
                return ReadOptions(root / images, root / labels)
    labels, images = folder / "data_object_label_2/training/label_2", folder / "data_object_image_2/training/image_2"
    return ReadOptions(images, labels) if _starts_like_kitti(labels) and images.is_dir() else None


def _starts_like_kitti(folder: Path) -> bool:
    """Whether the first text file with a line in it has KITTI's columns; YOLO's label files have five, the first a number."""
    for path in islice(folder.glob("*.txt"), 50):
        columns = first_bytes(path).partition(b"\n")[0].split()
        if columns:
            return len(columns) in _NUM_COLUMNS and not columns[0][:1].isdigit()
    return False


def _labels_by_stem(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; the kitti format needs a folder of label files")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".txt") and not name.startswith("."))
    if not names:
        raise InputError(f"no *.txt file in {folder}")
    return {name.removesuffix(".txt"): name for name in names}


def _split_stems(images: Mapping[str, str], split_file: Path, folder: Path) -> list[str]:
    numbers: dict[str, int] = {}
    for number, line in read_split_file(split_file):
        stem = line if line in images else line.rpartition(".")[0]
        if stem not in images:
            raise InputError(f"{split_file}:{number}: no image {line!r} in {folder}")
        if stem in numbers:
            raise InputError(f"{split_file}:{number}: {line!r} is listed twice, first in line {numbers[stem]}")
        numbers[stem] = number
    return list(numbers)


def _read_lines(path: Path | None, where: str) -> list[tuple[str, list[str]]]:
    """ "file:line" and columns of every line that is not blank."""
    if path is None:
        raise InputError(f"{where} is not a file")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{where} has {path.stat().st_size:,} bytes; a KITTI label file has at most {_LARGEST_FILE:,}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not a text file in UTF-8: {error}") from None
    return [(f"{where}:{number}", line.split()) for number, line in enumerate(lines, start=1) if line.strip()]


def _read_object(columns: Sequence[str], where: str) -> AnnotatedObject:
    if len(columns) not in _NUM_COLUMNS:
        raise InputError(f"{where}: a line of KITTI has 15 columns (16 with a score), got {len(columns)}")
    if CONTROL_CHARACTERS.search(columns[0]):
        raise InputError(f"{where}: the class {columns[0]!r} has control characters")
    class_text = columns[0].lower()
    where = f"{where} ({class_text})"
    numbers = {name: _number(text, name, where) for name, text in zip(_COLUMNS, columns[1:], strict=False)}
    box = PixelBox(numbers["top"], numbers["left"], numbers["bottom"], numbers["right"])
    extras = tuple([numbers[name] for name in _COLUMNS if name not in ("occluded", "left", "top", "right", "bottom")])
    return AnnotatedObject(class_text, box, where, extras=extras)


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < _LARGEST or "_" in text:
        raise InputError(f"{where}: {name} must be a number, got {text!r}")
    return value


def _overlap(box: PixelBox, other: PixelBox) -> bool:
    width = min(box.x_max, other.x_max) - max(box.x_min, other.x_min)
    height = min(box.y_max, other.y_max) - max(box.y_min, other.y_min)
    return width > 0 and height > 0


FORMAT = Format(read_kitti, _recognise)
