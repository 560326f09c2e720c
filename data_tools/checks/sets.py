"""One set as a whole: whether there is enough in it, twice the same, or more in an image than training and evaluation take."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import islice

import numpy as np

from data_tools.checks.near_copies import find_near_repeats, fingerprint_table
from data_tools.checks.scanned_set import ScannedSet
from data_tools.checks.summary import ReaderSummary
from object_detection_ext.findings import Check, Finding, Severity

NO_RECORDS = Check("no_records", Severity.ERROR, "a set without a single record", "write the records again, or name other files")
NO_OBJECTS = Check("no_objects", Severity.ERROR, "a set without a single object", "write the records again with their annotations")
NEGATIVES = Check(
    "images_without_objects",
    Severity.INFO,
    "images without objects: they teach what is background",
    "nothing, if nothing is to be found in them",
)
RARE_CLASS = Check(
    "rare_class",
    Severity.WARNING,
    "a class with fewer than 20 objects to train on",
    "annotate more, merge it with another class, or do not expect it to be found",
)
UNUSED_CLASS = Check(
    "unused_class",
    Severity.WARNING,
    "classes of the label map without an object to train on",
    "annotate some, or take the classes out of the label map",
)
CLASS_IMBALANCE = Check(
    "class_imbalance",
    Severity.WARNING,
    "a class with 50 times as many objects as another",
    "annotate more of the rare class, or name files that hold it twice in input_path to draw them twice as often",
)
DUPLICATE_IMAGE = Check(
    "duplicate_image",
    Severity.WARNING,
    "the same encoded image twice in a set",
    "remove one (do their boxes agree?), or let --fix keep the first",
)
NEAR_COPIES = Check(
    "near_copy_in_set",
    Severity.INFO,
    "images of a set that are nearly another one of it: re-encoded, resized, neighbouring frames of a video",
    "count scenes instead of images when you judge how much there is to learn from, and keep each scene in one split "
    "(data_tools.create_tf_record --group_by)",
)
DUPLICATE_SOURCE_ID = Check(
    "duplicate_source_id",
    Severity.WARNING,
    "a source id that another image of the set has: the API's evaluation counts such images once",
    "give every image an id of its own; data_tools.create_tf_record does",
)
NO_SOURCE_ID = Check(
    "no_source_id",
    Severity.INFO,
    "records without image/source_id and image/filename: no message can name the image",
    "write the records with image/source_id",
)
TOO_MANY_BOXES = Check(
    "too_many_boxes",
    Severity.WARNING,
    "images with more boxes than train_input_reader.max_number_of_boxes: the rest is not taught, but as background",
    "raise max_number_of_boxes of train_input_reader (100 by default; that of train_config has no effect)",
)
TOO_FEW_DETECTIONS = Check(
    "too_few_detections",
    Severity.WARNING,
    "images with more objects than max_total_detections lets be found: recall cannot reach 1",
    "raise max_total_detections, and max_detections_per_class with it; COCO's metrics look at 100 detections an image in any case",
)
CHECKS = (
    NO_RECORDS,
    NO_OBJECTS,
    NEGATIVES,
    RARE_CLASS,
    UNUSED_CLASS,
    CLASS_IMBALANCE,
    DUPLICATE_IMAGE,
    NEAR_COPIES,
    DUPLICATE_SOURCE_ID,
    NO_SOURCE_ID,
    TOO_MANY_BOXES,
    TOO_FEW_DETECTIONS,
)

RARE = 20  # objects: fewer than a class of a small set needs to be seen in a handful of places
IMBALANCE = 50  # times as many
_MAX_NAMED = 3  # near copies


def check_set(scanned: ScannedSet, *, teaches: bool) -> Iterator[Finding]:
    """Yields what is wrong with a set, whatever the config says; `teaches` for one that is trained on."""
    summary = scanned.summary
    where = _words(summary)
    if not summary.num_images:
        yield NO_RECORDS(where, f"the {summary.name} set has no image")
        return
    if not len(summary.boxes):
        yield NO_OBJECTS(where, f"none of the {summary.num_images:,} images of the {summary.name} set has an object")
        return
    empty = np.flatnonzero((summary.num_boxes == 0) & scanned.is_readable)
    if len(empty):
        first = scanned.image_name(int(empty[0]))
        yield NEGATIVES(where, f"{len(empty):,} of {summary.num_images:,} images have no object, the first is {first}")
    yield from _check_identity(scanned)
    if teaches:
        yield from _check_class_counts(scanned, where)


def check_box_limit(scanned: ScannedSet, *, limit: int, check: Check, limit_name: str) -> Iterator[Finding]:
    """Yields one finding where images have more boxes than `limit`; `check` is TOO_MANY_BOXES or TOO_FEW_DETECTIONS."""
    counts = scanned.summary.num_boxes
    above = np.flatnonzero(counts > limit)
    if len(above):
        most = int(np.argmax(counts))
        place, name = scanned.summary.place(most), scanned.summary.image_names[most]
        message = f"{len(above):,} images have more than {limit} boxes ({limit_name}), the most has {counts[most]:,}"
        yield check(place, message, image=name, record=place)


def repeated_images(scanned: ScannedSet) -> dict[int, int]:
    """Each image whose encoded bytes an earlier one has, with the first of these."""
    return _repeated(scanned.digests)


def _check_identity(scanned: ScannedSet) -> Iterator[Finding]:
    summary = scanned.summary
    copies = repeated_images(scanned)
    for image, first in copies.items():
        place, name = summary.place(image), summary.image_names[image]
        yield DUPLICATE_IMAGE(place, f"the image is that of {scanned.image_name(first)}", image=name, record=place)
    for image, first in _repeated(scanned.source_ids).items():
        if image not in copies:  # said above, and one mistake
            place = summary.place(image)
            message = f"source id {scanned.source_ids[image]!r} belongs to {scanned.image_name(first)} too"
            yield DUPLICATE_SOURCE_ID(place, message, image=scanned.source_ids[image], record=place)
    yield from _check_near_copies(scanned, copies)
    nameless = [image for image, name in enumerate(summary.image_names) if not name and scanned.is_readable[image]]
    if nameless:
        place = summary.place(nameless[0])
        yield NO_SOURCE_ID(place, f"{len(nameless):,} records have neither source id nor file name", record=place)


def _check_near_copies(scanned: ScannedSet, exact: Collection[int]) -> Iterator[Finding]:
    """One finding for all near copies of earlier images; `exact` are copies that are told elsewhere."""
    kept = [None if image in exact else each for image, each in enumerate(scanned.fingerprints)]
    found = find_near_repeats(fingerprint_table(kept))
    if found:
        pairs = [f"{scanned.image_name(image)} of {scanned.image_name(first)}" for image, first in islice(found.items(), _MAX_NAMED)]
        more = f" and {len(found) - len(pairs):,} more" if len(found) > len(pairs) else ""
        message = f"{len(found):,} of {scanned.summary.num_images:,} images are near copies of earlier ones: {', '.join(pairs)}{more}"
        first = next(iter(found))
        yield NEAR_COPIES(_words(scanned.summary), message, record=scanned.summary.place(first))


def _check_class_counts(scanned: ScannedSet, where: str) -> Iterator[Finding]:
    summary = scanned.summary
    counts = summary.class_counts
    for name, count in counts.items():
        if count < RARE:
            yield RARE_CLASS(where, f"class {name!r} has {count} object{'s' * (count != 1)} in the {summary.name} set")
    present = set(summary.class_ids.tolist())
    unused = [name for class_id, name in summary.class_names.items() if class_id not in present]
    if unused:
        listed = ", ".join(repr(name) for name in unused[:10]) + (f" and {len(unused) - 10} more" if len(unused) > 10 else "")
        yield UNUSED_CLASS(where, f"no object in the {summary.name} set for {listed}")
    largest, smallest = next(iter(counts.items())), list(counts.items())[-1]
    if largest[1] >= IMBALANCE * smallest[1]:
        yield CLASS_IMBALANCE(where, f"{largest[0]!r} has {largest[1]:,} objects, {smallest[0]!r} {smallest[1]:,}")


def _words(summary: ReaderSummary) -> str:
    """The files of a set, or the folder of its images."""
    if summary.is_record_set or not summary.paths:
        return ", ".join(summary.paths[:3]) + (", ..." if len(summary.paths) > 3 else "")
    return os.path.commonpath([os.path.dirname(path) for path in summary.paths])


def _repeated(keys: Iterable[Hashable]) -> dict[int, int]:
    first: dict[Hashable, int] = {}
    repeated: dict[int, int] = {}
    for index, key in enumerate(keys):
        if key and first.setdefault(key, index) != index:
            repeated[index] = first[key]
    return repeated
