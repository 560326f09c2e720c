"""One pass over data sets: every record or annotated image is read, decoded and checked once, by several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_tools.annotated_image import Source
from data_tools.checks.classes import check_classes
from data_tools.checks.input_size import InputSize, stored_size
from data_tools.checks.label_map import NamedAt, check_names, names_in
from data_tools.checks.observation import Failure, Observation
from data_tools.checks.record_scan import RecordItem, RecordScanner, list_records
from data_tools.checks.scanned_set import ScannedSet, SetBuilder
from data_tools.checks.sets import TOO_FEW_DETECTIONS, TOO_MANY_BOXES, check_box_limit, check_set
from data_tools.checks.source_scan import SourceScanner
from data_tools.checks.splits import SharedImages, check_splits, shared_images
from data_tools.checks.summary import DataSummary
from data_tools.parallel import ordered_map
from data_tools.progress import progress
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.findings import FindingCollector

TRAIN, EVAL = "train", "eval"


@dataclass(frozen=True)
class RecordSet:
    """Record files that are read as one set."""

    name: str  # TRAIN, EVAL, or another for a set that is checked by itself
    paths: tuple[str, ...]
    label_map: LabelMap | None = None
    label_map_path: str = ""  # with a path but without a map: one that cannot be read, which was said

    @property
    def needs_ids(self) -> bool:
        """Whether a text without an id is a mistake of its own."""
        return self.label_map is not None or not self.label_map_path


@dataclass(frozen=True)
class ScanSettings:
    """What a config says that the data are judged by; without a config, the defaults."""

    num_classes: int | None = None
    max_boxes: int | None = None  # of an image to train on
    max_detections: int | None = None  # of an image of evaluation
    input_size: InputSize = stored_size


@dataclass(frozen=True, eq=False)
class Scan:
    """What a pass has seen, and what was found."""

    sets: tuple[ScannedSet, ...]
    shared: SharedImages | None  # of TRAIN and EVAL, where both are there
    findings: FindingCollector
    seconds: float

    def summary(self) -> DataSummary:
        """What others work on; findings that are added later are not in it."""
        return DataSummary(tuple(scanned.summary for scanned in self.sets), self.findings.groups(), self.seconds)


def scan_records(
    record_sets: Sequence[RecordSet], settings: ScanSettings, *, findings: FindingCollector | None = None, num_workers: int = 1
) -> Scan:
    """Reads every record of the sets once.

    Args:
        record_sets: at most one of each name.
        settings: what the config says.
        findings: takes what is found, beside what it holds already.
        num_workers: processes; the result does not depend on it.
    """
    start = time.monotonic()
    findings = findings or FindingCollector()
    items, sizes = list[RecordItem](), list[int]()
    for record_set in record_sets:
        before = len(items)
        for path in dict.fromkeys(record_set.paths):
            listed, damage = list_records(path)
            items += listed
            findings.add(damage)
        sizes.append(len(items) - before)
    seen = _map(RecordScanner(settings.input_size), items, num_workers=num_workers)
    scanned = []
    for record_set, size in zip(record_sets, sizes, strict=True):
        builder = SetBuilder(record_set.name, record_set.label_map)
        for _ in range(size):
            _add(builder, next(seen), findings)
        scanned.append(builder.build(record_set.paths))
    next(seen, None)  # ends the progress line
    shared = _check_sets(scanned, record_sets, settings, findings)
    names = [name for each in record_sets if each.label_map for name in names_in(each.label_map, each.label_map_path)]
    _check_names(names, scanned, findings)
    return Scan(tuple(scanned), shared, findings, time.monotonic() - start)


def scan_source(
    source: Source,
    *,
    label_map: LabelMap | None = None,
    label_map_path: str = "",
    findings: FindingCollector | None = None,
    num_workers: int = 1,
) -> Scan:
    """Reads every image of an annotated folder once, as `scan_records` does records."""
    start = time.monotonic()
    findings = findings or FindingCollector()
    builder = SetBuilder("source", label_map, is_record_set=False)
    for seen in _map(SourceScanner(source.load), source.entries, num_workers=num_workers):
        _add(builder, seen, findings)
    scanned = builder.build()
    findings.add(check_classes(scanned.classes, label_map=label_map, num_classes=None, needs_ids=False))
    findings.add(check_set(scanned, teaches=True))
    _check_names(list(names_in(label_map, label_map_path)) if label_map else [], [scanned], findings)
    return Scan((scanned,), None, findings, time.monotonic() - start)


def _map(scanner: Callable[[Any], Observation | Failure], items: Sequence[Any], *, num_workers: int) -> Iterator[Observation | Failure]:
    return progress(ordered_map(scanner, items, num_workers=num_workers), total=len(items), label="checking")


def _add(builder: SetBuilder, seen: Observation | Failure, findings: FindingCollector) -> None:
    if isinstance(seen, Failure):
        findings.add((seen.finding,))
    else:
        findings.add(seen.findings)
        builder.add(seen)


def _check_sets(
    scanned: Sequence[ScannedSet], record_sets: Sequence[RecordSet], settings: ScanSettings, findings: FindingCollector
) -> SharedImages | None:
    by_name = {each.summary.name: each for each in scanned}
    for each, record_set in zip(scanned, record_sets, strict=True):
        ids = {"num_classes": settings.num_classes, "needs_ids": record_set.needs_ids}
        findings.add(check_classes(each.classes, label_map=each.label_map, **ids))
        findings.add(check_set(each, teaches=each.summary.name != EVAL))
    train, evaluation = by_name.get(TRAIN), by_name.get(EVAL)
    if train and settings.max_boxes is not None:
        findings.add(check_box_limit(train, limit=settings.max_boxes, check=TOO_MANY_BOXES, limit_name="max_number_of_boxes"))
    if evaluation and settings.max_detections is not None:
        findings.add(
            check_box_limit(evaluation, limit=settings.max_detections, check=TOO_FEW_DETECTIONS, limit_name="max_total_detections")
        )
    if train is None or evaluation is None:
        return None
    shared = shared_images(train, evaluation)
    findings.add(check_splits(train, evaluation, shared))
    return shared


def _check_names(names: list[NamedAt], scanned: Sequence[ScannedSet], findings: FindingCollector) -> None:
    for each in scanned:
        names += [NamedAt(text, str(seen.where)) for (_, text), seen in each.classes.seen.items() if text]
    findings.add(check_names(names))
