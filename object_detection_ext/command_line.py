"""What commands share: how they end (0 done, 1 the user's mistake in one line, 2 wrong flags, 130 interrupted), types of arguments."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable

from object_detection_ext.errors import InputError, one_line


def run(main: Callable[[], int]) -> int:
    """Calls `main` and returns its exit code; a user's mistake becomes one line on stderr instead of a traceback.

    `DETECTION_TRACEBACK=1` in the environment shows the traceback all the same.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow logs about its own start; real errors are exceptions
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")  # about versions of Python
    try:
        return main()
    except (InputError, OSError) as error:
        if os.environ.get("DETECTION_TRACEBACK") == "1":
            raise
        if isinstance(error, BrokenPipeError):  # `command | head`: the reader has left, nobody to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(f"error: {_message(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def whole_number(text: str, *, least: int) -> int:
    """A whole number from `least`; raises `argparse.ArgumentTypeError` for anything else."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, got {text!r}")
    return int(text)


def positive_int(text: str) -> int:
    """An argparse type: a whole number from 1."""
    return whole_number(text, least=1)


def natural_int(text: str) -> int:
    """An argparse type: a whole number from 0."""
    return whole_number(text, least=0)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, InputError) and error.strerror:
        names = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return one_line(f"{error.strerror}: {names}" if names else error.strerror)
    return one_line(str(error))
