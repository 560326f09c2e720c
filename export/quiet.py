"""Keeps TensorFlow's and the converter's chatter off the terminal, so that a user reads only our lines; and numpy to one thread."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_tensorflow() -> None:
    """Call before the first import of TensorFlow. `TF_CPP_MIN_LOG_LEVEL` in the environment wins."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")


def one_algebra_thread() -> None:
    """Call before the first import of numpy. Threads wait for one another longer than the small matrix products here take.

    `OPENBLAS_NUM_THREADS` in the environment wins.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def native_output_hidden() -> Iterator[None]:
    """Hides what C++ code writes straight to the process's stdout and stderr; where the block raises, it is shown after all."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    with tempfile.TemporaryFile() as hidden:
        for descriptor in (1, 2):
            os.dup2(hidden.fileno(), descriptor)
        try:
            yield
        except BaseException:
            _restore(saved)
            hidden.seek(0)
            os.write(2, hidden.read()[-4000:])
            raise
        _restore(saved)


def _restore(saved: list[int]) -> None:
    """Points stdout and stderr back; harmless when called once per saved pair only."""
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, copy in zip((1, 2), saved, strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)
