"""COCO: one instances JSON, boxes `[x, y, width, height]` in pixels from 0 (Lin et al. 2014; cocodataset.org/#format-data).

Masks are polygons or run-length codes, keypoints `[x, y, visibility]` in the order of their category's `keypoints`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, Keypoint, PixelBox, ReadOptions, Source
from data_tools.formats.coco_file import CocoAnnotation, CocoContent, CocoImage, is_number, is_text, iterate_packed, read_coco_file, unpack
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.json_stream import decode_json
from data_tools.formats.options import refuse_unused, require_file
from data_tools.image_file import find_inside
from data_tools.image_folder import other_place
from data_tools.masks import check_mask_memory, polygons_to_mask, rle_to_mask
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# The API's converter leaves the label to the reader's label map; writing it lets readers check text against label.
_OBJECT_FEATURES = (schema.OBJECT_CLASS_LABEL, schema.OBJECT_IS_CROWD, schema.OBJECT_AREA)
_FIRST_KEY = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(info|licenses|images|annotations|categories)"\s*:')


class CocoEntry(NamedTuple):
    """One item of `images`, and the items of `annotations` that point to it, packed (`coco_file.unpack`)."""

    image: CocoImage
    annotations: bytes


def read_coco(options: ReadOptions, *, needs_annotations: bool = True) -> Source:
    """Reads an instances file; category ids become label ids (gaps are legal), images without annotations stay as negatives.

    Args:
        options: `images` is the folder that `file_name` is relative to, `annotations` the instances JSON (`iscrowd` counts as 0 where
            absent, `area` as the box's); `split_file` lists the images to take, one a line by file name, by its stem, or by id;
            `include_masks` takes `segmentation`, `include_keypoints` takes `keypoints`.
        needs_annotations: a file that has images and categories only, as COCO's `image_info_*.json` of a test set, is refused.
    """
    refuse_unused(options, "coco", "split_file", "include_masks", "include_keypoints")
    require_file(options.annotations, "coco", "an instances JSON")
    content = read_coco_file(options.annotations, needs_annotations=needs_annotations)
    _refuse_doubled_files(content.images.values(), options.annotations)
    entries = [CocoEntry(image, bytes(content.annotations.get(id_, b""))) for id_, image in content.images.items()]
    if options.split_file is not None:
        entries = _select(entries, options.split_file, options.annotations)
    # Exports of some labelling services carry an unused category 0, which a label map cannot.
    class_ids = {category.name: id_ for id_, category in content.categories.items() if id_ != 0 or id_ in content.used_categories}
    keypoints = _keypoints_of_categories(content) if options.include_keypoints else {}
    names = {id_: category.name for id_, category in content.categories.items()}
    reader = CocoReader(options.images.resolve(), options.annotations, names, options.include_masks, keypoints)
    features = _OBJECT_FEATURES + ((schema.OBJECT_MASK,) if options.include_masks else ())
    features += (schema.OBJECT_KEYPOINT_X,) if keypoints else ()
    numbers = {name: number for number, name in enumerate(_all_keypoints(keypoints), start=1)}
    label_map_keypoints = {names[id_]: tuple((numbers[name], name) for name in keypoints[id_]) for id_ in keypoints}
    return Source(entries, reader, features, class_ids, class_keypoints=label_map_keypoints)


def _refuse_doubled_files(images: Iterable[CocoImage], path: Path) -> None:
    ids: dict[str, int | str] = {}
    for id_, filename, _ in images:
        first = ids.setdefault(filename, id_)
        if first != id_:
            raise InputError(f"{path}: image id {id_}: {filename!r} is the image of id {first} too; its annotations must have one image id")


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
    """Turns one entry into an AnnotatedImage; polygons and keypoints are read from the file again."""

    images: Path  # resolved
    annotations: Path
    categories: Mapping[int, str]
    include_masks: bool
    keypoints: Mapping[int, tuple[str, ...]]  # names, by category id; empty where keypoints are not wanted

    def __call__(self, entry: CocoEntry) -> AnnotatedImage:
        id_, filename, size = entry.image
        where = f"{self.annotations}: image id {id_}"
        try:
            path = find_inside(self.images, filename)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if path is None:
            raise InputError(f"{where}: no image {filename!r} in {self.images}{other_place(self.images, filename)}")
        objects = self._read_objects(entry)
        notes: list[str] = []
        if self.include_masks or self.keypoints:
            if self.include_masks and size is not None:
                check_mask_memory(len(objects), size, where=where)
            with self.annotations.open("rb") as file:
                pairs = list(zip(objects, unpack(entry.annotations), strict=True))
                objects = tuple([self._read_shape(item, self._content(file, annotation, item), size, notes) for item, annotation in pairs])
        return AnnotatedImage(path, filename, str(id_), size, objects, where, notes=tuple(notes))

    def _read_objects(self, entry: CocoEntry) -> tuple[AnnotatedObject, ...]:
        objects, filename, start = list[AnnotatedObject](), entry.image.filename, f"{self.annotations}: annotations["
        for x, y, width, height, area, position, category_id, _, _, is_crowd in iterate_packed(entry.annotations):
            name = self.categories[category_id]
            where = f"{start}{position}] ({name} in {filename})"  # as `describe` says it, without its call
            objects.append(AnnotatedObject(name, PixelBox(y, x, y + height, x + width), where, False, False, "Unspecified", is_crowd, area))
        return tuple(objects)

    def _content(self, file: IO[bytes], annotation: CocoAnnotation, item: AnnotatedObject) -> Mapping[str, Any]:
        file.seek(annotation.start)
        try:
            return decode_json(file.read(annotation.length))
        except InputError as error:
            raise InputError(f"{item.where}: {error}; or the file has changed since it was listed") from None

    def _read_shape(
        self, item: AnnotatedObject, content: Mapping[str, Any], size: tuple[int, int] | None, notes: list[str]
    ) -> AnnotatedObject:
        """Adds mask and keypoints."""
        try:
            if self.include_masks:
                item = item._replace(mask=_read_mask(content.get("segmentation"), size, notes, item.where))
            if self.keypoints:
                item = item._replace(keypoints=self._read_keypoints(content))
        except InputError as error:
            raise InputError(f"{item.where}: {error}") from None
        return item

    def _read_keypoints(self, content: Mapping[str, Any]) -> tuple[Keypoint, ...]:
        """The keypoints of all categories, so that every object has the same; those that an object lacks are not labelled."""
        names = self.keypoints.get(content["category_id"], ())
        values = content.get("keypoints") or [0] * (3 * len(names))
        if not isinstance(values, list) or len(values) != 3 * len(names) or not all(map(is_number, values)):
            raise InputError(f"keypoints must be x, y and visibility of each of the {len(names)} keypoints of the category, got {values!r}")
        if not set(values[2::3]) <= {0, 1, 2}:
            raise InputError(f"the visibility of a keypoint must be 0, 1 or 2, got {values[2::3]}")
        triples = zip(names, values[::3], values[1::3], values[2::3], strict=True)
        points = {name: Keypoint(name, y, x, int(visibility)) for name, x, y, visibility in triples}
        return tuple(points.get(name) or Keypoint(name, 0, 0, visibility=0) for name in _all_keypoints(self.keypoints))


def _read_mask(segmentation: Any, size: tuple[int, int] | None, notes: list[str], where: str) -> np.ndarray | None:
    """The mask of one object; None where it has none."""
    if not segmentation:
        return None
    if size is None:
        raise InputError("its image has no height and width, which masks need")
    if isinstance(segmentation, dict):
        return rle_to_mask(segmentation, size)
    if not isinstance(segmentation, list) or not all(
        isinstance(polygon, list) and all(map(is_number, polygon)) for polygon in segmentation
    ):
        raise InputError(f"segmentation must be polygons [[x, y, x, y, ...], ...] or a run-length code, got {str(segmentation)[:60]}")
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
    if len(polygons) < len(segmentation):
        notes.append(f"{where}: {len(segmentation) - len(polygons)} of {len(segmentation)} polygons have fewer than three points: left out")
    return polygons_to_mask(polygons, size) if polygons else None


def _keypoints_of_categories(content: CocoContent) -> dict[int, tuple[str, ...]]:
    keypoints: dict[int, tuple[str, ...]] = {}
    for id_, category in content.categories.items():
        names = category.keypoints or []
        if not isinstance(names, list) or not all(map(is_text, names)) or len(set(names)) < len(names):
            raise InputError(f"{content.path}: category {category.name!r}: keypoints must be a list of different names, got {names!r}")
        keypoints |= {id_: tuple(names)} if names else {}
    if not keypoints:
        raise InputError(f"{content.path}: no category names its keypoints; give a file like COCO's person_keypoints_*.json")
    return keypoints


def _all_keypoints(keypoints: Mapping[int, tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(name for names in keypoints.values() for name in names))


def _select(entries: Sequence[CocoEntry], split_file: Path, path: Path) -> list[CocoEntry]:
    by_name = {name: index for index, entry in enumerate(entries) for name in _names(entry.image)}
    numbers: dict[int, int] = {}
    for number, line in read_split_file(split_file):
        index = by_name.get(line)
        if index is None:
            raise InputError(f"{split_file}:{number}: {line!r} is no file name, stem or id of an image in {path}")
        if index in numbers:
            raise InputError(f"{split_file}:{number}: {line!r} is listed twice, first in line {numbers[index]}")
        numbers[index] = number
    return [entries[index] for index in numbers]


def _names(image: CocoImage) -> tuple[str, str, str]:
    return str(image.id), str(Path(image.filename).with_suffix("")), image.filename


FORMAT = Format(read_coco, _recognise)
