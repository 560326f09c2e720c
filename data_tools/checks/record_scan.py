"""One record -> an Observation: read, parsed, decoded and checked in a worker process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_tools.checks.boxes import check_boxes, find_problems
from data_tools.checks.classes import NamedClass
from data_tools.checks.image_inspection import ImageInspection, inspect_image
from data_tools.checks.images import MISSING_IMAGE, check_image, check_record_of_image
from data_tools.checks.input_size import InputSize, stored_size
from data_tools.checks.observation import Observation
from data_tools.checks.record_features import NO_FEATURES, RecordFeatures, read_features
from data_tools.record_file import RecordPosition, read_record_at, record_positions
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, RecordPlace, Severity

DAMAGED_RECORD = Check(
    "damaged_record",
    Severity.ERROR,
    "a file that ends within a record, is compressed or no TFRecord file, or a record whose checksum does not fit",
    "write the file again, or copy it again from where it came from; --fix keeps the records that are whole",
)
CHECKS = (DAMAGED_RECORD,)


class RecordItem(NamedTuple):
    """One record to scan."""

    path: str
    position: RecordPosition


def list_records(path: str, *, limit: int | None = None) -> tuple[list[RecordItem], tuple[Finding, ...]]:
    """The records of a TFRecord file up to the first head that is damaged, and that as a finding; at most the first `limit`."""
    items: list[RecordItem] = []
    try:
        items.extend(RecordItem(path, position) for position in itertools.islice(record_positions(Path(path)), limit))
    except InputError as error:
        return items, (DAMAGED_RECORD(f"{path}: record {len(items)}", str(error)),)
    return items, ()


@dataclass(frozen=True)
class RecordScanner:
    """Reads and checks one record; never raises for what the record holds.

    Attributes:
        input_size: what the network sees of an image; the stored size without a config.
        with_images: decodes the image too, which is most of the time.
    """

    input_size: InputSize = stored_size
    with_images: bool = True

    def __call__(self, item: RecordItem) -> Observation:
        path, position = item
        place = RecordPlace(path, position.number)
        try:
            payload = read_record_at(Path(path), position)
        except (InputError, OSError) as error:
            return Observation(place, position.offset, is_readable=False, findings=(DAMAGED_RECORD(place, str(error), record=place),))
        record, findings = read_features(payload, place)
        if record is NO_FEATURES:
            return Observation(place, position.offset, is_readable=False, findings=findings)
        seen = inspect_image(record.encoded) if self.with_images and record.encoded else None
        size = (seen.height, seen.width) if seen else (0, 0)
        classes = tuple(map(NamedClass, record.labels, record.texts))
        problems = find_problems(record.boxes, classes)
        recorded = (record.height or 0, record.width or 0)
        height, width = size if min(size) > 0 else recorded
        box_findings = check_boxes(
            record.boxes,
            problems,
            input_size=self.input_size(height, width) if height > 0 and width > 0 else None,
            unit="pixels" if self.input_size is stored_size else "pixels at the training size",
            classes=[class_words(each) for each in classes],
            place=place,
            image=record.name,
        )
        return Observation(
            place=place,
            offset=position.offset,
            name=record.name,
            source_id=record.source_id,
            size=size,
            boxes=record.boxes,
            classes=classes,
            is_crowd=np.array(record.is_crowd, bool),
            is_sound=problems.sound,
            digest=seen.digest if seen else b"",
            fingerprint=seen.fingerprint if seen else None,
            is_readable=not findings,
            findings=(*findings, *_check_image(record, seen, place), *box_findings),
        )


def class_words(named: NamedClass) -> str:
    """How messages call the class of an object."""
    if named.text:
        return named.text
    return "no class" if named.label is None else f"label {named.label}"


def _check_image(record: RecordFeatures, seen: ImageInspection | None, place: RecordPlace) -> Iterator[Finding]:
    if not record.encoded:
        yield MISSING_IMAGE(place, "image/encoded is empty or missing", image=record.name, record=place)
    elif seen is not None:
        yield from check_image(seen, place=place, where=place, image=record.name)
        yield from check_record_of_image(record, seen, place=place)
