"""AnnotatedImage -> tf.Example -> one framed record, with every box checked on the way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox
from data_tools.image_file import ImageHeader, read_image
from data_tools.tf_example import bytes_feature, encode_example, float_feature, frame_record, int64_feature, text_feature
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError

BrokenBoxes = Literal["drop", "clip", "error"]

_MAX_ASPECT_ERROR = 0.01  # an annotation of the same picture at another size has its aspect ratio up to rounding


class EncodedImage(NamedTuple):
    """One framed record, and what its conversion had to say."""

    record: bytes
    source_id: str
    where: str
    class_texts: tuple[str, ...]  # of the objects written
    broken_boxes: tuple[str, ...]  # one message each
    notes: tuple[str, ...]  # other messages


class Frame(NamedTuple):
    """The pixel grid that boxes are given on; differs from the stored image where that was resized after annotation."""

    height: int
    width: int


@dataclass(frozen=True)
class RecordEncoder:
    """Reads one entry of a source and encodes it; equal input gives equal bytes.

    Raises (when called):
        InputError: the annotation or the image is wrong, a class is not in the label map, or, with `broken_boxes="error"`, a box is broken.
    """

    load: Callable[[Any], AnnotatedImage]
    object_features: tuple[str, ...]
    label_map: LabelMap
    label_map_name: str  # for messages: where the map comes from
    broken_boxes: BrokenBoxes = "drop"

    def __call__(self, entry: object) -> EncodedImage:
        annotated = self.load(entry)
        encoded, header = read_image(annotated.path)
        frame, notes = _choose_frame(annotated, header)
        objects, broken = _check_boxes(annotated.objects, frame, self.broken_boxes)
        features = _image_features(annotated, encoded, header)
        features |= self._object_features(objects, frame, area_scale=header.height * header.width / (frame.height * frame.width))
        record = frame_record(encode_example(features))
        texts = tuple(item.class_text for item in objects)
        return EncodedImage(record, annotated.source_id, annotated.where, texts, broken, notes)

    def _object_features(self, objects: Sequence[AnnotatedObject], frame: Frame, *, area_scale: float) -> dict[str, bytes]:
        height, width = frame
        features = {
            schema.OBJECT_XMIN: float_feature([item.box.x_min / width for item in objects]),
            schema.OBJECT_XMAX: float_feature([item.box.x_max / width for item in objects]),
            schema.OBJECT_YMIN: float_feature([item.box.y_min / height for item in objects]),
            schema.OBJECT_YMAX: float_feature([item.box.y_max / height for item in objects]),
            schema.OBJECT_CLASS_TEXT: text_feature([item.class_text for item in objects]),
        }
        more: dict[str, Callable[[], bytes]] = {
            schema.OBJECT_CLASS_LABEL: lambda: int64_feature([self._label_id(item) for item in objects]),
            schema.OBJECT_DIFFICULT: lambda: int64_feature([item.is_difficult for item in objects]),
            schema.OBJECT_TRUNCATED: lambda: int64_feature([item.is_truncated for item in objects]),
            schema.OBJECT_VIEW: lambda: text_feature([item.view for item in objects]),
            schema.OBJECT_IS_CROWD: lambda: int64_feature([item.is_crowd for item in objects]),
            schema.OBJECT_AREA: lambda: float_feature([item.area * area_scale for item in objects]),
        }
        return features | {key: more[key]() for key in self.object_features}

    def _label_id(self, item: AnnotatedObject) -> int:
        try:
            return self.label_map.id_of(item.class_text)
        except InputError as error:
            raise InputError(f"{item.where}: {error}: {self.label_map_name}") from None


def _image_features(annotated: AnnotatedImage, encoded: bytes, header: ImageHeader) -> dict[str, bytes]:
    return {
        schema.IMAGE_HEIGHT: int64_feature([header.height]),
        schema.IMAGE_WIDTH: int64_feature([header.width]),
        schema.IMAGE_FILENAME: bytes_feature([annotated.filename.encode()]),
        schema.IMAGE_SOURCE_ID: bytes_feature([annotated.source_id.encode()]),
        schema.IMAGE_KEY_SHA256: bytes_feature([hashlib.sha256(encoded).hexdigest().encode()]),
        schema.IMAGE_ENCODED: bytes_feature([encoded]),
        schema.IMAGE_FORMAT: text_feature([header.format]),
    }


def _choose_frame(annotated: AnnotatedImage, header: ImageHeader) -> tuple[Frame, tuple[str, ...]]:
    stored = Frame(header.height, header.width)
    if annotated.size is None or annotated.size == stored:
        return stored, ()
    height, width = annotated.size
    said = f"{annotated.where}: says {width}x{height}, {annotated.path} has {header.width}x{header.height} pixels"
    if (width, height) == stored:
        raise InputError(f"{said}: one of them is turned by 90 degrees, so the boxes cannot be placed; turn the image or its annotation")
    if abs(width * header.height / (height * header.width) - 1) < _MAX_ASPECT_ERROR:
        return Frame(height, width), (f"{said}: same shape, so the boxes were scaled to the image",)
    return stored, (f"{said}: the boxes were taken as pixels of the image",)


def _check_boxes(
    objects: Sequence[AnnotatedObject], frame: Frame, broken_boxes: BrokenBoxes
) -> tuple[tuple[AnnotatedObject, ...], tuple[str, ...]]:
    kept, messages = [], []
    for item in objects:
        problem = _find_problem(item.box, frame)
        if problem is None:
            kept.append(item)
            continue
        box = f"xmin {item.box.x_min:g}, ymin {item.box.y_min:g}, xmax {item.box.x_max:g}, ymax {item.box.y_max:g}"
        message = f"{item.where}: box {problem} ({box}; image {frame.width}x{frame.height})"
        if broken_boxes == "error":
            raise InputError(message)
        clipped = _clip(item.box, frame)
        if broken_boxes == "clip" and _find_problem(clipped, frame) is None:
            kept.append(item._replace(box=clipped))
            messages.append(f"{message}: clipped")
        else:
            messages.append(f"{message}: left out")
    return tuple(kept), tuple(messages)


def _find_problem(box: PixelBox, frame: Frame) -> str | None:
    if 0 <= box.x_min < box.x_max <= frame.width and 0 <= box.y_min < box.y_max <= frame.height:
        return None
    if not all(map(math.isfinite, box)):
        return "is not finite"
    if box.x_min > box.x_max or box.y_min > box.y_max:
        return "has its edges in the wrong order"
    if box.x_min == box.x_max or box.y_min == box.y_max:
        return "is empty"
    return "leaves the image"


def _clip(box: PixelBox, frame: Frame) -> PixelBox:
    return PixelBox(max(box.y_min, 0.0), max(box.x_min, 0.0), min(box.y_max, frame.height), min(box.x_max, frame.width))
