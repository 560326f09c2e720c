"""`create_tf_record` on Apache Beam: `python -m data_tools.create_tf_record_beam --input DIR --output PREFIX -- --runner=...`.

Flags before `--` are those of `create_tf_record`, those after it Beam's and its runner's; without any, the pipeline runs in this process.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_tools.beam import IN_PROCESS, create_tf_record_on_beam
from data_tools.conversion_arguments import choose_format, parse_arguments, write_options
from data_tools.conversion_summary import report
from data_tools.format_table import FORMATS
from object_detection_ext.command_line import run


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    words = list(sys.argv[1:] if argv is None else argv)
    split = words.index("--") if "--" in words else len(words)
    arguments = parse_arguments(words[:split], program="create_tf_record_beam", epilog="Beam's own flags follow after --")
    start = time.monotonic()
    name, reading = choose_format(arguments)
    options = write_options(arguments, name, reading)
    paths: dict[str, Any] = {key: value.absolute() for key, value in vars(reading).items() if isinstance(value, Path)}
    source = FORMATS[name].read(replace(reading, **paths))  # workers have other folders than this one's
    summary = create_tf_record_on_beam(source, arguments.output, options, beam_flags=words[split + 1 :] or [IN_PROCESS])
    report(summary, seconds=time.monotonic() - start)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes the unfinished files, as Ctrl-C does
    sys.exit(run(main))
