"""YOLO: a text file an image, a row an object, coordinates in shares of the image (docs.ultralytics.com/datasets).

A row is `class x y width height` with the box's centre, `class x1 y1 x2 y2 ...` for a polygon (segmentation, rotated boxes), or, where
data.yaml has a `kpt_shape`, a box followed by its keypoints. The label file of `images/train/a.jpg` is `labels/train/a.txt`, or `a.txt`
beside the image as darknet has it. An image without one is an image without objects.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, ReadOptions, Source
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.options import refuse_unused
from data_tools.formats.yolo_description import LABEL_ROW, YoloDescription, read_description
from data_tools.formats.yolo_rows import RowReader
from data_tools.image_file import find_inside, read_image
from data_tools.image_folder import list_images
from data_tools.masks import check_mask_memory, polygons_to_mask
from data_tools.orientation import displayed_size
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_LARGEST_LABEL_FILE = 1 << 26  # bytes
_YAML_KEY = re.compile(rb"(?m)^(train|val|names|nc)\s*:")
_DARKNET_KEY = re.compile(rb"(?m)^\s*names\s*=")


class YoloEntry(NamedTuple):
    """An image, by its name in the image folder, and its label file."""

    name: str
    labels: Path | None


def read_yolo(options: ReadOptions) -> Source:
    """Lists a YOLO data set; class index i becomes label id i + 1.

    Args:
        options: `images` is the folder of images, or one part of it such as `images/train`, `annotations` the data.yaml, obj.data or file
            of class names. Where data.yaml names folders inside `images`, the images of these count, else all. `split_file` lists images
            to take, as Ultralytics' train.txt does: the end of each line must be the name of an image, with or without its suffix.
    """
    refuse_unused(options, "yolo", "split_file", "include_masks", "include_keypoints")
    description = read_description(options.annotations)
    if options.include_keypoints and not description.num_keypoints:
        raise InputError(f"{options.annotations} has no kpt_shape, so that its label files have no keypoints to include")
    listed = list_images(options.images)
    if options.split_file is not None:
        names, notes = _select(listed, options.split_file, options.images), []
    else:
        names, notes = _named_parts(listed, description, options.images)
    if not names:
        raise InputError(f"no image in {options.images}")
    places = LabelPlaces(options.images)
    entries = [YoloEntry(name, places.find(name)) for name in names]
    num_negatives = sum(entry.labels is None for entry in entries)
    if num_negatives == len(entries):
        raise InputError(f"no label file for any of {len(entries):,} images; {places.paths(names[0])[0]} is the first that was looked for")
    if num_negatives:
        notes.append(f"{num_negatives:,} of {len(entries):,} images have no label file: kept, as images without objects")
    notes += _shared_labels(entries)
    if options.split_file is None:
        notes += _lost_labels(entries)
    features = (schema.OBJECT_CLASS_LABEL,) + ((schema.OBJECT_MASK,) if options.include_masks else ())
    features += (schema.OBJECT_KEYPOINT_X,) if options.include_keypoints else ()
    rows = RowReader(description, options.include_keypoints)
    reader = YoloReader(options.images.resolve(), rows, options.include_masks)
    class_ids = {name: index + 1 for index, name in sorted(description.names.items())}
    return Source(entries, reader, features, class_ids, notes=tuple(notes))


def _recognise(folder: Path) -> ReadOptions | None:
    """A data.yaml, darknet's obj.data, or a list of names as labelImg leaves it, beside the images or in `labels`.

    Raises:
        InputError: there are several data.yaml, or label files and nothing that names their classes.
    """
    found = [path for suffix in ("*.yaml", "*.yml") for path in sorted(folder.glob(suffix)) if _YAML_KEY.search(first_bytes(path))]
    found = [path for path in found if path.stem == "data"] or found
    if len(found) > 1:
        raise InputError(
            f"{folder} holds several YOLO descriptions: {', '.join(map(str, found))}; choose one with --annotations, and --images"
        )
    found += [path for path in sorted(folder.glob("*.data")) if _DARKNET_KEY.search(first_bytes(path))]
    found += [path for name in ("obj.names", "classes.txt", "labels/classes.txt") if (path := folder / name).is_file()]
    if not found and _has_labels(folder):
        raise InputError(
            f"{folder} has YOLO's label files, but no data.yaml, obj.data or classes.txt that names their classes; write one beside them"
        )
    return ReadOptions(folder / "images" if (folder / "images").is_dir() else folder, found[0]) if found else None


def _has_labels(folder: Path) -> bool:
    """Whether the first label file with a line in it, below `labels` beside `images`, has a row as YOLO's."""
    if not (folder / "images").is_dir() or not (folder / "labels").is_dir():
        return False
    heads = (first_bytes(path).partition(b"\n")[0] for path in islice((folder / "labels").rglob("*.txt"), 50))
    return LABEL_ROW.fullmatch(next((head.decode(errors="replace").strip() for head in heads if head.strip()), "")) is not None


def _select(names: Sequence[str], split_file: Path, images: Path) -> list[str]:
    known = {os.path.splitext(name)[0]: name for name in names} | {name: name for name in names}
    numbers: dict[str, int] = {}
    for number, line in read_split_file(split_file):
        parts = line.replace("\\", "/").split("/")
        name = next((known[end] for start in range(len(parts)) if (end := "/".join(parts[start:])) in known), None)
        if name is None:
            raise InputError(f"{split_file}:{number}: no end of {line!r} is the name of an image in {images}")
        if name in numbers:
            raise InputError(f"{split_file}:{number}: {name!r} is listed twice, first in line {numbers[name]}")
        numbers[name] = number
    return list(numbers)


def _named_parts(names: list[str], description: YoloDescription, images: Path) -> tuple[list[str], list[str]]:
    """The images in the folders that data.yaml names inside `images`, all where it names none; and notes."""
    prefixes: dict[str, list[str]] = {}  # folder inside `images`, with "/" behind -> the parts that it is named for
    for part, locations in description.parts.items():
        for location in locations:
            for prefix in _prefixes(location, description, images):
                if prefix == "" or any(name.startswith(prefix) for name in names):
                    prefixes.setdefault(prefix, []).append(part)
                    break
    if not prefixes or "" in prefixes:
        lists = [location for locations in description.parts.values() for location in locations if location.endswith(".txt")]
        hint = (
            f"{description.path} names lists of images, such as {lists[0]}: all images were read; for one list give it as --split_file"
            if lists
            else ""
        )
        return names, [hint] if lists else []
    kept, notes = [name for name in names if name.startswith(tuple(prefixes))], []
    if len(prefixes) > 1:
        one = images / next(iter(prefixes)).rstrip("/")
        parts = ", ".join(dict.fromkeys(part for parts in prefixes.values() for part in parts))
        notes.append(f"{description.path} has the parts {parts}: all were read; for one of them give its folder, such as --images {one}")
    if len(kept) < len(names):
        notes.append(f"{len(names) - len(kept):,} images in {images} are in no folder that {description.path} names: left out")
    return kept, notes


def _prefixes(location: str, description: YoloDescription, images: Path) -> Iterator[str]:
    """What `location` may mean, as the start of image names; "" where all images lie in it. Names are compared, no folder is opened."""
    home, folder = os.path.abspath(description.path.parent), os.path.abspath(images)
    # Roboflow writes "../train/images" for a folder beside data.yaml; `path` often names a folder of another machine.
    bases = (os.path.join(home, description.root), home)
    for path in [os.path.normpath(os.path.join(base, name)) for name in (location, location.removeprefix("../")) for base in bases]:
        if folder == path or folder.startswith(path.rstrip("/") + "/"):
            yield ""
        elif path.startswith(folder.rstrip("/") + "/"):
            yield path[len(folder.rstrip("/")) + 1 :] + "/"


def _shared_labels(entries: Sequence[YoloEntry]) -> list[str]:
    """A note on label files of several images, such as `a.jpg` and `a.png`; YOLO's own tools read them for each."""
    counts = Counter(entry.labels for entry in entries if entry.labels is not None)
    shared = [path for path, count in counts.items() if count > 1]
    return [f"{len(shared):,} label files, such as {shared[0]}, have several images of their name: read for each"] if shared else []


def _lost_labels(entries: Sequence[YoloEntry]) -> list[str]:
    """A note on label files without an image; YOLO's own tools pass over them without a word."""
    used = {entry.labels for entry in entries if entry.labels is not None}
    folders = {path.parent for path in used}
    lost = sorted(
        path
        for folder in folders
        if "labels" in folder.parts
        for path in folder.glob("*.txt")
        if path not in used and path.name != "classes.txt"
    )
    return [f"{len(lost):,} label files, such as {lost[0]}, have no image: not read"] if lost else []


class LabelPlaces:
    """Where the label file of an image lies: in `labels`, the mirror of the last folder called `images`, else beside the image.

    Raises:
        InputError: `labels` is a link that leads out of the data set.
    """

    def __init__(self, images: Path) -> None:
        self._images = images.resolve()
        self._mirror = self._images
        parts = Path(os.path.abspath(images)).parts
        if "images" in parts:
            last = len(parts) - 1 - parts[::-1].index("images")
            home = Path(*parts[:last])
            self._mirror = Path(home, "labels", *parts[last + 1 :]).resolve()
            if not self._mirror.is_relative_to(home.resolve()):
                raise InputError(f"{home / 'labels'} is a link that leads out of {home}; label files must stay below it")

    def paths(self, name: str) -> list[Path]:
        """Where the label file of image `name` may lie, the likeliest place first."""
        return [folder / path for folder, path in self._places(name)]

    def find(self, name: str) -> Path | None:
        """The label file, None where there is none; raises `InputError` where a link leads out of the folder of labels."""
        return next((found for folder, path in self._places(name) if (found := find_inside(folder, path))), None)

    def _places(self, name: str) -> Iterator[tuple[Path, str]]:
        *folders, file = name.split("/")
        file = os.path.splitext(file)[0] + ".txt"
        if "images" in folders:
            last = len(folders) - 1 - folders[::-1].index("images")
            yield self._images, "/".join([*folders[:last], "labels", *folders[last + 1 :], file])
        elif self._mirror != self._images:
            yield self._mirror, "/".join([*folders, file])
        yield self._images, "/".join([*folders, file])


@dataclass(frozen=True)
class YoloReader:
    """Turns one entry into an AnnotatedImage, with boxes in shares of the image."""

    images: Path  # resolved
    rows: RowReader
    include_masks: bool = False

    def __call__(self, entry: YoloEntry) -> AnnotatedImage:
        path = find_inside(self.images, entry.name)
        if path is None:
            raise InputError(f"{self.images / entry.name} is not there any more")
        where = str(entry.labels or path)
        lines = _read_lines(entry.labels) if entry.labels is not None else []
        rows = [self.rows(line.split(), f"{where}:{number}") for number, line in lines]
        objects = tuple(item for item, _ in rows)
        if self.include_masks:
            size = displayed_size(read_image(path)[1])  # which pixels the shares are of, the encoder settles
            check_mask_memory(len(rows), size, where=where)
            objects = tuple(_with_mask(item, polygon, size) for item, polygon in rows)
        return AnnotatedImage(path, entry.name, entry.name, None, objects, where, has_relative_boxes=True)


def _with_mask(item: AnnotatedObject, polygon: Sequence[float], size: tuple[int, int]) -> AnnotatedObject:
    if not polygon:
        return item
    height, width = size
    points = [value * side for value, side in zip(polygon, (width, height) * (len(polygon) // 2), strict=True)]
    try:
        return item._replace(mask=polygons_to_mask([points], size))
    except InputError as error:
        raise InputError(f"{item.where}: {error}") from None


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    size = path.stat().st_size
    if size > _LARGEST_LABEL_FILE:
        raise InputError(f"{path}: has {size:,} bytes, more than the {_LARGEST_LABEL_FILE:,} that a label file may have")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8: {error}") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


FORMAT = Format(read_yolo, _recognise)
