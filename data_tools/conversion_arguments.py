"""The flags of `create_tf_record`, and what they mean."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from data_tools.annotated_image import ReadOptions
from data_tools.arguments import add_num_workers
from data_tools.format_table import ANNOTATIONS_HELP, FORMATS
from data_tools.image_groups import NameGroups
from data_tools.orientation import ExifBoxes
from data_tools.recognition import recognise
from data_tools.selection import Selection
from data_tools.splits import Splits, parse_splits
from data_tools.tf_record import BrokenBoxes
from data_tools.write_options import WriteOptions
from object_detection_ext.command_line import natural_int, positive_int
from object_detection_ext.errors import InputError

_AUTO = "auto"
# Not in the manifest: where it lies says the output, and the records do not depend on the others.
_NOT_RECORDED = ("output", "num_workers", "resume")


def parse_arguments(argv: Sequence[str] | None, *, program: str = "create_tf_record", epilog: str | None = None) -> argparse.Namespace:
    """Reads the flags; ends the process with code 2 where they are wrong."""
    description = "Annotated images into TFRecord shards."
    parser = argparse.ArgumentParser(prog=f"python -m data_tools.{program}", description=description, epilog=epilog)
    _add_reading(parser)
    _add_choice(parser)
    _add_splitting(parser)
    _add_writing(parser)
    arguments = parser.parse_args(argv)
    needs_annotations = arguments.format == _AUTO or FORMATS[arguments.format].needs_annotations
    if arguments.input is None and (arguments.images is None or (arguments.annotations is None and needs_annotations)):
        parser.error("give --input DIR, or --images and --annotations")
    if arguments.input is not None and (arguments.images is not None or arguments.annotations is not None):
        parser.error("--input finds images and annotations; give it alone, or --images and --annotations")
    if arguments.input is None and arguments.format == _AUTO:
        parser.error("--images and --annotations need a --format")
    if arguments.group_by is not None and arguments.split is None:
        parser.error("--group_by needs --split")
    return arguments


def choose_format(arguments: argparse.Namespace) -> tuple[str, ReadOptions]:
    """The name in `FORMATS` that was given or recognised, and what the format's reader is told.

    Raises:
        InputError: there is no such folder, or no format, or more than one, that fits.
    """
    if arguments.input is not None:
        name, found = _recognise(arguments.input, arguments.format)
    else:
        if FORMATS[arguments.format].has_image_folder and not arguments.images.is_dir():
            raise InputError(f"--images {arguments.images} is not a folder")
        name, found = arguments.format, ReadOptions(arguments.images, arguments.annotations or arguments.images)
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(ReadOptions)}
    more = {key: value for key, value in given.items() if key not in ("images", "annotations") and value}
    return name, dataclasses.replace(found, **more)


def write_options(arguments: argparse.Namespace, format_name: str, reading: ReadOptions) -> WriteOptions:
    """The flags that say how to write; the manifest gets them all, with what was recognised."""
    selection = Selection(
        classes=tuple(arguments.classes or ()),
        excluded_classes=tuple(arguments.exclude_classes or ()),
        renamed_classes=arguments.rename_classes or {},
        drops_images_without_objects=arguments.drop_images_without_objects,
        sample=arguments.sample,
        seed=arguments.seed,
    )
    splits = dataclasses.replace(arguments.split, group_by=arguments.group_by, seed=arguments.seed) if arguments.split else None
    recorded = {key: _plain(value) for key, value in vars(arguments).items() if value and key not in _NOT_RECORDED}
    recorded |= {"format": format_name, "images": str(reading.images), "annotations": str(reading.annotations)}
    paths = [getattr(reading, field.name) for field in dataclasses.fields(reading) if field.name != "images"]
    return WriteOptions(
        num_shards=arguments.num_shards or 1,
        shard_megabytes=arguments.shard_megabytes,
        label_map=arguments.label_map,
        broken_boxes=arguments.broken_boxes,
        exif_boxes=arguments.exif_boxes,
        verify_images=arguments.verify_images,
        selection=selection,
        splits=splits,
        writes_manifest=not arguments.no_manifest,
        resumes=arguments.resume,
        num_workers=arguments.num_workers,
        arguments=recorded,
        inputs=tuple(path for path in paths if isinstance(path, Path)),
    )


def _recognise(folder: Path, name: str) -> tuple[str, ReadOptions]:
    if not folder.is_dir():
        raise InputError(f"--input {folder} is not a folder")
    names = sorted(FORMATS) if name == _AUTO else [name]
    found, options = recognise(folder, names, flag="--input", instead="name the parts with --format, --images and --annotations")
    if name == _AUTO:
        print(f"recognised {found}: images in {options.images}, annotations in {options.annotations}", file=sys.stderr)
    return found, options


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is read")
    group.add_argument(
        "--format", default=_AUTO, choices=[_AUTO, *sorted(FORMATS)], help="annotation format; auto (default): as --input shows"
    )
    group.add_argument("--input", type=Path, metavar="DIR", help="a data set whose layout shows where images and annotations are")
    group.add_argument("--images", type=Path, metavar="DIR", help="folder of images, if not --input; tfrecord: files, as in train.record")
    annotations = "; ".join(f"{name}: {text}" for name, text in ANNOTATIONS_HELP.items())
    group.add_argument("--annotations", type=Path, metavar="PATH", help=annotations)
    group.add_argument("--split_file", type=Path, metavar="FILE", help="only these images, one id a line (voc: ImageSets/Main/*.txt)")
    group.add_argument("--include_masks", action="store_true", help="write masks, where the format has them")
    group.add_argument("--include_keypoints", action="store_true", help="write keypoints, where the format has them")
    group.add_argument("--image_labels", type=Path, metavar="FILE", help="Open Images: CSV of image-level labels")
    group.add_argument("--class_descriptions", type=Path, metavar="FILE", help="Open Images: CSV of label codes and names")
    group.add_argument(
        "--hierarchy", type=Path, metavar="FILE", help="Open Images: JSON of classes and their parts, to add an object's parents"
    )
    group.add_argument("--verify_images", action="store_true", help="decode every image and stop at a broken one; slower")
    group.add_argument(
        "--exif_boxes",
        choices=get_args(ExifBoxes),
        default="auto",
        help="which pixels of an image with an EXIF orientation its boxes were drawn on; auto (default): as its size there tells",
    )
    group.add_argument(
        "--broken_boxes", choices=get_args(BrokenBoxes), default="drop", help="boxes that are empty or leave the image; default drop"
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is taken of it")
    classes = group.add_mutually_exclusive_group()
    classes.add_argument("--classes", type=_names, metavar="A,B", help="only these classes")
    classes.add_argument("--exclude_classes", type=_names, metavar="A,B", help="all classes but these")
    group.add_argument(
        "--rename_classes", type=_renames, metavar="OLD=NEW,...", help="before they are chosen; classes of one new name are merged"
    )
    group.add_argument("--drop_images_without_objects", action="store_true", help="by default they are kept: they teach what is background")
    group.add_argument("--sample", type=_sample, metavar="N", help="so many images, or a share of them such as 0.1, drawn by --seed")
    group.add_argument("--seed", type=natural_int, default=0, metavar="N", help="of --sample and --split; default 0")


def _add_splitting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("splits")
    group.add_argument(
        "--split",
        type=_splits,
        metavar="NAME=SHARE,...",
        help="train=0.8,val=0.1,test=0.1: every class close to its share in each; equal images stay together",
    )
    group.add_argument(
        "--group_by",
        type=_name_groups,
        metavar="REGEX",
        help="images whose file names match alike (in the first bracket, if there is one) stay in one split; folder: those of one folder",
    )


def _add_writing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument("--output", required=True, type=_prefix, metavar="PREFIX", help="shards become PREFIX-00000-of-0000N; see --split")
    group.add_argument("--label_map", type=Path, metavar="FILE", help="label map; without it one is written beside the records")
    number = group.add_mutually_exclusive_group()
    number.add_argument("--num_shards", type=positive_int, metavar="N", help="of all splits, which get their share of them; default 1")
    number.add_argument(
        "--shard_megabytes", type=_megabytes, metavar="MB", help="about so many million bytes a shard, instead of a number of them"
    )
    group.add_argument("--no_manifest", action="store_true", help="write no PREFIX_manifest.json of counts and checksums")
    group.add_argument(
        "--resume", action="store_true", help="go on where the same command was stopped; if this one is, keep what is finished"
    )
    add_num_workers(parser)


def _prefix(text: str) -> Path:
    if text.endswith("/"):
        raise argparse.ArgumentTypeError(f"must be a file name prefix such as {text}train.record, got the folder {text}")
    return Path(text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between them, got {text!r}")
    return names


def _renames(text: str) -> dict[str, str]:
    pairs = [[name.strip() for name in part.split("=")] for part in text.split(",")]
    if not all(len(pair) == 2 and all(pair) for pair in pairs) or len({pair[0] for pair in pairs}) < len(pairs):
        raise argparse.ArgumentTypeError(f"must be OLD=NEW,OLD=NEW with every OLD once, got {text!r}")
    return dict(pairs)


def _sample(text: str) -> int | float:
    try:
        value = int(text) if text.isdecimal() else float(text)
        return Selection(sample=value).sample or 0
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 or a share between 0 and 1, got {text!r}") from None


def _megabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _splits(text: str) -> Splits:
    try:
        return Splits(*parse_splits(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _name_groups(text: str) -> NameGroups:
    try:
        return NameGroups(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _plain(value: object) -> object:
    """As JSON has it."""
    if isinstance(value, Splits):
        return dict(zip(value.names, value.shares, strict=True))
    if isinstance(value, NameGroups):
        return value.pattern
    return str(value) if isinstance(value, Path) else value
