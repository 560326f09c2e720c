"""An instances JSON of COCO in little memory: read entry by entry, and of each only kept what records need.

A file of 100,000 images with polygons has 400 MB, and would take 3 GB as Python objects. Kept are 61 bytes an annotation; polygons and
keypoints stay in the file, and their places are noted.
"""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from data_tools.formats.json_stream import JsonStream
from data_tools.image_file import CONTROL_CHARACTERS
from object_detection_ext.errors import InputError

_LISTS = ("categories", "images", "annotations")
_LARGEST = 1e30  # beyond any coordinate or area, and within float32
_NUMBER_TYPES = frozenset((int, float))
_LARGEST_ID = 1 << 31  # of a category


class CocoImage(NamedTuple):
    """One entry of `images`."""

    id: int | str
    filename: str
    size: tuple[int, int] | None  # height, width


class CocoCategory(NamedTuple):
    """One entry of `categories`."""

    name: str
    keypoints: Any  # the names of its keypoints, as the file has them: not checked


class CocoAnnotation(NamedTuple):
    """One entry of `annotations`."""

    x: float  # of the box, as the file has it, in pixels
    y: float
    width: float
    height: float
    area: float  # pixels
    position: int  # among the annotations, from 0
    category_id: int
    start: int  # of this entry in the file, bytes
    length: int
    is_crowd: bool


_PACKED = struct.Struct("<5dIiqI?")  # the fields of CocoAnnotation in their order


iterate_packed = _PACKED.iter_unpack  # the annotations of one image as bare tuples, which take a third of the time of `unpack`


def unpack(packed: bytes) -> list[CocoAnnotation]:
    """The annotations of one image."""
    return [CocoAnnotation._make(fields) for fields in _PACKED.iter_unpack(packed)]


@dataclass
class CocoContent:
    """What an instances file holds.

    Raises (when filled):
        InputError: names the file and the entry that is wrong.
    """

    path: Path
    categories: dict[int, CocoCategory] = field(default_factory=dict)  # by id
    images: dict[int | str, CocoImage] = field(default_factory=dict)  # by id, in the order of the file
    annotations: dict[int | str, bytearray] = field(default_factory=dict)  # by image id, packed
    used_categories: dict[int, int] = field(default_factory=dict)  # id -> the first annotation with it
    category_ids: dict[str, int] = field(default_factory=dict)  # by name

    def add_category(self, index: int, item: Mapping[str, Any]) -> None:
        """Takes `categories[index]`."""
        id_, name = item.get("id"), item.get("name")
        where = f"{self.path}: categories[{index}]"
        if not _is_int(id_) or abs(id_) >= _LARGEST_ID or not is_text(name):
            raise InputError(f"{where} must have an integer id and a name, got id {id_!r}, name {name!r}")
        if id_ in self.categories:
            raise InputError(f"{where}: id {id_} is taken by {self.categories[id_].name!r}")
        if name in self.category_ids:
            raise InputError(f"{where}: the name {name!r} is taken by id {self.category_ids[name]}")
        self.categories[id_] = CocoCategory(name, item.get("keypoints"))
        self.category_ids[name] = id_

    def add_image(self, index: int, item: Mapping[str, Any]) -> None:
        """Takes `images[index]`."""
        id_, filename = item.get("id"), item.get("file_name")
        where = f"{self.path}: images[{index}]"
        if not (_is_int(id_) or is_text(id_)) or not is_text(filename):
            raise InputError(f"{where} must have an id and a file_name, got id {id_!r}, file_name {filename!r}")
        if id_ in self.images:
            raise InputError(f"{where}: id {id_!r} is taken by {self.images[id_].filename!r}")
        self.images[id_] = CocoImage(id_, filename, _read_size(item, f"{self.path}: image id {id_}"))

    def add_annotations(self, index: int, items: Sequence[Any], places: Sequence[tuple[int, int]]) -> tuple[int, str] | None:
        """Takes `annotations[index]` and those after it; returns the first with wrong values, and what is wrong with them.

        Plain ones are checked all together, in half the time.
        """
        columns = _plain_columns(items)
        if columns is None:
            found = [self.add_annotation(index + number, item, places[number]) for number, item in enumerate(items)]
            return next(((index + number, message) for number, message in enumerate(found) if message is not None), None)
        for category_id in dict.fromkeys(columns.category_ids):
            if category_id not in self.used_categories:
                self.used_categories[category_id] = index + columns.category_ids.index(category_id)
        pack, annotations = _PACKED.pack, self.annotations
        for position, (image_id, category_id, (x, y, width, height), is_crowd, area, (start, length)) in enumerate(
            zip(*columns, places, strict=True), start=index
        ):
            packed = annotations.get(image_id)
            if packed is None:
                packed = annotations[image_id] = bytearray()
            packed += pack(x, y, width, height, area, position, category_id, start, length, is_crowd)
        return None

    def add_annotation(self, index: int, item: object, place: tuple[int, int]) -> str | None:
        """Takes `annotations[index]`; returns what is wrong with its values, since its image and class may only follow in the file."""
        item = _check_entry(item, self.path, "annotations", index)
        image_id, category_id = item.get("image_id"), item.get("category_id")
        if not (type(image_id) is int or is_text(image_id)):
            raise InputError(f"{self.path}: annotations[{index}]: image_id {image_id!r} is not among `images`")
        if not _is_int(category_id) or abs(category_id) >= _LARGEST_ID:
            if "segments_info" in item:
                raise InputError(
                    f"{self.path}: panoptic annotations are not read; give the instances file (instances_*.json) of the same images"
                )
            raise InputError(f"{self.path}: annotations[{index}]: category_id {category_id!r} is not among `categories`")
        self.used_categories.setdefault(category_id, index)
        packed = self.annotations.get(image_id)
        if packed is None:
            packed = self.annotations[image_id] = bytearray()
        box = item.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not _are_numbers(box):
            packed += _PACKED.pack(0, 0, 0, 0, 0, index, category_id, *place, False)
            return f"bbox must be four numbers [x, y, width, height], got {box!r}"
        is_crowd, area = item.get("iscrowd", 0), item.get("area", box[2] * box[3])
        is_wrong_crowd, is_wrong_area = is_crowd not in (0, 1), not is_number(area)
        packed += _PACKED.pack(*box, 0 if is_wrong_area else area, index, category_id, *place, not is_wrong_crowd and is_crowd)
        if is_wrong_crowd:
            return f"iscrowd must be 0 or 1, got {is_crowd!r}"
        return f"area must be a number, got {area!r}" if is_wrong_area else None


class _Columns(NamedTuple):
    """Values of many annotations that have nothing wrong with them."""

    image_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    boxes: tuple[list[float], ...]
    crowds: tuple[int, ...]
    areas: tuple[float, ...]


_PLAIN_FIELDS = operator.itemgetter("image_id", "category_id", "bbox", "iscrowd", "area")


def _plain_columns(items: Sequence[Any]) -> _Columns | None:
    """None where an annotation lacks a field, or has something else in it than usual."""
    try:
        columns = _Columns(*zip(*map(_PLAIN_FIELDS, items), strict=True))
        is_plain = (
            {int}.issuperset(map(type, columns.image_ids + columns.category_ids))
            and min(columns.category_ids) > -_LARGEST_ID
            and max(columns.category_ids) < _LARGEST_ID
            and {list}.issuperset(map(type, columns.boxes))
            and {4}.issuperset(map(len, columns.boxes))
            and _are_numbers([*itertools.chain.from_iterable(columns.boxes), *columns.areas])
            and {0, 1}.issuperset(columns.crowds)
        )
    except (KeyError, TypeError):  # a field is missing; an entry is no object, or a value can neither be compared nor looked up
        return None
    return columns if is_plain else None


def describe(path: Path, annotation: CocoAnnotation, category: str, filename: str) -> str:
    """Names an annotation, as the start of a message about it."""
    return f"{path}: annotations[{annotation.position}] ({category} in {filename})"


def read_coco_file(path: Path, *, needs_annotations: bool = True) -> CocoContent:
    """Reads an instances file or, unless annotations are needed, a list of images such as COCO's `image_info_*.json`.

    Raises:
        InputError: names file and entry: not JSON or not an instances file, an id twice, an annotation of no image or class or with a
            wrong box.
    """
    content, kinds = CocoContent(path), dict[str, str]()
    wrong: tuple[int, str] | None = None  # the first annotation with wrong values
    with JsonStream(path) as stream:
        if stream.kind() != "dict":
            raise InputError(f"{path}: must be an object with images, annotations and categories, got a JSON {stream.kind()}")
        for key in stream.members():
            kinds[key] = stream.kind()
            if kinds[key] != "list":
                stream.value()
            elif key == "annotations":
                index = 0
                for items, places in stream.batches(passed_over="segmentation"):
                    found = content.add_annotations(index, items, places)
                    wrong, index = wrong or found, index + len(items)
            else:
                add = {"categories": content.add_category, "images": content.add_image}.get(key)
                for index, item in enumerate(stream.items()):
                    if add is not None:
                        add(index, _check_entry(item, path, key, index))
    for key in _LISTS:
        if kinds.get(key) != "list" and (key in kinds or key != "annotations" or needs_annotations):
            found = f"got {kinds[key]}" if key in kinds else f"the file has {', '.join(kinds) or 'nothing'}"
            raise InputError(f"{path}: `{key}` must be a list as in a COCO instances file; {found}")
    if not content.images:
        raise InputError(f"{path}: `images` is empty")
    _check_references(content, wrong)
    return content


def _check_references(content: CocoContent, wrong: tuple[int, str] | None) -> None:
    """Raises what is wrong with the first annotation that has something wrong."""
    errors: list[tuple[int, str]] = []
    for image_id, packed in content.annotations.items():
        if image_id not in content.images:
            position = unpack(bytes(packed[: _PACKED.size]))[0].position
            errors.append((position, f"{content.path}: annotations[{position}]: image_id {image_id!r} is not among `images`"))
    for category_id, position in content.used_categories.items():
        if category_id not in content.categories:
            errors.append((position, f"{content.path}: annotations[{position}]: category_id {category_id!r} is not among `categories`"))
    if errors:
        raise InputError(min(errors)[1])
    for image_id, packed in content.annotations.items() if wrong else ():
        for annotation in unpack(bytes(packed)):
            if wrong and annotation.position == wrong[0]:
                category, filename = content.categories[annotation.category_id].name, content.images[image_id].filename
                raise InputError(f"{describe(content.path, annotation, category, filename)}: {wrong[1]}")


def _check_entry(item: Any, path: Path, key: str, index: int) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise InputError(f"{path}: {key}[{index}] must be an object, got {item!r}")
    return item


def _read_size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if height is None or width is None:
        return None
    if not _is_int(height) or not _is_int(width) or height < 1 or width < 1:
        raise InputError(f"{where}: height and width must be positive integers, got {height!r} and {width!r}")
    return height, width


def _is_int(value: object) -> TypeGuard[int]:
    return type(value) is int  # and not bool, which is a kind of int


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value from JSON is a number that float32 can hold."""
    return (type(value) is float or type(value) is int) and -_LARGEST < value < _LARGEST


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether `is_number` holds for all, sooner."""
    return _NUMBER_TYPES.issuperset(map(type, values)) and min(values) > -_LARGEST and max(values) < _LARGEST


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value from JSON is a text that can be a name: not empty, without control characters."""
    return isinstance(value, str) and bool(value) and not CONTROL_CHARACTERS.search(value)
