"""CVAT: one XML file in the form "CVAT for images 1.1", shapes in pixels from 0 (docs.cvat.ai/docs/dataset_management/formats/format-cvat).

A rotated box becomes the box around it, as far as that is inside the image. Points (but see `read_cvat`), polylines and tags have no
extent and are left out; both with a note. Attributes are not read.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.formats.cvat_file import CvatEntry, Element, read_cvat_file, read_image_element
from data_tools.formats.cvat_shape import WITHOUT_EXTENT, Shape, flag, read_points, read_shape
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.options import refuse_unused, require_file
from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from data_tools.image_folder import other_place
from data_tools.masks import check_mask_memory
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_ROOT = re.compile(rb"<annotations[\s>]")


def read_cvat(options: ReadOptions) -> Source:
    """Lists a CVAT file; labels become ids from 1 in the order of the file's <meta>, so that all exports of a project agree.

    Args:
        options: `images` is the folder of images, `annotations` the XML file; `split_file` lists the images to take, one a line by name or
            its stem. `include_masks` takes polygons, ellipses and masks; `include_keypoints` takes skeletons' points, and makes <points> of
            several points an object with numbered keypoints.
    """
    refuse_unused(options, "cvat", "split_file", "include_masks", "include_keypoints")
    require_file(options.annotations, "cvat", "an annotations.xml")
    content = read_cvat_file(options.annotations)
    if not content.entries:
        raise InputError(f"{options.annotations} has no <image>")
    entries = content.entries
    if options.split_file is not None:
        entries = _select(entries, options.split_file, options.annotations)
    class_ids = {name: index for index, name in enumerate(content.labels, start=1)}
    reader = CvatReader(options.images.resolve(), options.annotations, class_ids, options.include_masks, options.include_keypoints)
    features = (schema.OBJECT_OCCLUDED,) + ((schema.OBJECT_MASK,) if options.include_masks else ())
    features += (schema.OBJECT_CLASS_LABEL,) if class_ids else ()
    features += (schema.OBJECT_KEYPOINT_X,) if options.include_keypoints else ()
    return Source(entries, reader, features, class_ids or None)


def _recognise(folder: Path) -> ReadOptions | None:
    """An XML file with <annotations> beside `images`, or among the images.

    Raises:
        InputError: there are several.
    """
    found = [path for path in sorted(folder.glob("*.xml")) if _ROOT.search(first_bytes(path))]
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{folder} holds several CVAT files: {', '.join(map(str, found))}; choose one with --annotations, and --images")
    return ReadOptions(folder / "images" if (folder / "images").is_dir() else folder, found[0])


def _select(entries: Sequence[CvatEntry], split_file: Path, path: Path) -> list[CvatEntry]:
    by_name = {os.path.splitext(entry.name)[0]: index for index, entry in enumerate(entries)}
    by_name |= {entry.name: index for index, entry in enumerate(entries)}
    numbers: dict[int, int] = {}
    for number, line in read_split_file(split_file):
        index = by_name.get(line)
        if index is None:
            raise InputError(f"{split_file}:{number}: {line!r} is no name or stem of an image in {path}")
        if index in numbers:
            raise InputError(f"{split_file}:{number}: {line!r} is listed twice, first in line {numbers[index]}")
        numbers[index] = number
    return [entries[index] for index in numbers]


@dataclass(frozen=True)
class CvatReader:
    """Turns one entry into an AnnotatedImage."""

    images: Path  # resolved
    annotations: Path
    class_ids: Mapping[str, int]  # empty: the file does not list its labels
    include_masks: bool = False
    include_keypoints: bool = False

    def __call__(self, entry: CvatEntry) -> AnnotatedImage:
        element, where = read_image_element(self.annotations, entry), f"{self.annotations}:{entry.line}: image {entry.name}"
        filename, size = self._find_image(entry, where), _read_size(element, where)
        if self.include_masks and size is None:
            raise InputError(f"{where}: has no width and height, which masks need")
        if self.include_masks and size is not None:
            check_mask_memory(len(element.children), size, where=where)
        objects: list[AnnotatedObject] = []
        left_out, num_rotated = Counter[str](), 0
        for child in element.children:
            shape = self._read_shape(child, size if self.include_masks else None)
            if shape is None:
                left_out[child.tag] += 1
            else:
                if shape.is_rotated and size is not None:
                    shape = shape._replace(box=_clip(shape.box, size))
                objects.append(self._make_object(child, shape))
                num_rotated += shape.is_rotated
        notes = []
        if left_out:
            counts = ", ".join(f"{count} {tag}" for tag, count in sorted(left_out.items()))
            notes.append(f"{where}: left out, having no extent or being outside: {counts}")
        if num_rotated:
            notes.append(f"{where}: {num_rotated} rotated boxes were taken as the boxes around them")
        return AnnotatedImage(self.images / filename, filename, filename, size, tuple(objects), where, notes=tuple(notes))

    def _find_image(self, entry: CvatEntry, where: str) -> str:
        try:
            for name in (entry.name, os.path.join(entry.subset, entry.name)):
                if find_inside(self.images, name) is not None:
                    return name
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        raise InputError(f"{where}: no such image in {self.images}{other_place(self.images, entry.name)}")

    def _read_shape(self, element: Element, mask_size: tuple[int, int] | None) -> Shape | None:
        """None for what has no extent, or is outside the image."""
        try:
            if element.tag in WITHOUT_EXTENT:
                if element.tag != "points" or not self.include_keypoints:
                    return None
                shape = read_points(element)
                return None if len(shape.keypoints) < 2 else shape
            return None if flag(element, "outside") else read_shape(element, mask_size)
        except InputError as error:
            raise InputError(f"{self.annotations}:{element.line}: {error}") from None

    def _make_object(self, element: Element, shape: Shape) -> AnnotatedObject:
        label, where = element.attributes.get("label", ""), f"{self.annotations}:{element.line}"
        if not label or CONTROL_CHARACTERS.search(label):
            raise InputError(f"{where}: <{element.tag}> has no label")
        if self.class_ids and label not in self.class_ids:
            raise InputError(f"{where}: the label {label!r} is not among those of <meta>: {', '.join(self.class_ids)}")
        where = f"{where}: {element.tag} ({label})"
        try:
            is_occluded = flag(element, "occluded")
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        keypoints = shape.keypoints if self.include_keypoints else ()
        return AnnotatedObject(label, shape.box, where, mask=shape.mask, keypoints=keypoints, is_occluded=is_occluded)


def _clip(box: PixelBox, size: tuple[int, int]) -> PixelBox:
    """The part of a box within the image: the corners of one around a rotated box may lie outside where nothing was drawn."""
    height, width = size
    return PixelBox(max(box.y_min, 0.0), max(box.x_min, 0.0), min(box.y_max, height), min(box.x_max, width))


def _read_size(element: Element, where: str) -> tuple[int, int] | None:
    height, width = element.attributes.get("height"), element.attributes.get("width")
    if height is None or width is None:
        return None
    if not all(text.isdecimal() and 0 < len(text) < 10 and int(text) > 0 for text in (height, width)):
        raise InputError(f"{where}: width and height must be positive integers, got {width!r} and {height!r}")
    return int(height), int(width)


FORMAT = Format(read_cvat, _recognise)
