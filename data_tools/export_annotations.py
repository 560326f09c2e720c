"""Records back to annotations: `python -m data_tools.export_annotations --records FILE ... --label_map FILE --to coco --output DIR`.

What comes out is what training sees: the stored images, boxes in their pixels. A conversion can so be checked by going there and back.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from data_tools.annotated_image import Source
from data_tools.atomic_folder import atomic_folder
from data_tools.coco_writer import CocoWriter
from data_tools.exported_image import export_image
from data_tools.formats.tfrecord import read_record_files
from data_tools.formats.tfrecord_scan import read_texts
from data_tools.progress import progress
from data_tools.record_patterns import find_record_files
from data_tools.voc_writer import VocWriter
from object_detection_ext.command_line import run
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap, load_label_map

ExportFormat = Literal["coco", "voc"]

_LARGEST_ID = 1 << 63


@dataclass(frozen=True)
class ExportSummary:
    """What was written."""

    num_images: int
    num_objects: int
    notes: tuple[str, ...]  # what has no place in the format, and what was named otherwise


def export_annotations(records: Sequence[Path], label_map: Path, output: Path, *, to: ExportFormat) -> ExportSummary:
    """Writes the images of record files, and what they show, as a data set of another format.

    Args:
        records: files, prefixes of shards, globs or folders (`find_record_files`).
        label_map: of these records.
        output: a folder that is not there yet; it appears when all is written. COCO: `annotations/instances.json` and `images`, with the
            source ids as image ids if all are different whole numbers; VOC: `Annotations`, `JPEGImages` and `ImageSets/Main/all.txt`.
        to: the format.

    Raises:
        InputError: the records or the label map are wrong, or the output cannot be written; nothing was written then.
    """
    paths, classes = find_record_files(records), load_label_map(label_map)
    source = read_record_files(paths, classes)
    num_objects = 0
    with atomic_folder(output) as folder, _open_writer(to, folder, source, classes, paths) as writer:
        for entry in progress(source.entries, total=len(source.entries), label="exporting"):
            image = export_image(source.load(entry))
            writer.write(image)
            num_objects += len(image.objects)
    lost = [key for key in (*source.object_features, *source.extra_features) if key not in writer.features]
    notes = [f"the {to} format has no place for {', '.join(lost)}: left out"] if lost else []
    if writer.names.changed:
        recorded, name = writer.names.changed[0]
        notes.append(f"{len(writer.names.changed):,} images have another name than in their record, such as {name!r} for {recorded!r}")
    return ExportSummary(len(source.entries), num_objects, (*source.notes, *notes))


def _open_writer(to: ExportFormat, folder: Path, source: Source, label_map: LabelMap, paths: Sequence[Path]) -> CocoWriter | VocWriter:
    if to == "voc":
        return VocWriter(folder, has_occluded=schema.OBJECT_OCCLUDED in source.object_features)
    return CocoWriter(folder, label_map, _whole_numbers(read_texts(paths, schema.IMAGE_SOURCE_ID)))


def _whole_numbers(texts: Sequence[str]) -> list[int] | None:
    """The ids as numbers; None where one is none, or would be written otherwise, or two are the same."""
    if not all(text.isascii() and text.isdecimal() and len(text) < 20 and str(int(text)) == text for text in texts):
        return None
    numbers = [int(text) for text in texts]
    return numbers if len(set(numbers)) == len(numbers) and max(numbers) < _LARGEST_ID else None


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m data_tools.export_annotations", description="TFRecords back to annotated images.")
    parser.add_argument(
        "--records", required=True, nargs="+", type=Path, metavar="FILE", help="record files, prefixes of shards, patterns or folders"
    )
    parser.add_argument("--label_map", required=True, type=Path, metavar="FILE", help="label map of the records")
    parser.add_argument("--to", required=True, choices=get_args(ExportFormat), help="format")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="new folder for images and annotations")
    arguments = parser.parse_args(argv)
    summary = export_annotations(arguments.records, arguments.label_map, arguments.output, to=arguments.to)
    for note in summary.notes:
        print(note, file=sys.stderr)
    print(f"{summary.num_images:,} images with {summary.num_objects:,} objects in {arguments.output}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes the unfinished folder, as Ctrl-C does
    sys.exit(run(main))
