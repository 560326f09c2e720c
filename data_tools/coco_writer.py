"""Writes images with their objects as a COCO data set: `annotations/instances.json` and `images`, in the memory of one image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from contextlib2 import ExitStack

from data_tools.annotated_image import AnnotatedObject
from data_tools.export_names import ExportNames
from data_tools.exported_image import ExportedImage, decimal_places, shortest_float32
from data_tools.masks import mask_to_rle
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError

_HEAD, _TAIL = '{"images": [', "]}\n"


class CocoWriter:
    """Writes one data set; a context manager, which completes the files when left without an exception.

    `images` and `annotations` grow in two files, which are joined at the end: together they may not fit memory.

    Args:
        folder: an empty folder.
        label_map: the categories, with their keypoints.
        image_ids: of all images in their order; None numbers them from 1.

    Raises (when written to):
        InputError: a class or keypoint is not in the label map.
    """

    features = frozenset(
        (schema.OBJECT_IS_CROWD, schema.OBJECT_AREA, schema.OBJECT_MASK, schema.OBJECT_KEYPOINT_X, schema.OBJECT_CLASS_LABEL)
    )

    def __init__(self, folder: Path, label_map: LabelMap, image_ids: Sequence[int] | None) -> None:
        self._folder, self._label_map, self._image_ids = folder, label_map, image_ids
        self._keypoints = {item.name: [label for _, label in item.keypoints] for item in label_map.items if item.keypoints}
        self._has_own_keypoints = not self._keypoints  # of the records, as the label map has none
        self._num_images = self._num_annotations = 0
        self._files = ExitStack()
        self.names = ExportNames()

    def __enter__(self) -> CocoWriter:
        (self._folder / "annotations").mkdir()
        (self._folder / "images").mkdir()
        self._images = self._files.enter_context(self._path("images").open("w", encoding="utf-8"))
        self._annotations = self._files.enter_context(self._path("annotations").open("w", encoding="utf-8"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._files.close()
        if kind is None:
            self._join()

    def write(self, image: ExportedImage) -> None:
        """Writes one image and its objects."""
        index = self._num_images
        id_ = index + 1 if self._image_ids is None else self._image_ids[index]
        name = self.names(image.recorded_name, image.format, index)
        path = self._folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.encoded)
        item = {"id": id_, "file_name": name, "height": image.height, "width": image.width}
        _append(self._images, item, is_first=index == 0)
        self._num_images += 1
        for each in image.objects:
            annotation = {"id": self._num_annotations + 1, "image_id": id_} | self._annotation(each, image)
            _append(self._annotations, annotation, is_first=self._num_annotations == 0)
            self._num_annotations += 1

    def _annotation(self, item: AnnotatedObject, image: ExportedImage) -> dict[str, Any]:
        try:
            category_id = self._label_map.id_of(item.class_text)
        except InputError as error:
            raise InputError(f"{item.where}: {error}") from None
        x, y, box = item.box.x_min, item.box.y_min, item.box
        width, height = round(box.x_max - x, decimal_places(image.width)), round(box.y_max - y, decimal_places(image.height))
        annotation: dict[str, Any] = {
            "category_id": category_id,
            "bbox": [x, y, width, height],
            "area": shortest_float32(item.area) if item.area else width * height,
            "iscrowd": int(item.is_crowd),
            "segmentation": [] if item.mask is None else mask_to_rle(item.mask),
        }
        return annotation | self._keypoints_of(item)

    def _keypoints_of(self, item: AnnotatedObject) -> dict[str, Any]:
        points = {point.name: point for point in item.keypoints if point.visibility}
        if self._has_own_keypoints and points:
            self._keypoints.setdefault(item.class_text, [point.name for point in item.keypoints])
        names = self._keypoints.get(item.class_text)
        unknown = points.keys() - set(names or ())
        if unknown:
            known = ", ".join(names or ()) or "none"
            raise InputError(f"{item.where}: the keypoint {min(unknown)!r} is not among those of the class in the label map: {known}")
        if not names or not item.keypoints:
            return {}
        values = [(points[name].x, points[name].y, points[name].visibility) if name in points else (0, 0, 0) for name in names]
        return {"keypoints": [value for each in values for value in each], "num_keypoints": len(points)}

    def _categories(self) -> list[dict[str, Any]]:
        categories = []
        for item in self._label_map.items:
            keypoints = self._keypoints.get(item.name)
            more = {"keypoints": keypoints, "skeleton": []} if keypoints else {}
            categories.append({"id": item.id, "name": item.name, "supercategory": ""} | more)
        return categories

    def _join(self) -> None:
        with (self._folder / "annotations" / "instances.json").open("wb") as target:
            for head, name in ((_HEAD, "images"), ('\n], "annotations": [', "annotations")):
                target.write(head.encode())
                with self._path(name).open("rb") as source:
                    shutil.copyfileobj(source, target)
                self._path(name).unlink()
            target.write(f'\n], "categories": {json.dumps(self._categories(), ensure_ascii=False)}}}\n'.encode())

    def _path(self, name: str) -> Path:
        return self._folder / f".{name}"


def _append(file: IO[str], item: dict[str, Any], *, is_first: bool) -> None:
    file.write(("\n" if is_first else ",\n") + json.dumps(item, ensure_ascii=False, allow_nan=False))
