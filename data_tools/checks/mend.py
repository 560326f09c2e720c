"""One record -> the record with what can be mended in it mended, or nothing, with a line for each change."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from data_tools.checks.boxes import find_problems
from data_tools.checks.feature_lists import FeatureLists, encode_lists, keep_objects
from data_tools.checks.image_inspection import ImageInspection, inspect_image
from data_tools.checks.images import is_for_turned
from data_tools.checks.label_map import spoken
from data_tools.checks.record_features import BOX_KEYS, TYPES, find_length_problem, read_features
from data_tools.checks.record_scan import RecordItem
from data_tools.record_file import read_record_at
from data_tools.tf_example import frame_record, parse_example
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError
from object_detection_ext.findings import RecordPlace

_JPEG_QUALITY = 95
_ROW_SLACK = 1.5  # pixels that an annotation in pixels may reach beyond the image, being rounded or counted from 1


class MendItem(NamedTuple):
    """One record to mend."""

    record: RecordItem
    drop: str = ""  # why it is left out, which only the whole set tells; "" to keep it


class MendedRecord(NamedTuple):
    """What becomes of a record."""

    frame: bytes | None  # as it stands in a TFRecord file; None where it is left out
    changes: tuple[str, ...]  # in words; none where the record is as it was
    name: str


@dataclass(frozen=True)
class Mender:
    """Mends one record; what is as it should be keeps its bytes.

    Left out: records that are damaged or whose lists differ in length, images that do not decode, boxes that are broken, empty or
    outside, and the second of two equal boxes. Clipped: boxes that leave the image. Divided: boxes in pixels. Corrected: labels by the
    text and the map, texts by the map's spelling, the image's recorded size, format and digest. Converted to JPEG or PNG: images that
    TensorFlow or the API refuses, and CMYK. Turned: images whose recorded size is that of the turned image.
    """

    label_map: LabelMap | None = None

    def __call__(self, item: MendItem) -> MendedRecord:
        path, position = item.record
        place = RecordPlace(path, position.number)
        try:
            payload = read_record_at(Path(path), position)
            features = parse_example(payload)
        except (InputError, OSError) as error:
            return MendedRecord(None, (f"left out: {error}",), "")
        name = read_features(payload, place)[0].name
        if item.drop:
            return MendedRecord(None, (f"left out: {item.drop}",), name)
        work = _Work(features, place)
        reason = work.mend_types() or find_length_problem(work.features) or work.mend_image()
        if reason:
            return MendedRecord(None, (f"left out: {reason}",), name)
        work.mend_classes(self.label_map)  # before the boxes: two names of one class may hide that a box is there twice
        work.mend_boxes()
        mended = encode_lists(work.features) if work.changes else payload
        return MendedRecord(frame_record(mended), tuple(work.changes), name)


@dataclass
class _Work:
    features: FeatureLists
    place: RecordPlace
    changes: list[str] = field(default_factory=list)

    def mend_types(self) -> str:
        """Numbers of the wrong kind become the right one; the reason to leave the record out where that cannot be."""
        for key, values in list(self.features.items()):
            wanted = TYPES.get(key)
            if not values or wanted is None or type(values[0]) is wanted:
                continue
            if wanted is bytes or isinstance(values[0], bytes):
                return f"{key} is of a type that cannot be converted"
            if wanted is int and any(value != round(value) for value in values if np.isfinite(value)):
                return f"{key} holds numbers that are not whole"
            if not all(map(np.isfinite, values)):
                return f"{key} holds numbers that are not finite"
            self.features[key] = [wanted(value) for value in values]
            self.changes.append(f"{key} converted to {wanted.__name__}")
        return ""

    def mend_image(self) -> str:
        """Converts and turns the image, corrects what is recorded of it; the reason to leave the record out where it does not decode."""
        encoded = next(iter(self.features.get(schema.IMAGE_ENCODED, ())), b"")
        if not encoded:
            return "it has no image"
        seen = inspect_image(encoded)
        if seen.problem:
            return f"its image cannot be decoded: {seen.problem}"
        record = read_features(encode_lists(self.features), self.place)[0]
        is_turned = is_for_turned(record, seen) and not self.features.get(schema.OBJECT_MASK)
        if is_turned or seen.refusal or not seen.is_portable or seen.mode == "CMYK":
            encoded = _encode_again(encoded, seen, turns=is_turned)
            seen = inspect_image(encoded)
            self.features[schema.IMAGE_ENCODED] = [encoded]
            self.changes.append(f"image {'turned and ' if is_turned else ''}stored as {seen.format.upper()}")
        self._correct_recorded(seen)
        return ""

    def _correct_recorded(self, seen: ImageInspection) -> None:
        digest = hashlib.sha256(self.features[schema.IMAGE_ENCODED][0]).hexdigest().encode()
        right = {
            schema.IMAGE_HEIGHT: seen.height,
            schema.IMAGE_WIDTH: seen.width,
            schema.IMAGE_FORMAT: seen.format.encode(),
            schema.IMAGE_KEY_SHA256: digest,
        }
        sizes = [self.features.get(key) for key in (schema.IMAGE_HEIGHT, schema.IMAGE_WIDTH)]
        for key, value in right.items():
            recorded = self.features.get(key)
            is_size = key in (schema.IMAGE_HEIGHT, schema.IMAGE_WIDTH)
            if recorded == [value] or not (recorded or (is_size and any(sizes))):
                continue
            self.features[key] = [value]
            shown = "corrected" if key == schema.IMAGE_KEY_SHA256 else f"{recorded[0]!r} -> {value!r}" if recorded else f"{value!r} added"
            self.changes.append(f"{key} {shown}")

    def mend_boxes(self) -> None:
        """Divides, clips and leaves out boxes."""
        columns = [self.features.get(key, []) for key in BOX_KEYS]
        boxes = np.array(columns, np.float32).T.reshape(-1, 4)
        if not len(boxes):
            return
        boxes = self._divide(boxes)
        labels = self.features.get(schema.OBJECT_CLASS_LABEL) or [None] * len(boxes)
        texts = self.features.get(schema.OBJECT_CLASS_TEXT) or [b""] * len(boxes)
        classes = list(zip(labels, texts, strict=True))
        problems = find_problems(boxes, classes)
        clipped = problems.outside & ~problems.beyond
        boxes[clipped] = np.clip(boxes[clipped], 0, 1)
        kept = problems.sound & ~find_problems(boxes, classes).double
        reasons = ("not_finite", "inverted", "in_pixels", "empty", "beyond")
        for index in np.flatnonzero(~kept | clipped).tolist():
            words = next((name.replace("_", " ") for name in reasons if getattr(problems, name)[index]), "double")
            self.changes.append(f"object {index}: box clipped to the image" if kept[index] else f"object {index} left out: box {words}")
        for key, column in zip(BOX_KEYS, boxes.T.tolist(), strict=True):
            self.features[key] = column
        if not kept.all():
            self.features = keep_objects(self.features, np.flatnonzero(kept).tolist())

    def _divide(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes in shares of the image where all of them are in pixels of it; else as they are."""
        seen_size = [self.features.get(key) for key in (schema.IMAGE_HEIGHT, schema.IMAGE_WIDTH)]
        finite = boxes[np.isfinite(boxes).all(1)]
        if not all(seen_size) or not len(finite):
            return boxes
        height, width = (values[0] for values in seen_size if values)
        extent = np.array([height, width], np.float32)
        is_pixels = (finite[:, 2:] > 2).all() and (finite >= -_ROW_SLACK).all() and (finite[:, 2:] <= extent + _ROW_SLACK).all()
        if not is_pixels:
            return boxes
        self.changes.append(f"{len(boxes)} boxes in pixels divided by the image's size")
        return np.clip(boxes / np.tile(extent, 2), 0, 1)

    def mend_classes(self, label_map: LabelMap | None) -> None:
        """Gives texts the spelling of the map, and labels the id of their text."""
        texts = self.features.get(schema.OBJECT_CLASS_TEXT)
        if label_map is None or not texts:
            return
        ids = {item.display_name: item.id for item in label_map.items if item.display_name} | {
            item.name: item.id for item in label_map.items
        }
        names = _unique_spellings(ids)
        labels = self.features.get(schema.OBJECT_CLASS_LABEL)
        new_texts, new_labels = list(texts), list(labels or ())
        for index, encoded in enumerate(texts):
            text = encoded.decode(errors="replace")
            right = text if text in ids else names.get(spoken(text))
            if right is None or not text:
                continue
            if right != text:
                new_texts[index] = right.encode()
                self.changes.append(f"object {index}: class text {text!r} -> {right!r}")
            if labels and labels[index] != ids[right]:
                new_labels[index] = ids[right]
                self.changes.append(f"object {index} ({right}): class label {labels[index]} -> {ids[right]}")
        self.features[schema.OBJECT_CLASS_TEXT] = new_texts
        if labels:
            self.features[schema.OBJECT_CLASS_LABEL] = new_labels


def _unique_spellings(ids: dict[str, int]) -> dict[str, str]:
    """The one name of each spelling that a person would not tell apart; none where two ids have it."""
    names: dict[str, str] = {}
    clashing = set[str]()
    for name, id_ in ids.items():
        key = spoken(name)
        if ids[names.setdefault(key, name)] != id_:
            clashing.add(key)
    return {key: name for key, name in names.items() if key not in clashing}


def _encode_again(encoded: bytes, seen: ImageInspection, *, turns: bool) -> bytes:
    with warnings.catch_warnings(), Image.open(io.BytesIO(encoded)) as image:
        warnings.simplefilter("ignore")
        upright = ImageOps.exif_transpose(image) if turns else image.copy()
        upright.info.pop("exif", None)
        buffer = io.BytesIO()
        if seen.format == "jpeg":
            kept = upright if upright.mode == "L" else upright.convert("RGB")
            kept.save(buffer, "JPEG", quality=_JPEG_QUALITY, icc_profile=None if image.mode == "CMYK" else image.info.get("icc_profile"))
        else:
            kept = upright if upright.mode in ("L", "RGB") else upright.convert("RGB")
            kept.save(buffer, "PNG")
    return buffer.getvalue()
