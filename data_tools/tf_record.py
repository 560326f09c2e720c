"""AnnotatedImage -> tf.Example -> one framed record, with every box checked on the way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Literal, NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox
from data_tools.image_file import read_image
from data_tools.image_header import ImageHeader, read_header
from data_tools.object_features import (
    KEYPOINT_KEYS,
    OBJECT_FEATURES,
    Grid,
    box_features,
    count_box_masks,
    extra_features,
    keypoint_features,
)
from data_tools.orientation import ExifBoxes, is_same_shape, turn_annotation
from data_tools.pixels import check_pixels, make_storable
from data_tools.tf_example import (
    Feature,
    bytes_feature,
    encode_record,
    float_feature,
    int64_feature,
    large_bytes_feature,
    text_feature,
)
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError

BrokenBoxes = Literal["drop", "clip", "error"]

_IMAGE_LABEL_KEYS = (schema.IMAGE_CLASS_TEXT, schema.IMAGE_CLASS_LABEL, schema.IMAGE_CLASS_CONFIDENCE)
_LARGEST_SIDE = 1 << 31  # pixels; an annotation may say any number, and beyond float64 none can be divided by
_ROUNDING = 1e-5  # shares are written with six digits or so: what leaves the image by less was meant to end at its edge


class EncodedImage(NamedTuple):
    """One framed record, and what its conversion had to say."""

    record: bytes
    source_id: str
    where: str
    class_texts: tuple[str, ...]  # of the objects written
    broken_boxes: tuple[str, ...]  # one message each
    notes: tuple[str, ...]  # other messages
    is_turned: bool = False  # stored upright, where the file is not
    converted_from: str = ""  # the format of an image that was stored as PNG instead
    num_box_masks: int = 0  # objects without a mask, whose filled boxes were written as masks


@dataclass(frozen=True)
class RecordEncoder:
    """Reads one entry of a source and encodes it; equal input gives equal bytes.

    Raises (when called):
        InputError: the annotation or the image is wrong, a class is not in the label map, or, with `broken_boxes="error"`, a box is broken.
    """

    load: Callable[[Any], AnnotatedImage]
    object_features: tuple[str, ...]  # keys of data.schema; one of the keypoints stands for all five
    label_map: LabelMap
    label_map_name: str  # for messages: where the map comes from
    broken_boxes: BrokenBoxes = "drop"
    extra_features: tuple[str, ...] = ()  # as in `Source`
    exif_boxes: ExifBoxes = "auto"  # which pixels of an image with an EXIF orientation its boxes belong to
    verify_images: bool = False  # decode every image

    def __call__(self, entry: object) -> EncodedImage:
        annotated = self.load(entry)
        encoded, header = _read(annotated)
        if self.verify_images or header.orientation != 1 or header.format not in ("jpeg", "png"):
            return self._encode_decoded(annotated, encoded, header)
        return self._encode(annotated, encoded, header)

    def _encode_decoded(self, annotated: AnnotatedImage, encoded: bytes, header: ImageHeader) -> EncodedImage:
        is_turned, converted_from = header.orientation != 1, "" if header.format in ("jpeg", "png") else header.format
        if is_turned:
            annotated = turn_annotation(annotated, header, self.exif_boxes)
        try:
            if self.verify_images:
                check_pixels(encoded, header)
            if is_turned or converted_from:
                encoded, header = make_storable(encoded, header)
        except InputError as error:
            raise InputError(f"{_name_image(annotated)}: {error}") from None
        return self._encode(annotated, encoded, header)._replace(is_turned=is_turned, converted_from=converted_from)

    def _encode(self, annotated: AnnotatedImage, encoded: bytes, header: ImageHeader) -> EncodedImage:
        grid, notes = _choose_grid(annotated, header)
        objects, broken = _check_boxes(annotated.objects, annotated, grid, self.broken_boxes)
        features = _image_features(annotated, encoded, header) | box_features(objects, grid) | self._more_features(annotated, objects, grid)
        texts = tuple([item.class_text for item in objects])
        record = encode_record(features)
        num_box_masks = count_box_masks(self.object_features, objects)
        said = (*annotated.notes, *notes)
        return EncodedImage(record, annotated.source_id, annotated.where, texts, broken, said, num_box_masks=num_box_masks)

    def _more_features(self, annotated: AnnotatedImage, objects: Sequence[AnnotatedObject], grid: Grid) -> dict[str, Feature]:
        features = extra_features(self.extra_features, objects)
        for key in self.object_features:
            if key in OBJECT_FEATURES:
                features[key] = OBJECT_FEATURES[key](objects, grid)
            elif key == schema.OBJECT_CLASS_LABEL:
                features[key] = int64_feature([self._label_id(item.class_text, item.where) for item in objects])
            elif key in _IMAGE_LABEL_KEYS:
                features |= self._image_label_features(annotated)
            elif key in KEYPOINT_KEYS:
                features |= keypoint_features(objects, grid)
            else:
                raise ValueError(f"no reader fills {key}")
        return features

    def _image_label_features(self, annotated: AnnotatedImage) -> dict[str, Feature]:
        """Labels that the map lacks are left out: Open Images labels images with 30 times as many classes as it has boxes for."""
        known = [self._knows(text) for text in annotated.image_labels]
        texts = list(compress(annotated.image_labels, known))
        return {
            schema.IMAGE_CLASS_TEXT: text_feature(texts),
            schema.IMAGE_CLASS_LABEL: int64_feature([self.label_map.id_of(text) for text in texts]),
            schema.IMAGE_CLASS_CONFIDENCE: float_feature(list(compress(annotated.image_label_confidences, known))),
        }

    def _knows(self, class_text: str) -> bool:
        try:
            return bool(self.label_map.id_of(class_text))
        except InputError:
            return False

    def _label_id(self, text: str, where: str) -> int:
        try:
            return self.label_map.id_of(text)
        except InputError as error:
            raise InputError(f"{where}: {error}: {self.label_map_name}") from None


def _read(annotated: AnnotatedImage) -> tuple[bytes, ImageHeader]:
    if annotated.size is not None and max(annotated.size) > _LARGEST_SIDE:
        raise InputError(f"{annotated.where}: says {annotated.size[1]}x{annotated.size[0]} pixels; no image has so many")
    if annotated.encoded is None:
        return read_image(annotated.path)
    try:
        return annotated.encoded, read_header(annotated.encoded)
    except InputError as error:
        raise InputError(f"{annotated.where}: {error}") from None


def _name_image(annotated: AnnotatedImage) -> str:
    return annotated.where if annotated.encoded is not None else str(annotated.path)


def _image_features(annotated: AnnotatedImage, encoded: bytes, header: ImageHeader) -> dict[str, Feature]:
    return {
        schema.IMAGE_HEIGHT: int64_feature([header.height]),
        schema.IMAGE_WIDTH: int64_feature([header.width]),
        schema.IMAGE_FILENAME: bytes_feature([annotated.filename.encode()]),
        schema.IMAGE_SOURCE_ID: bytes_feature([annotated.source_id.encode()]),
        schema.IMAGE_KEY_SHA256: bytes_feature([hashlib.sha256(encoded).hexdigest().encode()]),
        schema.IMAGE_ENCODED: large_bytes_feature(encoded),
        schema.IMAGE_FORMAT: text_feature([header.format]),
    }


def _choose_grid(annotated: AnnotatedImage, header: ImageHeader) -> tuple[Grid, tuple[str, ...]]:
    stored, notes = (header.height, header.width), ()
    size = annotated.size or stored
    if size != stored:
        said = f"{annotated.where}: says {size[1]}x{size[0]}, {annotated.path} has {header.width}x{header.height} pixels:"
        if size == (header.width, header.height):
            raise InputError(f"{said} one of them is turned by 90 degrees, so boxes cannot be placed; turn the image or its annotation")
        if not annotated.has_relative_boxes and is_same_shape(size, stored):
            notes = (f"{said} same shape, so the boxes were scaled to the image",)
        elif not annotated.has_relative_boxes:
            size, notes = stored, (f"{said} the boxes were taken as pixels of the image",)
    return Grid((1, 1) if annotated.has_relative_boxes else size, size, stored), notes


def _check_boxes(
    objects: Sequence[AnnotatedObject], annotated: AnnotatedImage, grid: Grid, broken_boxes: BrokenBoxes
) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
    height, width = grid.extent
    unit = "in shares of the image" if annotated.has_relative_boxes else f"image {width}x{height}"
    kept, messages = [], []
    for item in objects:
        problem = _find_problem(item.box, height, width)
        if problem is not None and annotated.has_relative_boxes:
            item = item._replace(box=_snap(item.box))
            problem = _find_problem(item.box, height, width)
        if problem is None:
            kept.append(item)
            continue
        box = f"xmin {item.box.x_min:g}, ymin {item.box.y_min:g}, xmax {item.box.x_max:g}, ymax {item.box.y_max:g}"
        message = f"{item.where}: box {problem} ({box}; {unit})"
        if broken_boxes == "error":
            raise InputError(message)
        clipped = _clip(item.box, height, width)
        if broken_boxes == "clip" and _find_problem(clipped, height, width) is None:
            kept.append(item._replace(box=clipped))
            messages.append(f"{message}: clipped")
        else:
            messages.append(f"{message}: left out")
    return tuple(kept), tuple(messages)


def _find_problem(box: PixelBox, height: float, width: float) -> str | None:
    y_min, x_min, y_max, x_max = box
    if 0 <= x_min < x_max <= width and 0 <= y_min < y_max <= height:
        if x_max > 1 or y_max > 1 or width == 1 or all(edge == int(edge) for edge in box):
            return None
        return "lies within the first pixel, as if its numbers were shares of the image"
    if not all(map(math.isfinite, box)):
        return "is not finite"
    if x_min > x_max or y_min > y_max:
        return "has its edges in the wrong order"
    if x_min == x_max or y_min == y_max:
        return "is empty"
    return "leaves the image"


def _snap(box: PixelBox) -> PixelBox:
    """Edges within rounding of the image's edges, in shares, put onto them."""
    return PixelBox(*[round(value) if -_ROUNDING < value < 0 or 1 < value < 1 + _ROUNDING else value for value in box])


def _clip(box: PixelBox, height: float, width: float) -> PixelBox:
    return PixelBox(max(box.y_min, 0.0), max(box.x_min, 0.0), min(box.y_max, height), min(box.x_max, width))
