"""One image of an annotated source folder -> an Observation, as `record_scan` does for records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_tools.annotated_image import AnnotatedImage
from data_tools.checks.boxes import check_boxes, find_problems
from data_tools.checks.classes import NamedClass
from data_tools.checks.image_inspection import ImageInspection, inspect_image
from data_tools.checks.images import WRONG_SIZE, check_image
from data_tools.checks.label_map import split_place
from data_tools.checks.observation import Failure, Observation
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, RecordPlace, Severity

BAD_ANNOTATION = Check(
    "bad_annotation",
    Severity.ERROR,
    "an annotation that cannot be read, or whose image file is missing",
    "correct the place that is named; data_tools.create_tf_record stops at it",
)
CHECKS = (BAD_ANNOTATION,)


@dataclass(frozen=True)
class SourceScanner:
    """Reads and checks one entry of a source; boxes are judged in shares of the image, as records will hold them."""

    load: Callable[[Any], AnnotatedImage]

    def __call__(self, entry: object) -> Observation | Failure:
        try:
            annotated = self.load(entry)
            encoded = annotated.encoded if annotated.encoded is not None else annotated.path.read_bytes()
        except InputError as error:
            return Failure(BAD_ANNOTATION(*split_place(error)))
        except OSError as error:
            return Failure(BAD_ANNOTATION(error.filename or "", f"cannot be read: {error.strerror or error}"))
        return _observe(annotated, inspect_image(encoded))


def _observe(annotated: AnnotatedImage, seen: ImageInspection) -> Observation:
    place = RecordPlace(str(annotated.path), 0)
    height, width = _frame(annotated, seen)
    edges = np.array([item.box for item in annotated.objects], np.float64).reshape(-1, 4)
    with np.errstate(over="ignore"):  # a coordinate beyond float32 becomes infinite, and is found
        boxes = (edges / np.array([height, width, height, width])).astype(np.float32)
    classes = tuple(NamedClass(None, item.class_text) for item in annotated.objects)
    problems = find_problems(boxes, classes)
    places = tuple(item.where for item in annotated.objects)
    box_findings = check_boxes(
        boxes,
        problems,
        input_size=(float(seen.height), float(seen.width)) if seen.height else None,
        classes=[item.class_text for item in annotated.objects],
        place=place,
        where=places,
        image=annotated.filename,
    )
    return Observation(
        place=place,
        name=annotated.filename,
        source_id=annotated.source_id,
        size=(seen.height, seen.width),
        boxes=boxes,
        classes=classes,
        object_places=places,
        is_crowd=np.array([item.is_crowd for item in annotated.objects], bool),
        is_sound=problems.sound,
        digest=seen.digest,
        fingerprint=seen.fingerprint,
        findings=(*_check_image(annotated, seen, place), *box_findings),
    )


def _frame(annotated: AnnotatedImage, seen: ImageInspection) -> tuple[int, int]:
    """Height and width in which the boxes are given."""
    if annotated.has_relative_boxes:
        return 1, 1
    return annotated.size or (max(seen.height, 1), max(seen.width, 1))


def _check_image(annotated: AnnotatedImage, seen: ImageInspection, place: RecordPlace) -> Iterator[Finding]:
    yield from check_image(seen, place=place, where=annotated.path, image=annotated.filename)
    stored = (seen.height, seen.width)
    if annotated.size is not None and seen.height and annotated.size not in (stored, stored[::-1]):
        height, width = annotated.size
        message = f"the annotation says {width}x{height} pixels, the image has {seen.width}x{seen.height}"
        yield WRONG_SIZE(annotated.where, message, image=annotated.filename, record=place)
