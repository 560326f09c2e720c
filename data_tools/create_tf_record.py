"""Annotated images into TFRecords: `python -m data_tools.create_tf_record --format voc --images DIR --annotations DIR --output PREFIX`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from data_tools.annotated_image import AnnotatedImage, ReadOptions, Source
from data_tools.arguments import add_num_workers
from data_tools.format_table import FORMATS
from data_tools.parallel import ordered_map
from data_tools.progress import progress
from data_tools.shards import AtomicFiles, find_shards, label_map_path, shard_paths
from data_tools.tf_record import BrokenBoxes, EncodedImage, RecordEncoder
from data_tools.write_options import DEFAULT_OPTIONS, WriteOptions
from object_detection_ext.command_line import positive_int, run
from object_detection_ext.data.label_map import LabelMap, LabelMapItem, load_label_map
from object_detection_ext.errors import InputError

_MAX_MESSAGES = 50  # of one kind, in the report


@dataclass
class Summary:
    """What a conversion has written and what it had to say."""

    num_images: int = 0
    num_negatives: int = 0  # images without objects
    objects: Counter[str] = field(default_factory=Counter)  # by class text
    broken_boxes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)

    def add(self, image: EncodedImage) -> None:
        """Counts one image."""
        self.num_images += 1
        self.num_negatives += not image.class_texts
        self.objects.update(image.class_texts)
        self.broken_boxes += image.broken_boxes
        self.notes += image.notes


def create_tf_record(
    source: Source,
    output: Path,
    options: WriteOptions = DEFAULT_OPTIONS,
) -> Summary:
    """Writes the images of `source` to `OUTPUT-00000-of-0000N` and so on, image i to shard i modulo N: all shards, or none.

    Args:
        source: what a format's reader returned (`format_table.FORMATS`).
        output: the prefix of the shards; its folder is made.
        options: how to write.

    Raises:
        InputError: an annotation, an image, the label map or the output is wrong; nothing was written then.
    """
    num_images, num_shards, label_map = len(source.entries), options.num_shards, options.label_map
    if num_shards > num_images:
        raise InputError(f"--num_shards must be at most the number of images, {num_images}, got {num_shards}")
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; give a file name prefix such as {output / 'train.record'}")
    classes = load_label_map(label_map) if label_map else _derive_label_map(source, num_workers=options.num_workers)
    encoder = RecordEncoder(
        source.load, source.object_features, classes, str(label_map or "made from the annotations"), options.broken_boxes
    )
    targets = (shard_paths(output, num_shards) if options.is_numbered else [output]) + ([] if label_map else [label_map_path(output)])
    summary, places = Summary(notes=list(source.notes), outputs=targets), dict[str, str]()  # source id -> where it was annotated
    with AtomicFiles(output, targets) as files:
        encoded = ordered_map(encoder, source.entries, num_workers=options.num_workers)
        with contextlib.closing(progress(encoded, total=num_images, label="converting")) as images:
            for index, image in enumerate(images):
                if image.source_id in places:
                    raise InputError(f"{image.where}: image {image.source_id!r} is annotated twice, first by {places[image.source_id]}")
                places[image.source_id] = image.where
                files.write(index % num_shards, image.record)
                summary.add(image)
        if not label_map:
            classes.save(files.partial_path(num_shards))
        files.commit()
    others = [path for path in find_shards(output) if path not in targets]
    if others:
        summary.notes.append(
            f"{len(others)} shards of an earlier run, such as {others[0]}, stand beside the new ones: mind your glob patterns"
        )
    return summary


def _derive_label_map(source: Source, *, num_workers: int) -> LabelMap:
    if source.class_ids is not None:
        by_id = sorted(source.class_ids.items(), key=lambda item: item[1])
        if by_id and by_id[0][1] < 1:
            name, id_ = by_id[0]
            raise InputError(f"category {name!r} has id {id_}, but label ids start at 1 (0 is background); give a --label_map")
        return LabelMap(tuple(LabelMapItem(id=id_, name=name, display_name=name) for name, id_ in by_id))
    read = ordered_map(functools.partial(_class_names, source.load), source.entries, num_workers=num_workers)
    names = set[str]().union(*progress(read, total=len(source.entries), label="reading classes"))
    if not names:
        raise InputError("the annotations hold no object, so that no label map can be made from them; give a --label_map")
    return LabelMap.from_names(sorted(names))


def _name_of(label_map: Path | None) -> str:
    return str(label_map) if label_map else "made from the annotations"


def _class_names(load: Callable[[Any], AnnotatedImage], entry: object) -> set[str]:
    return {item.class_text for item in load(entry).objects}


def report(summary: Summary, *, seconds: float) -> None:
    """Prints the messages on stderr and the summary on stdout."""
    for messages in (summary.notes, summary.broken_boxes):
        for message in messages[:_MAX_MESSAGES]:
            print(message, file=sys.stderr)
        if len(messages) > _MAX_MESSAGES:
            print(f"... and {len(messages) - _MAX_MESSAGES:,} more like this", file=sys.stderr)
    print(f"{summary.num_images:,} images, {summary.num_negatives:,} of them without objects, in {seconds:.1f} s")
    classes = ", ".join(f"{name} {count:,}" for name, count in summary.objects.most_common())
    print(textwrap.fill(f"{summary.objects.total():,} objects: {classes or 'none'}", 120, subsequent_indent="  "))
    print(f"{len(summary.broken_boxes):,} broken boxes")
    for path in summary.outputs:
        print(path)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = _parse_arguments(argv)
    start = time.monotonic()
    if not arguments.images.is_dir():
        raise InputError(f"--images {arguments.images} is not a folder")
    source = FORMATS[arguments.format].read(ReadOptions(arguments.images, arguments.annotations, arguments.split_file))
    summary = create_tf_record(
        source,
        arguments.output,
        WriteOptions(
            num_shards=arguments.num_shards,
            label_map=arguments.label_map,
            broken_boxes=arguments.broken_boxes,
            num_workers=arguments.num_workers,
        ),
    )
    report(summary, seconds=time.monotonic() - start)
    return 0


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_tools.create_tf_record", description="Annotated images into TFRecord shards.")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="annotation format")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="folder of images (JPEG, PNG)")
    annotations_help = "; ".join(f"{name}: {format.annotations_help}" for name, format in FORMATS.items())
    parser.add_argument("--annotations", required=True, type=Path, metavar="PATH", help=annotations_help)
    parser.add_argument("--split_file", type=Path, metavar="FILE", help="only these images, one id a line (voc: ImageSets/Main/*.txt)")
    parser.add_argument("--label_map", type=Path, metavar="FILE", help="label map; without it one is written beside the records")
    parser.add_argument("--output", required=True, type=Path, metavar="PREFIX", help="shards become PREFIX-00000-of-0000N")
    parser.add_argument("--num_shards", type=positive_int, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--broken_boxes", choices=get_args(BrokenBoxes), default="drop", help="boxes that are empty or leave the image; default drop"
    )
    add_num_workers(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes the unfinished files, as Ctrl-C does
    sys.exit(run(main))
