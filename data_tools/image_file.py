"""Image files without decoding them: found inside one folder only, and read with their header."""

from __future__ import annotations

import functools
import re
import stat
from pathlib import Path

from data_tools.file_bytes import read_file
from data_tools.image_header import ImageHeader, read_header
from object_detection_ext.errors import InputError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
IMAGE_SUFFIXES = (*_SUFFIXES, *(suffix.upper() for suffix in _SUFFIXES))
LARGEST_FILE = 1 << 29  # bytes; a record of two such images could not be read
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and lone surrogates, which UTF-8 cannot hold


def find_inside(folder: Path, name: str) -> Path | None:
    """The path of file `name` below `folder` (a resolved path), or None where there is no such file.

    Raises:
        InputError: `name` leads out of the folder: absolute, through `..` or through a link; or it cannot be looked up, being too long.
    """
    if not name or CONTROL_CHARACTERS.search(name):
        raise InputError(f"{name!r} is not a file name that can be used: it is empty, is not UTF-8 or has control characters")
    path = folder / name
    is_plain = "/" not in name and name not in (".", "..")
    try:
        if not is_plain and (".." in path.parts or not _is_inside(path.parent, folder)):
            raise _outside(name, folder)
        mode = path.lstat().st_mode
        real = path.resolve() if stat.S_ISLNK(mode) else path
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:  # a name too long, a folder that may not be entered; links in a circle
        raise InputError(f"{name!r} cannot be looked up in {folder}: {getattr(error, 'strerror', None) or error}") from None
    if real is not path:
        if not real.is_relative_to(folder):
            raise _outside(name, folder)
        return path if real.is_file() else None
    return path if stat.S_ISREG(mode) else None


@functools.lru_cache(maxsize=1024)  # many images, few folders
def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _outside(name: str, folder: Path) -> InputError:
    return InputError(f"{name!r} leads out of the folder {folder}; names must stay below it")


def read_image(path: Path) -> tuple[bytes, ImageHeader]:
    """The bytes of an image file and its header.

    Raises:
        InputError: the file is too large, or not an image that can be stored, as far as header and end marker tell.
    """
    try:
        encoded = read_file(path, largest=LARGEST_FILE)
        return encoded, read_header(encoded)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
