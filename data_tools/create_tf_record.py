"""Annotated images into TFRecords: `python -m data_tools.create_tf_record --input DIR --output PREFIX`, or the same from Python."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from data_tools.annotated_image import Source
from data_tools.conversion import Conversion, note_other_shards
from data_tools.conversion_arguments import choose_format, parse_arguments, write_options
from data_tools.conversion_plan import plan_conversion
from data_tools.conversion_summary import Summary, report
from data_tools.format_table import FORMATS
from data_tools.journal import Journal
from data_tools.shards import AtomicFiles, journal_path
from data_tools.write_options import DEFAULT_OPTIONS, WriteOptions
from object_detection_ext.command_line import run


def create_tf_record(source: Source, output: Path, options: WriteOptions = DEFAULT_OPTIONS) -> Summary:
    """Writes the images of `source` to `OUTPUT-00000-of-0000N` and so on, image i to shard i modulo N: all shards, or none.

    With `options.splits` the shards of split `train` are `OUTPUT_train-00000-of-0000N` (before the suffix: `mine_train.record`), all with
    one label map and one manifest.

    Args:
        source: what a format's reader returned (`format_table.FORMATS`).
        output: the prefix of the shards; its folder is made.
        options: how to write.

    Raises:
        InputError: an annotation, an image, the label map or the output is wrong; nothing that looks finished was written then.
    """
    plan = plan_conversion(source, output, options)
    journal = Journal(journal_path(output))
    conversion = Conversion(plan, journal, options)
    if options.resumes:
        conversion.read_journal()
    with AtomicFiles(output, plan.targets, keeps_unfinished=options.resumes) as files, contextlib.ExitStack() as cleanup:
        if not options.resumes:
            journal.remove()
            cleanup.callback(journal.remove)
        conversion.run(files)
        journal.remove()
    note_other_shards(plan, conversion.summary)
    return conversion.summary


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = parse_arguments(argv)
    start = time.monotonic()
    name, reading = choose_format(arguments)
    summary = create_tf_record(FORMATS[name].read(reading), arguments.output, write_options(arguments, name, reading))
    report(summary, seconds=time.monotonic() - start)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes the unfinished files, as Ctrl-C does
    sys.exit(run(main))
