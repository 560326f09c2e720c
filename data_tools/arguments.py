"""Command-line arguments that several tools share."""

from __future__ import annotations

import argparse
import os

from object_detection_ext.command_line import positive_int


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_num_workers(parser: argparse.ArgumentParser) -> None:
    """Adds `--num_workers`, by default one for each core that this process may use."""
    parser.add_argument("--num_workers", type=positive_int, default=count_cores(), metavar="N", help="processes; default one a core")
