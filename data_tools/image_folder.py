"""The image files below a folder, for formats without a list of images."""

from __future__ import annotations

import contextlib
import os
from itertools import islice
from pathlib import Path

from data_tools.image_file import IMAGE_SUFFIXES, find_inside
from object_detection_ext.errors import InputError

_SUFFIXES = frozenset(suffix.lower() for suffix in IMAGE_SUFFIXES)
_MOST_FOLDERS = 1000  # that are searched for an image


def list_images(folder: Path) -> list[str]:
    """Names of all image files below `folder`, relative to it and with "/", in alphabetical order; hidden files and folders do not count.

    Raises:
        InputError: `folder` is none, or holds a link to a folder elsewhere, whose images would be missing without a word.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")
    root, names = folder.resolve(), list[str]()
    for place, folders, files in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            path = Path(place, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise InputError(f"{path} is a link that leads out of the folder {root}; give the folder that it leads to")
        prefix = os.path.relpath(place, root).replace(os.sep, "/") + "/" if place != str(root) else ""
        names += [prefix + name for name in files if not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES]
    return sorted(names)


def images_by_stem(folder: Path) -> dict[str, str]:
    """The image files in `folder` itself: file names by their stems, in alphabetical order of these.

    Raises:
        InputError: `folder` is none, has no image, or two images with one stem, so that an annotation could mean either.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")
    names: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if name.startswith(".") or suffix.lower() not in _SUFFIXES:
            continue
        if stem in names:
            raise InputError(
                f"{folder}: {names[stem]} and {name} have the same stem, so that it cannot be told which one an annotation means"
            )
        names[stem] = name
    if not names:
        raise InputError(f"no image in {folder}; suffixes are {', '.join(sorted(_SUFFIXES))}")
    return dict(sorted(names.items()))


def other_place(folder: Path, name: str) -> str:
    """Where image `name`, which is not in `folder`, may lie, as the end of a message; empty where nothing is found below `folder`."""
    first, _, rest = name.replace("\\", "/").partition("/")
    with contextlib.suppress(InputError):
        if first == folder.name and rest and find_inside(folder, rest):
            return f"; names seem to count from the folder above: --images {folder.parent}"
    last = os.path.basename(name.replace("\\", "/"))
    for place, _, files in islice(os.walk(folder), 1, _MOST_FOLDERS):  # without the folder itself
        if last in files:
            return f"; there is one in {place}"
    return ""


def _raise(error: OSError) -> None:
    raise error
