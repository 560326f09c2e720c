"""An output folder that appears with all its files, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from object_detection_ext.errors import InputError


@contextlib.contextmanager
def atomic_folder(output: Path) -> Iterator[Path]:
    """Yields a hidden folder beside `output`, which gets that name when the context is left without an exception, and goes otherwise.

    A killed process leaves the hidden folder behind, until the next run with this output removes it.

    Raises:
        InputError: `output` is there and not an empty folder, another run is writing it, or a file cannot be written (disk full, no
            permission).
    """
    is_empty_folder = output.is_dir() and not output.is_symlink() and not any(output.iterdir())
    if (output.exists() or output.is_symlink()) and not is_empty_folder:
        raise InputError(f"--output {output} is there already; choose a new folder")
    partial = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with _lock(output):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
                partial.rename(output)  # takes the place of an empty folder
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}; nothing is left of it") from error


@contextlib.contextmanager
def _lock(output: Path) -> Iterator[None]:
    path = output.with_name(f".{output.name}.lock")
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing {output}; wait for it or choose another --output") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
