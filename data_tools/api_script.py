"""What the scripts with the TF Object Detection API's names and flags share."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Source
from data_tools.arguments import count_cores
from data_tools.selection import Selection
from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError
from object_detection_ext.flag_parsing import parse_flags, usage_error

_EVERYTHING = Selection()


@dataclass(frozen=True)
class FilteringReader:
    """A reader that leaves out some of the objects and of the image-level labels."""

    read: Callable[[Any], AnnotatedImage]
    keeps: Callable[[AnnotatedObject], bool] | None = None
    label_texts: frozenset[str] | None = None  # image-level labels to keep

    def __call__(self, entry: object) -> AnnotatedImage:
        image = self.read(entry)
        if self.keeps is not None:
            image = image._replace(objects=tuple([item for item in image.objects if self.keeps(item)]))
        if self.label_texts is not None and image.image_labels:
            pairs = zip(image.image_labels, image.image_label_confidences, strict=True)
            kept = [pair for pair in pairs if pair[0] in self.label_texts]
            image = image._replace(image_labels=tuple([text for text, _ in kept]), image_label_confidences=tuple([c for _, c in kept]))
        return image


def define_num_workers(values: flags.FlagValues) -> None:
    """Adds our own flag to the script's."""
    flags.DEFINE_integer("num_workers", count_cores(), "Processes; default one a core.", lower_bound=1, flag_values=values)


def parse(values: flags.FlagValues, argv: Sequence[str] | None, usage: str, *, required: Sequence[str]) -> None:
    """Reads the flags; ends the process with code 2 where they are wrong or one of `required` is empty."""
    rest = parse_flags(values, argv, usage)
    if rest:
        usage_error(f"unexpected argument {rest[0]!r}")
    missing = [name for name in required if not values[name].value]
    if missing:
        usage_error(f"required: {', '.join('--' + name for name in missing)}")


def existing_path(values: flags.FlagValues, name: str) -> Path:
    """The file or folder that flag `name` means.

    Raises:
        InputError: there is none.
    """
    path = Path(values[name].value)
    if not path.exists():
        default = "" if values[name].present else f" (the default, relative to the current folder {Path.cwd()})"
        raise InputError(f"--{name} {path} does not exist{default}")
    return path


def write_records(
    source: Source,
    output: Path,
    values: flags.FlagValues,
    *,
    label_map: Path | None,
    num_shards: int | None = None,
    selection: Selection = _EVERYTHING,
) -> None:
    """Writes one set of records and prints its summary.

    Args:
        source: what to write.
        output: the file, or with `num_shards` the prefix of the shards.
        values: the script's flags.
        label_map: None writes one beside the records.
        num_shards: None for one file without a number. More than there are images leaves shards empty, as the API does, so that the names
            in configs fit.
        selection: what to take.
    """
    from data_tools.conversion_summary import report  # with the next, half the time of `--help`
    from data_tools.create_tf_record import create_tf_record
    from data_tools.write_options import WriteOptions

    start = time.monotonic()
    given: Mapping[str, object] = {name: values[name].value for name in values if values[name].present and values[name].name == name}
    options = WriteOptions(
        num_shards=num_shards or 1,
        allows_empty_shards=True,
        is_numbered=num_shards is not None,
        label_map=label_map,
        selection=selection,
        num_workers=values.num_workers,
        arguments={name: value for name, value in given.items() if name != "num_workers"},
    )
    report(create_tf_record(source, output, options), seconds=time.monotonic() - start)


def run_script(main: Callable[[], int]) -> int:
    """Runs `main` as a command; SIGTERM removes unfinished files, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(main)
