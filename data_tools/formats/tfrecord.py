"""Records that exist: an API data set as a source, to be split, filtered, cut into other shards or given other classes.

Boxes, keypoints, masks and all other features that the API knows are kept, and floats of the data set's own with one value an object.
Features that are neither are named in a note. Class ids are those of the label map and, of classes that it lacks, the labels that the
records have throughout.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, Keypoint, PixelBox, ReadOptions, Source
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.options import refuse_unused
from data_tools.formats.tfrecord_classes import NO_LABEL_MAP, complete_label_map
from data_tools.formats.tfrecord_scan import RecordEntry, scan_records
from data_tools.image_header import read_header
from data_tools.masks import check_mask_memory, png_to_mask
from data_tools.record_file import read_record_at
from data_tools.record_patterns import find_record_files, is_record_name
from data_tools.tf_example import masked_crc, parse_example
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_FLAGS = {  # key -> field of AnnotatedObject
    schema.OBJECT_DIFFICULT: "is_difficult",
    schema.OBJECT_TRUNCATED: "is_truncated",
    schema.OBJECT_OCCLUDED: "is_occluded",
    schema.OBJECT_DEPICTION: "is_depiction",
    schema.OBJECT_IS_CROWD: "is_crowd",
    schema.OBJECT_GROUP_OF: "is_group_of",
}
_FLOATS = {schema.OBJECT_AREA: "area", schema.OBJECT_WEIGHT: "weight"}
_BOX = (schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX)
_KEYPOINTS = (
    schema.OBJECT_KEYPOINT_X,
    schema.OBJECT_KEYPOINT_Y,
    schema.OBJECT_KEYPOINT_VISIBILITY,
    schema.OBJECT_KEYPOINT_TEXT,
    schema.OBJECT_KEYPOINT_NUM,
)
_IMAGE_LABELS = (schema.IMAGE_CLASS_TEXT, schema.IMAGE_CLASS_LABEL, schema.IMAGE_CLASS_CONFIDENCE)
_MADE_ANEW = (  # by the encoder, from the image and the objects
    schema.IMAGE_ENCODED,
    schema.IMAGE_FORMAT,
    schema.IMAGE_HEIGHT,
    schema.IMAGE_WIDTH,
    schema.IMAGE_FILENAME,
    schema.IMAGE_SOURCE_ID,
    schema.IMAGE_KEY_SHA256,
    schema.OBJECT_CLASS_TEXT,
    schema.OBJECT_CLASS_LABEL,
)
_KEPT = (*_FLAGS, *_FLOATS, schema.OBJECT_VIEW, schema.OBJECT_MASK)
_TYPE_NAMES = {float: "floats", int: "int64", bytes: "bytes"}


def read_tfrecord(options: ReadOptions) -> Source:
    """Lists the records of a data set; its label map gives names to labels without a text, and the ids.

    Args:
        options: `images` is a record file, a prefix of shards, a glob pattern or a folder; `annotations` the label map of these records, or
            the same as `images` where there is none.

    Raises:
        InputError: no file matches, a file is damaged, a record is no tf.Example, the label map is wrong or not that of the records.
    """
    if options.include_masks or options.include_keypoints:
        raise InputError("the tfrecord format keeps the masks and keypoints of records without --include_masks and --include_keypoints")
    refuse_unused(options, "tfrecord")
    label_map = NO_LABEL_MAP if options.annotations == options.images else load_label_map(options.annotations)
    return read_record_files(find_record_files([options.images]), label_map)


def read_record_files(paths: Sequence[Path], label_map: LabelMap) -> Source:
    """Lists the records of files.

    Raises:
        InputError: a file is damaged, a record is no tf.Example, there is no record, or a class's text and label belong together
            in one place and not in another.
    """
    scan = scan_records(paths)
    if not scan.entries:
        raise InputError(f"{paths[0]} has no record")
    extras = tuple(sorted(key for key in scan.object_floats if key not in (*_BOX, *_FLOATS, *_KEYPOINTS)))
    features = [key for key in _KEPT if key in scan.num_records and key not in extras] + [schema.OBJECT_CLASS_LABEL]
    features += [schema.OBJECT_KEYPOINT_X] if schema.OBJECT_KEYPOINT_X in scan.num_records else []
    if not scan.num_records.keys().isdisjoint(_IMAGE_LABELS[:2]):
        features += _IMAGE_LABELS
    kept = {*features, *extras, *_BOX, *_KEYPOINTS, *_IMAGE_LABELS, *_MADE_ANEW}
    lost = [f"{key} (in {number:,})" for key, number in sorted(scan.num_records.items()) if key not in kept]
    notes = (f"{paths[0]}: features that are not kept, of {len(scan.entries):,} records: {', '.join(lost)}",) if lost else ()
    label_map = complete_label_map(label_map, scan.class_labels)
    items = {item.name: item for item in label_map.items}
    class_ids = {item.name: item.id for item in label_map.items} or None
    keypoints = {item.name: item.keypoints for item in label_map.items if item.keypoints}
    reader = RecordReader(label_map, tuple(features), extras)
    return Source(scan.entries, reader, tuple(features), class_ids, extras, notes, keypoints, items)


def _recognise(folder: Path) -> ReadOptions | None:
    """Record files of one data set, and at most one label map beside them.

    Raises:
        InputError: there are records of several data sets, or several label maps.
    """
    records = [path for path in sorted(folder.iterdir()) if is_record_name(path.name) and _starts_like_records(path)]
    prefixes = dict.fromkeys(path.name.rsplit("-", 3)[0] if "-of-" in path.name else path.name for path in records)
    label_maps = sorted(folder.glob("*.pbtxt"))
    if not records:
        return None
    if len(prefixes) > 1 or len(label_maps) > 1:
        found = ", ".join([*prefixes, *(path.name for path in label_maps)])
        raise InputError(f"{folder} holds several record sets or label maps: {found}; choose with --images and --annotations")
    prefix = folder / next(iter(prefixes))
    return ReadOptions(prefix, label_maps[0] if label_maps else prefix)


def _starts_like_records(path: Path) -> bool:
    head = first_bytes(path)[:12]
    return len(head) == 12 and masked_crc(head[:8]) == head[8:]


@dataclass(frozen=True)
class RecordReader:
    """Turns one record into an AnnotatedImage, with boxes in shares of the image as records have them."""

    label_map: LabelMap
    features: tuple[str, ...]  # that the data set has
    extras: tuple[str, ...]

    def __call__(self, entry: RecordEntry) -> AnnotatedImage:
        payload = read_record_at(entry.path, entry.position)
        try:
            return self._read(_Record(parse_example(payload)), entry)
        except InputError as error:
            raise InputError(f"{entry} at byte {entry.position.offset}: {error}") from None

    def _read(self, record: _Record, entry: RecordEntry) -> AnnotatedImage:
        encoded = record.values(schema.IMAGE_ENCODED, bytes)
        if len(encoded) != 1:
            raise InputError(f"{schema.IMAGE_ENCODED} must be one image, got {len(encoded)}")
        filename = record.text(schema.IMAGE_FILENAME) or f"{entry.path.name}-{entry.position.number}"
        source_id = record.text(schema.IMAGE_SOURCE_ID) or filename
        labels = self._read_labels(record, schema.IMAGE_CLASS_TEXT, schema.IMAGE_CLASS_LABEL)
        confidences = record.parallel(schema.IMAGE_CLASS_CONFIDENCE, float, len(labels)) or [1.0] * len(labels)
        return AnnotatedImage(
            entry.path,
            filename,
            source_id,
            record.size(),
            self._read_objects(record, str(entry), encoded[0]),
            str(entry),
            image_labels=tuple(labels),
            image_label_confidences=tuple(confidences),
            encoded=encoded[0],
            has_relative_boxes=True,
        )

    def _read_objects(self, record: _Record, where: str, encoded: bytes) -> tuple[AnnotatedObject, ...]:
        columns = [record.values(key, float) for key in _BOX]
        number = len(columns[0])
        if any(len(column) != number for column in columns):
            raise InputError(f"ymin, xmin, ymax, xmax of the boxes differ in number: {', '.join(str(len(column)) for column in columns)}")
        names = self._read_labels(record, schema.OBJECT_CLASS_TEXT, schema.OBJECT_CLASS_LABEL)
        if len(names) != number:
            raise InputError(f"{len(names)} classes for {number} boxes")
        boxes = [PixelBox(*edges) for edges in zip(*columns, strict=True)]
        fields = self._read_fields(record, number)
        pngs = record.parallel(schema.OBJECT_MASK, bytes, number)
        if pngs:
            fields["mask"] = _read_masks(pngs, encoded)
        return tuple(
            AnnotatedObject(name, box, f"{where}: object {index} ({name})", **{field: values[index] for field, values in fields.items()})
            for index, (name, box) in enumerate(zip(names, boxes, strict=True))
        )

    def _read_fields(self, record: _Record, number: int) -> dict[str, Sequence[Any]]:
        """The other fields of AnnotatedObject, where the record has them."""
        fields: dict[str, Sequence[Any]] = {}
        for key, field in _FLAGS.items():
            if key in self.features:
                fields[field] = [bool(value) for value in record.parallel(key, int, number)]
        for key, field in _FLOATS.items():
            fields[field] = record.parallel(key, float, number)
        fields["view"] = [_decode(value, schema.OBJECT_VIEW) for value in record.parallel(schema.OBJECT_VIEW, bytes, number)]
        if schema.OBJECT_KEYPOINT_X in self.features:
            fields["keypoints"] = self._read_keypoints(record, number)
        columns = [record.parallel(key, float, number) or [0.0] * number for key in self.extras]
        fields["extras"] = list(zip(*columns, strict=True))
        return {field: values for field, values in fields.items() if len(values) == number}

    def _read_keypoints(self, record: _Record, number: int) -> list[tuple[Keypoint, ...]]:
        x = record.values(schema.OBJECT_KEYPOINT_X, float)
        if not x or not number:
            return []
        if len(x) % number:
            raise InputError(f"{schema.OBJECT_KEYPOINT_X} has {len(x)} values for {number} objects, which must have as many each")
        each = len(x) // number
        y = record.values(schema.OBJECT_KEYPOINT_Y, float)
        if len(y) != len(x):
            raise InputError(f"{schema.OBJECT_KEYPOINT_Y} has {len(y)} values for {len(x)} of {schema.OBJECT_KEYPOINT_X}")
        visibility = record.parallel(schema.OBJECT_KEYPOINT_VISIBILITY, int, len(x)) or [2] * len(x)
        texts = [_decode(value, schema.OBJECT_KEYPOINT_TEXT) for value in record.parallel(schema.OBJECT_KEYPOINT_TEXT, bytes, len(x))]
        names = texts or [str(index % each) for index in range(len(x))]
        points = [
            Keypoint(*values) if math.isfinite(values[1]) and math.isfinite(values[2]) else Keypoint(values[0], 0.0, 0.0, 0)
            for values in zip(names, y, x, visibility, strict=True)
        ]
        return [tuple(points[start : start + each]) for start in range(0, len(x), each)]

    def _read_labels(self, record: _Record, text_key: str, label_key: str) -> list[str]:
        """Class names: the texts, as the label map writes them, or where there is none the names of the labels."""
        texts = [_decode(value, text_key) for value in record.values(text_key, bytes)]
        labels = record.parallel(label_key, int, len(texts)) if texts else record.values(label_key, int)
        if not texts:
            texts = [""] * len(labels)
        return [self._name(text, labels[index] if labels else None) for index, text in enumerate(texts)]

    def _name(self, text: str, label: int | None) -> str:
        if text:
            try:
                return self._names_by_id[self.label_map.id_of(text)]
            except InputError:
                return text  # whoever writes it may have another label map
        if label is None or label not in self._names_by_id:
            raise InputError(f"the class label {label} is not in the label map, and there is no text for it")
        return self._names_by_id[label]

    @functools.cached_property
    def _names_by_id(self) -> Mapping[int, str]:
        return {item.id: item.name for item in self.label_map.items}


@dataclass(frozen=True)
class _Record:
    """The features of one record, read by type."""

    features: Mapping[str, list[Any]]

    def values(self, key: str, kind: type) -> list[Any]:
        values = self.features.get(key, [])
        if values and not isinstance(values[0], kind):
            raise InputError(f"{key} must hold {_TYPE_NAMES[kind]}, got {_TYPE_NAMES[type(values[0])]}")
        return values

    def parallel(self, key: str, kind: type, number: int) -> list[Any]:
        """As many values as objects, or none."""
        values = self.values(key, kind)
        if len(values) not in (0, number):
            raise InputError(f"{key} has {len(values)} values, where there must be {number}")
        return values

    def text(self, key: str) -> str:
        values = self.values(key, bytes)
        return _decode(values[0], key) if values else ""

    def size(self) -> tuple[int, int] | None:
        """Height and width as recorded; None where they are not."""
        height, width = self.values(schema.IMAGE_HEIGHT, int), self.values(schema.IMAGE_WIDTH, int)
        return (height[0], width[0]) if height and width and height[0] > 0 and width[0] > 0 else None


def _read_masks(pngs: Sequence[bytes], encoded: bytes) -> list[np.ndarray]:
    header = read_header(encoded)
    check_mask_memory(len(pngs), (header.height, header.width), where=schema.OBJECT_MASK)
    return [png_to_mask(png, largest=header.height * header.width) for png in pngs]


def _decode(value: bytes, key: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InputError(f"{key} is not a text in UTF-8: {value[:80]!r}") from None


FORMAT = Format(read_tfrecord, _recognise, has_image_folder=False, needs_annotations=False)
