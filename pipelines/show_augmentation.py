"""Draws one training record as training sees it: as it is, then as the config's augmentation makes it in the first epochs.

    python -m pipelines.show_augmentation --pipeline_config_path pipeline.config --output augmentation.png

Every picture is the network's input, resized and padded, with its boxes. The draws are those of `model_main_tf2.py --seed SEED`, at the
steps that their captions name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from export.quiet import quiet_tensorflow
from object_detection_ext.command_line import natural_int, positive_int, run
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    from object_detection_ext.types import Example
    from pipelines.augmented_record import AugmentedRecord
    from pipelines.picture_table import Cell

SUFFIXES = (".jpeg", ".jpg", ".png")

_STEP_SIZE = 400  # pixels of the longer side of a picture between two steps, at most


class ShowOptions(NamedTuple):
    """What the command line says."""

    pipeline_config_path: str
    output: str
    record: str | None = None
    number: int | None = None  # of the record; --index
    source_id: str | None = None
    num_draws: int = 8
    seed: int | None = None
    each_step: bool = False
    config_override: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.show_augmentation",
        description="Draws one training record as it is and as the config's augmentation makes it, at the network's size.",
    )
    parser.add_argument("--pipeline_config_path", required=True, metavar="F", help="its train_input_reader names the records")
    parser.add_argument("--output", required=True, metavar="FILE", help="the picture to write: .png or .jpg")
    parser.add_argument("--record", metavar="F", help="TFRecord file or pattern to take the record from, instead of the train reader's")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--index", dest="number", type=natural_int, metavar="N", help="number of the record, from 0 over all files (0)")
    which.add_argument("--source_id", metavar="ID", help="the record with this source id (or file name)")
    parser.add_argument("--num_draws", type=positive_int, default=8, metavar="N", help="augmented pictures, one an epoch (%(default)s)")
    parser.add_argument("--seed", type=natural_int, metavar="S", help="of the training run (train_config.seed)")
    parser.add_argument("--each_step", action="store_true", help="a row a draw, with the picture after each step")
    parser.add_argument("--config_override", default="", metavar="TEXT", help="text of a pipeline.config merged over the file")
    return show(ShowOptions(**vars(parser.parse_args(argv))))


def show(options: ShowOptions) -> int:
    """Runs the command and returns its exit code.

    Raises:
        InputError: the config, the record or the output are wrong.
    """
    output = Path(options.output)
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"--output must end with one of {', '.join(SUFFIXES)}, got {options.output}")
    config = load_config(options.pipeline_config_path, override=options.config_override)
    check_supported(config)
    config = _with_records(config, options.record)
    quiet_tensorflow()  # before its import, which takes seconds
    from pipelines.augmented_record import open_record
    from pipelines.image_files import save_picture
    from pipelines.picture_table import draw_table

    steps = [str(option.WhichOneof("preprocessing_step")) for option in config.proto.train_config.data_augmentation_options]
    record = open_record(config, seed=options.seed, index=options.number, source_id=options.source_id)
    stored = record.decode()
    if not steps:
        print("no augmentation is configured (train_config.data_augmentation_options): the picture shows the plain record", file=sys.stderr)
    positions = record.positions(options.num_draws) if steps else []
    title = _title(record, stored, steps)
    if options.each_step:
        table = draw_table(_rows_of_steps(record, stored, positions, steps), names=record.names, title=title, max_size=_STEP_SIZE)
    else:
        table = draw_table(_grid(record, stored, positions), names=record.names, title=title)
    save_picture(table, output)
    print(*title, f"{output}: {len(positions)} draws of seed {record.reader.seed}", sep="\n")
    return 0


def _with_records(config: Config, record: str | None) -> Config:
    """The config, its train reader pointing to `record` if that is given."""
    if record is None:
        if not config.proto.HasField("train_input_reader"):
            raise InputError(f"{config.path}: train_input_reader is not set; name a TFRecord file with --record")
        return config
    from object_detection_ext.data.record_index import expand_paths

    proto = type(config.proto)()
    proto.CopyFrom(config.proto)
    proto.train_input_reader.tf_record_input_reader.input_path[:] = expand_paths([record], where="--record")
    return replace(config, proto=proto)


def _grid(record: AugmentedRecord, stored: Example, positions: Sequence[int]) -> list[list[Cell]]:
    """The plain record and the draws, in rows that make about a square."""
    from pipelines.picture_table import Cell

    cells = [Cell(record.network_view(stored), ("not augmented", _boxes(stored)))]
    for position in positions:
        result = record.augment(stored, position)[-1]
        cells.append(Cell(record.network_view(result), (_seed(record, position), _boxes(result))))
    columns = round(len(cells) ** 0.5 + 0.49)
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def _rows_of_steps(record: AugmentedRecord, stored: Example, positions: Sequence[int], steps: Sequence[str]) -> list[list[Cell]]:
    """A row a draw: the stored image, the image after each step, the network's input."""
    from pipelines.augmented_record import view
    from pipelines.picture_table import Cell

    rows = []
    for position in positions or [None]:
        examples = [stored] if position is None else record.augment(stored, position)
        first = "as stored" if position is None else _seed(record, position)
        cells = [
            Cell(view(example), (name, f"{_size(example)}, {_boxes(example)}"))
            for name, example in zip((first, *steps), examples, strict=True)
        ]
        shown = record.network_view(examples[-1])
        size = f"{shown.pixels.shape[0]} x {shown.pixels.shape[1]}"
        rows.append([*cells, Cell(shown, ("network input", f"{size}, {_boxes(examples[-1])}"))])
    return rows


def _title(record: AugmentedRecord, stored: Example, steps: Sequence[str]) -> list[str]:
    name = f", source id {record.source_id}" if record.source_id else ""
    return [
        f"{record.reader.index.describe(record.number)}{name}",
        f"stored: {_size(stored)} pixels (height x width), {_boxes(stored)}",
        f"augmentation: {', '.join(steps) or 'none'}",
    ]


def _seed(record: AugmentedRecord, position: int) -> str:
    return f"seed {record.reader.seed}, draw {position}: step {position // record.reader.batch_size}"


def _size(example: Example) -> str:
    height, width = example.image.shape[:2]
    return f"{height} x {width}"


def _boxes(example: Example) -> str:
    count = int(example.boxes.shape[0])
    return f"{count} box{'' if count == 1 else 'es'}"


if __name__ == "__main__":
    sys.exit(run(main))
