"""COCO: one instances JSON, boxes `[x, y, width, height]` in pixels from 0 (Lin et al. 2014; cocodataset.org/#format-data)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.options import refuse_unused
from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

# The API's converter leaves the label to the reader's label map; writing it lets readers check text against label.
_OBJECT_FEATURES = (schema.OBJECT_CLASS_LABEL, schema.OBJECT_IS_CROWD, schema.OBJECT_AREA)
_NOT_READ = ("segmentation", "keypoints", "coco_url", "flickr_url", "date_captured", "license")  # dropped while parsing: most of the memory

_FIRST_KEY = re.compile(rb'\s*\{\s*"(info|licenses|images|annotations|categories)"\s*:')
_LARGEST = 1e30  # beyond any coordinate or area, and within float32


class CocoEntry(NamedTuple):
    """One item of `images`, and the items of `annotations` that point to it, each with its index in the file."""

    image: Mapping[str, Any]
    annotations: list[tuple[int, Mapping[str, Any]]]


def read_coco(options: ReadOptions) -> Source:
    """Reads an instances file; category ids become label ids (gaps are legal), images without annotations stay as negatives.

    Args:
        options: `images` is the folder that `file_name` is relative to, `annotations` the instances JSON (`iscrowd` counts as 0 where
            absent, `area` as the box's); `split_file` lists the images to take, one a line by file name, by its stem, or by id.
    """
    refuse_unused(options, "coco", "split_file")
    annotations, split_file = options.annotations, options.split_file
    content = _load_json(annotations)
    categories = _read_categories(_items(content, "categories", annotations), annotations)
    listed = _items(content, "images", annotations)
    if not listed:
        raise InputError(f"{annotations}: `images` is empty")
    entries = _group(listed, _items(content, "annotations", annotations), categories, annotations)
    if split_file is not None:
        entries = _select(entries, split_file, annotations)
    used = {annotation["category_id"] for entry in entries for _, annotation in entry.annotations}
    # Exports of some labelling services carry an unused category 0, which a label map cannot.
    class_ids = {name: id_ for id_, name in categories.items() if id_ != 0 or id_ in used}
    return Source(entries, CocoReader(options.images.resolve(), annotations, categories), _OBJECT_FEATURES, class_ids)


def _recognise(folder: Path) -> ReadOptions | None:
    """`annotations/instances_NAME.json` beside `images/NAME` or `NAME` as in COCO, or one JSON beside or among the images.

    Raises:
        InputError: there are several sets.
    """
    found = [
        path for place in (folder / "annotations", folder) for path in sorted(place.glob("*.json")) if _FIRST_KEY.match(first_bytes(path))
    ]
    found = [path for path in found if path.name.startswith("instances")] or found
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{folder} holds several COCO files: {', '.join(map(str, found))}; choose one with --annotations, and --images")
    name = found[0].stem.removeprefix("instances_")
    folders = (folder / "images" / name, folder / name, folder / "images", folder)
    return ReadOptions(next(images for images in folders if images.is_dir()), found[0])


@dataclass(frozen=True)
class CocoReader:
    """Turns one entry into an AnnotatedImage."""

    images: Path  # resolved
    annotations: Path
    categories: Mapping[int, str]

    def __call__(self, entry: CocoEntry) -> AnnotatedImage:
        image = entry.image
        filename, where = image["file_name"], f"{self.annotations}: image id {image['id']}"
        try:
            path = find_inside(self.images, filename)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if path is None:
            raise InputError(f"{where}: no image {filename!r} in {self.images}")
        objects = tuple(self._read_object(index, annotation, filename) for index, annotation in entry.annotations)
        return AnnotatedImage(path, filename, str(image["id"]), _read_size(image, where), objects, where)

    def _read_object(self, index: int, annotation: Mapping[str, Any], filename: str) -> AnnotatedObject:
        name = self.categories[annotation["category_id"]]
        where = f"{self.annotations}: annotations[{index}] ({name} in {filename})"
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            raise InputError(f"{where}: bbox must be four numbers [x, y, width, height], got {box!r}")
        x, y, width, height = box
        is_crowd, area = annotation.get("iscrowd", 0), annotation.get("area", width * height)
        if is_crowd not in (0, 1):
            raise InputError(f"{where}: iscrowd must be 0 or 1, got {is_crowd!r}")
        if not _is_number(area):
            raise InputError(f"{where}: area must be a number, got {area!r}")
        return AnnotatedObject(name, PixelBox(y, x, y + height, x + width), where, is_crowd=bool(is_crowd), area=area)


def _load_json(path: Path) -> Mapping[str, Any]:
    def drop_unread(item: dict[str, Any]) -> dict[str, Any]:
        for key in _NOT_READ:
            item.pop(key, None)
        return item

    def refuse(constant: str) -> float:
        raise InputError(f"{path}: {constant} is not a number that JSON allows")

    try:
        content = json.loads(path.read_bytes(), object_hook=drop_unread, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, thousands of levels
        raise InputError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be an object with images, annotations and categories, got a JSON {type(content).__name__}")
    return content


def _items(content: Mapping[str, Any], key: str, path: Path) -> Sequence[Mapping[str, Any]]:
    items = content.get(key)
    if not isinstance(items, list):
        found = f"got {type(items).__name__}" if key in content else f"the file has {', '.join(content) or 'nothing'}"
        raise InputError(f"{path}: `{key}` must be a list as in a COCO instances file; {found}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise InputError(f"{path}: {key}[{index}] must be an object, got {item!r}")
    return items


def _read_categories(items: Sequence[Mapping[str, Any]], path: Path) -> dict[int, str]:
    categories: dict[int, str] = {}
    ids: dict[str, int] = {}
    for index, item in enumerate(items):
        id_, name = item.get("id"), item.get("name")
        if not _is_int(id_) or not _is_text(name):
            raise InputError(f"{path}: categories[{index}] must have an integer id and a name, got id {id_!r}, name {name!r}")
        if id_ in categories:
            raise InputError(f"{path}: categories[{index}]: id {id_} is taken by {categories[id_]!r}")
        if name in ids:
            raise InputError(f"{path}: categories[{index}]: the name {name!r} is taken by id {ids[name]}")
        categories[id_] = name
        ids[name] = id_
    return categories


def _group(
    images: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]], categories: Mapping[int, str], path: Path
) -> list[CocoEntry]:
    entries: dict[int | str, CocoEntry] = {}
    for index, image in enumerate(images):
        id_, filename = image.get("id"), image.get("file_name")
        if not (_is_int(id_) or _is_text(id_)) or not _is_text(filename):
            raise InputError(f"{path}: images[{index}] must have an id and a file_name, got id {id_!r}, file_name {filename!r}")
        if id_ in entries:
            raise InputError(f"{path}: images[{index}]: id {id_!r} is taken by {entries[id_].image['file_name']!r}")
        entries[id_] = CocoEntry(image, [])
    for index, annotation in enumerate(annotations):
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        if not (_is_int(image_id) or _is_text(image_id)) or image_id not in entries:
            raise InputError(f"{path}: annotations[{index}]: image_id {image_id!r} is not among `images`")
        if not _is_int(category_id) or category_id not in categories:
            raise InputError(f"{path}: annotations[{index}]: category_id {category_id!r} is not among `categories`")
        entries[image_id].annotations.append((index, annotation))
    return list(entries.values())


def _select(entries: Sequence[CocoEntry], split_file: Path, path: Path) -> list[CocoEntry]:
    by_name = {name: index for index, entry in enumerate(entries) for name in _names(entry)}
    numbers: dict[int, int] = {}
    for number, line in read_split_file(split_file):
        index = by_name.get(line)
        if index is None:
            raise InputError(f"{split_file}:{number}: {line!r} is no file name, stem or id of an image in {path}")
        if index in numbers:
            raise InputError(f"{split_file}:{number}: {line!r} is listed twice, first in line {numbers[index]}")
        numbers[index] = number
    return [entries[index] for index in numbers]


def _names(entry: CocoEntry) -> tuple[str, str, str]:
    filename = entry.image["file_name"]
    return str(entry.image["id"]), str(Path(filename).with_suffix("")), filename


def _read_size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if height is None or width is None:
        return None
    if not _is_int(height) or not _is_int(width) or height < 1 or width < 1:
        raise InputError(f"{where}: height and width must be positive integers, got {height!r} and {width!r}")
    return height, width


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value) and not CONTROL_CHARACTERS.search(value)


FORMAT = Format(read_coco, _recognise, "instances JSON")
