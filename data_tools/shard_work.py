"""One shard as a piece of work of its own: done anywhere, reported in a file, and put together to what a conversion in one go would say."""

from __future__ import annotations

import heapq
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import google_crc32c

from data_tools.conversion_plan import ConversionPlan
from data_tools.conversion_summary import Messages, SplitSummary, Summary
from data_tools.record_writer import ShardState
from data_tools.tf_record import EncodedImage, RecordEncoder
from object_detection_ext.errors import InputError


class ShardWork(NamedTuple):
    """What is to be done."""

    encoder: RecordEncoder
    positions: Sequence[int]  # of the entries, in the whole conversion
    entries: Sequence[Any]
    drops_images_without_objects: bool


class ImageError(NamedTuple):
    """What stopped a shard."""

    position: int  # of the entry, in the whole conversion
    message: str
    error_number: int | None  # None: the user's mistake, else the system's error
    filename: str | None

    def to_exception(self) -> Exception:
        """The exception that was raised."""
        return InputError(self.message) if self.error_number is None else OSError(self.error_number, self.message, self.filename)


@dataclass
class ShardReport:
    """What came of it."""

    state: ShardState = field(default_factory=lambda: ShardState(0, 0, 0))
    summary: Summary = field(default_factory=lambda: Summary([SplitSummary(None)]))
    source_ids: list[str] = field(default_factory=list)
    broken_box_positions: list[int] = field(default_factory=list)  # of the entry of each message that `summary` keeps
    note_positions: list[int] = field(default_factory=list)
    error: ImageError | None = None

    def add(self, image: EncodedImage, position: int, *, is_left_out: bool) -> None:
        """Counts one image."""
        self.source_ids.append(image.source_id)
        if is_left_out:
            self.summary.add_left_out(image)
        else:
            self.summary.add(image, 0)
        for messages, positions in ((self.summary.broken_boxes, self.broken_box_positions), (self.summary.notes, self.note_positions)):
            positions += [position] * (len(messages.kept) - len(positions))

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return vars(self) | {"summary": self.summary.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        error = content["error"] and ImageError(*content["error"])
        return cls(**{**content, "state": ShardState(*content["state"]), "summary": Summary.from_json(content["summary"]), "error": error})


def write_shard(work: ShardWork, path: Path) -> ShardReport:
    """Encodes the images of a shard in order and writes them to `path`, onto the disk; an error ends this and is reported."""
    report, checksum, num_records = ShardReport(), 0, 0
    with path.open("wb") as file:
        for position, entry in zip(work.positions, work.entries, strict=True):
            try:
                image = work.encoder(entry)
            except InputError as error:
                report.error = ImageError(position, str(error), None, None)
                break
            except OSError as error:
                report.error = ImageError(position, error.strerror or str(error), error.errno or 0, error.filename and str(error.filename))
                break
            is_left_out = work.drops_images_without_objects and not image.class_texts
            report.add(image, position, is_left_out=is_left_out)
            if not is_left_out:
                file.write(image.record)
                checksum = google_crc32c.extend(checksum, image.record)
                num_records += 1
        report.state = ShardState(num_records, file.tell(), checksum)
        file.flush()
        os.fsync(file.fileno())
    return report


def split_work(plan: ConversionPlan, *, drops_images_without_objects: bool) -> Iterator[ShardWork]:
    """The work of every shard, in the order of the shards."""
    positions: list[list[int]] = [[] for _ in plan.layout.shards]
    for position, shard in enumerate(plan.layout.shard_of):
        positions[shard].append(position)
    for own in positions:
        yield ShardWork(plan.encoder, own, [plan.entries[position] for position in own], drops_images_without_objects)


def merge_reports(plan: ConversionPlan, reports: Sequence[ShardReport]) -> Summary:
    """The summary of the whole conversion.

    Args:
        plan: what was converted.
        reports: one for each shard, in order.

    Raises:
        InputError, OSError: what would have stopped a conversion in the order of the entries first: an image, or one that comes twice.
    """
    _raise_first_error(plan, reports)
    summary = Summary([SplitSummary(name) for name in plan.layout.splits], outputs=plan.targets)
    for report, split in zip(reports, plan.layout.split_of_shard, strict=True):
        summary.splits[split].merge(report.summary.splits[0])
        summary.num_left_out += report.summary.num_left_out
    summary.notes.add(plan.notes)
    _merge_messages(summary.notes, [(each.note_positions, each.summary.notes) for each in reports])
    _merge_messages(summary.broken_boxes, [(each.broken_box_positions, each.summary.broken_boxes) for each in reports])
    return summary


def _merge_messages(messages: Messages, parts: Sequence[tuple[Sequence[int], Messages]]) -> None:
    """Adds the parts' messages in the order of the entries."""
    count = messages.count + sum(own.count for _, own in parts)
    in_order = heapq.merge(*(zip(positions, own.kept, strict=True) for positions, own in parts), key=lambda pair: pair[0])
    messages.add(message for _, message in in_order)
    messages.count = count


def _raise_first_error(plan: ConversionPlan, reports: Sequence[ShardReport]) -> None:
    errors = [report.error for report in reports if report.error is not None]
    first = min(errors, key=lambda error: error.position, default=None)
    done = [0] * len(reports)
    seen: dict[str, int] = {}
    for position, shard in enumerate(plan.layout.shard_of):
        if first is not None and position == first.position:
            raise first.to_exception()
        source_id = reports[shard].source_ids[done[shard]]
        done[shard] += 1
        if source_id in seen:
            image, earlier = (plan.encoder.load(plan.entries[place]) for place in (position, seen[source_id]))
            raise InputError(f"{image.where}: image {source_id!r} is annotated twice, first by {earlier.where}")
        seen[source_id] = position


def save_report(report: ShardReport, path: Path) -> None:
    """Writes a report, under a temporary name until it is whole."""
    draft = path.with_name(uuid.uuid4().hex)
    draft.write_text(json.dumps(report.to_json()))
    draft.replace(path)


def load_report(path: Path) -> ShardReport:
    """The inverse of `save_report`."""
    return ShardReport.from_json(json.loads(path.read_text()))
