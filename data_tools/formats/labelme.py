"""LabelMe: a JSON file an image, a list of shapes in pixels (github.com/wkentaro/labelme, versions 3 to 6).

A shape with an extent is a polygon, a rectangle (two corners), an oriented rectangle (four), a circle (centre and a point on it) or a mask
(its upper left corner and a PNG). Shapes of one label and `group_id` are parts of one object, as in LabelMe's own converters. Points and
lines have no extent and are left out, with a note.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.json_stream import load_json
from data_tools.formats.labelme_shape import IGNORED_LABEL, WITHOUT_EXTENT, read_shape
from data_tools.formats.options import refuse_unused
from data_tools.image_file import CONTROL_CHARACTERS, IMAGE_SUFFIXES, LARGEST_FILE, find_inside
from data_tools.image_folder import list_images
from data_tools.masks import box_to_mask, check_mask_memory
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_LARGEST_JSON = 2 * LARGEST_FILE  # bytes; with the image inside, in base64
_MANIFEST = re.compile(rb'\s*\{\s*"manifest_version"')
_PLACES = ("", "annotations", "labels", "json")  # of the JSON files, in a data set


class LabelmeEntry(NamedTuple):
    """A JSON file, by its name in the folder of annotations; or an image without one, by its name in the image folder."""

    annotation: str | None
    image: str = ""


def read_labelme(options: ReadOptions) -> Source:
    """Lists a LabelMe data set: every JSON file, and every image without one as a negative.

    Args:
        options: `annotations` is the folder of JSON files, `images` that of images (often the same one); folders below count. `split_file`
            lists the JSON files or images to take, by their names with or without suffix. `include_masks` makes masks of the shapes.
    """
    refuse_unused(options, "labelme", "split_file", "include_masks")
    if not options.annotations.is_dir():
        raise InputError(f"{options.annotations} is not a folder; the labelme format needs a folder of JSON files")
    root = options.annotations.resolve()
    names = _json_files(root)
    manifests = {name for name in names if _is_manifest(root / name)}
    annotations = [name for name in names if name not in manifests]
    if not annotations:
        raise InputError(f"no *.json file in {options.annotations}" + (" but manifests of records" if names else ""))
    reader = LabelmeReader(options.images.resolve(), root, options.include_masks)
    images = list_images(options.images)
    entries, num_negatives = _add_negatives(annotations, images, reader)
    if options.split_file is not None:
        entries = _select(entries, options.split_file, options.annotations)
        num_negatives = sum(entry.annotation is None for entry in entries)
    notes = [f"{num_negatives:,} of {len(entries):,} images have no JSON file: kept, as images without objects"] if num_negatives else []
    notes += _doubled_stems(annotations, images)
    notes += [f"{root / name} is the manifest of records: not read" for name in sorted(manifests)]
    return Source(entries, reader, (schema.OBJECT_MASK,) if options.include_masks else (), notes=tuple(notes))


def _recognise(folder: Path) -> ReadOptions | None:
    """JSON files with `shapes`, among the images or in a folder beside `images`."""
    for place in (folder / name for name in _PLACES):
        first = next((path for path in sorted(place.glob("*.json")) if path.name[0] != "." and not _is_manifest(path)), None)
        if first is not None and b'"shapes"' in first_bytes(first):
            return ReadOptions(folder / "images" if (folder / "images").is_dir() else place, place)
    return None


def _json_files(root: Path) -> list[str]:
    """The JSON files below a folder, by their names in it; not hidden ones, which macOS packs beside every file."""
    names = (path.relative_to(root).as_posix() for path in root.rglob("*.json"))
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def _is_manifest(path: Path) -> bool:
    """Whether `data_tools.create_tf_record` has written a file, perhaps with its records among the images."""
    return path.name.endswith("_manifest.json") and _MANIFEST.match(first_bytes(path)) is not None


def _add_negatives(annotations: Sequence[str], images: Sequence[str], reader: LabelmeReader) -> tuple[list[LabelmeEntry], int]:
    """All entries in the order of their names, and how many images have no JSON file.

    An image belongs to the JSON file with its stem, as LabelMe names it; only JSON files without such an image are opened here.
    """
    stems = {_stem(name) for name in annotations}
    lone = {name: None for name in images if _stem(name) not in stems}
    with_image = {_stem(name) for name in images} if lone else stems
    for name in annotations:
        if _stem(name) not in with_image:
            lone.pop(reader.find_image(name, reader.load(name)) or "", None)
    entries = [LabelmeEntry(name) for name in annotations] + [LabelmeEntry(None, name) for name in lone]
    return sorted(entries, key=lambda entry: _stem(entry.annotation or entry.image)), len(lone)


def _doubled_stems(annotations: Sequence[str], images: Sequence[str]) -> list[str]:
    """A note on images that differ from another by their suffixes only: the JSON file of their name names one of them."""
    stems = Counter(_stem(name) for name in images)
    doubled = [name for name in annotations if stems[_stem(name)] > 1]
    if not doubled:
        return []
    return [
        f"{len(doubled):,} JSON files, such as {doubled[0]}, have several images of their name: the one that they name is read, no other"
    ]


def _select(entries: Sequence[LabelmeEntry], split_file: Path, folder: Path) -> list[LabelmeEntry]:
    by_stem = {_stem(entry.annotation or entry.image): index for index, entry in enumerate(entries)}
    numbers: dict[int, int] = {}
    for number, line in read_split_file(split_file):
        index = by_stem.get(line, by_stem.get(_stem(line)))
        if index is None:
            raise InputError(f"{split_file}:{number}: {line!r} is neither a JSON file nor an image without one, in {folder}")
        if index in numbers:
            raise InputError(f"{split_file}:{number}: {line!r} is listed twice, first in line {numbers[index]}")
        numbers[index] = number
    return [entries[index] for index in numbers]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


@dataclass(frozen=True)
class LabelmeReader:
    """Turns one entry into an AnnotatedImage."""

    images: Path  # resolved
    annotations: Path  # resolved
    include_masks: bool = False

    def __call__(self, entry: LabelmeEntry) -> AnnotatedImage:
        if entry.annotation is None:
            path = find_inside(self.images, entry.image)
            if path is None:
                raise InputError(f"{self.images / entry.image} is not there any more")
            return AnnotatedImage(path, entry.image, entry.image, None, (), str(path))
        where, content = str(self.annotations / entry.annotation), self.load(entry.annotation)
        size = _read_size(content, where)
        if self.include_masks and size is None:
            raise InputError(f"{where}: has no imageHeight and imageWidth, which masks need")
        if self.include_masks and size is not None:
            check_mask_memory(len(content["shapes"]), size, where=where)
        objects, num_without_extent = _read_objects(content["shapes"], where, size if self.include_masks else None)
        notes = (f"{where}: {num_without_extent} points and lines have no extent: left out",) if num_without_extent else ()
        filename = self.find_image(entry.annotation, content)
        if filename is not None:
            return AnnotatedImage(self.images / filename, filename, filename, size, objects, where, notes=notes)
        filename, encoded = _embedded_image(entry.annotation, content, where, self.images)
        path = self.annotations / entry.annotation
        return AnnotatedImage(path, filename, filename, size, objects, where, encoded=encoded, notes=notes)

    def load(self, name: str) -> Mapping[str, Any]:
        """The content of a JSON file, which has a list of shapes."""
        try:
            path = find_inside(self.annotations, name)
        except InputError as error:
            raise InputError(f"{self.annotations / name}: {error}") from None
        if path is None:
            raise InputError(f"{self.annotations / name} is not a file")
        content = load_json(path, largest=_LARGEST_JSON)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            got = f"the keys {', '.join(content) or '(none)'}" if isinstance(content, dict) else f"a JSON {type(content).__name__}"
            raise InputError(
                f"{path}: must be an object with a list of `shapes`, as LabelMe writes it; got {got}; move other files elsewhere"
            )
        return content

    def find_image(self, name: str, content: Mapping[str, Any]) -> str | None:
        """The image of a JSON file, by its name in the image folder; None where it is not there.

        `imagePath` counts from the JSON file. Where it leads elsewhere, as it does once files were moved, only its last part counts.
        """
        named, place = _image_name(content), os.path.dirname(name)
        candidates = []
        if named:
            from_annotation = os.path.normpath(self.annotations / place / named)
            if Path(from_annotation).is_relative_to(self.images):
                candidates.append(Path(from_annotation).relative_to(self.images).as_posix())
            candidates += [os.path.join(place, os.path.basename(named)), os.path.basename(named)]
        candidates += [_stem(name) + suffix for suffix in IMAGE_SUFFIXES]
        try:
            return next((each for each in candidates if each not in ("", ".") and find_inside(self.images, each) is not None), None)
        except InputError as error:
            raise InputError(f"{self.annotations / name}: {error}") from None


def _image_name(content: Mapping[str, Any]) -> str:
    """`imagePath` with "/" for Windows' separators, empty where there is none."""
    named = content.get("imagePath")
    return PureWindowsPath(named).as_posix() if isinstance(named, str) else ""


def _embedded_image(name: str, content: Mapping[str, Any], where: str, images: Path) -> tuple[str, bytes]:
    """File name and bytes of the image that the JSON file itself holds."""
    named, data = os.path.basename(_image_name(content)), content.get("imageData")
    if not isinstance(data, str):
        raise InputError(f"{where}: no image {_image_name(content)!r} in {images}, nor one called {_stem(name)!r}, and no imageData")
    if not named or CONTROL_CHARACTERS.search(named):
        named = f"{os.path.basename(_stem(name))}.jpg"
    try:
        return os.path.join(os.path.dirname(name), named), base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{where}: imageData is not an image in base64: {error}") from None


def _read_size(content: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height is None or width is None:
        return None
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        raise InputError(f"{where}: imageHeight and imageWidth must be positive integers, got {height!r} and {width!r}")
    return height, width


def _read_objects(shapes: Sequence[Any], where: str, mask_size: tuple[int, int] | None) -> tuple[tuple[AnnotatedObject, ...], int]:
    """The objects, and how many shapes have no extent."""
    objects: dict[Any, AnnotatedObject] = {}
    num_without_extent = 0
    for index, content in enumerate(shapes):
        if not isinstance(content, dict):
            raise InputError(f"{where}: shapes[{index}] must be an object, got {content!r}")
        label, kind, group = content.get("label"), content.get("shape_type") or "polygon", content.get("group_id")
        if not isinstance(label, str) or not label or CONTROL_CHARACTERS.search(label):
            raise InputError(f"{where}: shapes[{index}] must have a label, got {label!r}")
        if not isinstance(kind, str):
            raise InputError(f"{where}: shapes[{index}]: shape_type must be a text, got {kind!r}")
        if kind in WITHOUT_EXTENT or label == IGNORED_LABEL:
            num_without_extent += label != IGNORED_LABEL
            continue
        item_where = f"{where}: shapes[{index}] ({label})"
        if group is not None and type(group) is not int:
            raise InputError(f"{item_where}: group_id must be a whole number or null, got {group!r}")
        try:
            box, mask = read_shape(content, kind, mask_size)
        except InputError as error:
            raise InputError(f"{item_where}: {error}") from None
        item = AnnotatedObject(label, box, item_where, mask=mask)
        key = index if group is None else (label, group)
        objects[key] = _join(objects[key], item, mask_size) if key in objects else item
    return tuple(objects.values()), num_without_extent


def _join(first: AnnotatedObject, second: AnnotatedObject, mask_size: tuple[int, int] | None) -> AnnotatedObject:
    """One object of two parts."""
    box = PixelBox(*map(min, first.box[:2], second.box[:2]), *map(max, first.box[2:], second.box[2:]))
    if mask_size is None:
        return first._replace(box=box)
    masks = [box_to_mask(part.box, mask_size) if part.mask is None else part.mask for part in (first, second)]
    return first._replace(box=box, mask=masks[0] | masks[1])


FORMAT = Format(read_labelme, _recognise)
