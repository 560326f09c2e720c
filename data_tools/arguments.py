"""Command-line arguments that several tools share."""

from __future__ import annotations

import argparse
import os


def positive_int(text: str) -> int:
    """An argparse type: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def add_num_workers(parser: argparse.ArgumentParser) -> None:
    """Adds `--num_workers`, by default one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--num_workers", type=positive_int, default=cores, metavar="N", help="processes; default one a core")
