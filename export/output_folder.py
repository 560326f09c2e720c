"""Exports appear complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from object_detection_ext.errors import InputError


@contextmanager
def complete_folder(output_directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder beside `output_directory`; at the end, what is in it takes its place there.

    Files and folders of the same name are replaced, others stay. Where the block raises, `output_directory` is as it was.

    Raises:
        InputError: `output_directory` is a file.
    """
    target = Path(output_directory).absolute()
    if target.exists() and not target.is_dir():
        raise InputError(f"output directory {output_directory} is a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    staging.chmod(0o777 & ~_umask())
    try:
        yield staging
        if target.exists():
            for entry in sorted(staging.iterdir()):
                _replace(entry, target / entry.name)
        else:
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(source: Path, destination: Path) -> None:
    """Renames over a file; a folder in the way is moved aside first, since a rename cannot replace one that holds files."""
    if destination.is_dir():
        aside = source.with_name(f"{source.name}.replaced")
        destination.rename(aside)
        source.rename(destination)
        shutil.rmtree(aside)
    else:
        source.replace(destination)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
