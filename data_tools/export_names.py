"""File names for images that come out of records: as recorded where that is safe, numbers where it is not."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from data_tools.image_file import CONTROL_CHARACTERS

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "bmp": (".bmp",),
    "gif": (".gif",),
    "webp": (".webp",),
}
_LONGEST = 200  # bytes of one part of a name; file systems take 255
_MOST_PARTS = 16
_FORBIDDEN = re.compile(r'[\\:*?"<>|]')  # a name must be one on every system


class ExportNames:
    """Gives every image a name of its own below one folder.

    Records are not trusted: a name that is absolute, climbs with `..`, is hidden, too long, taken (also in other case, as some file
    systems do not tell them apart) or stands where a folder is becomes `image_000012.jpg`, with the image's number. The suffix is that of
    the format.

    Args:
        is_flat: "/" becomes "_", and no two names have the same stem.
    """

    def __init__(self, *, is_flat: bool = False) -> None:
        self._is_flat = is_flat
        self._files: set[str] = set()  # in lower case; without suffix where names are flat
        self._folders: set[str] = set()
        self.changed: list[tuple[str, str]] = []  # recorded and given name, where they differ

    def __call__(self, recorded: str, image_format: str, number: int) -> str:
        """The name of image `number`, relative to the folder."""
        suffixes = _SUFFIXES[image_format]
        stem, suffix = os.path.splitext(recorded)
        name = recorded if suffix.lower() in suffixes else stem + suffixes[0]
        if self._is_flat:
            name = name.replace("/", "_")
        attempt = 0
        while not _is_safe(name) or not self._take(name):
            name = f"image_{number:06d}{f'_{attempt}' if attempt else ''}{suffixes[0]}"
            attempt += 1
        if name != recorded:
            self.changed.append((recorded, name))
        return name

    def _take(self, name: str) -> bool:
        key = (os.path.splitext(name)[0] if self._is_flat else name).lower()
        parts = key.split("/")
        folders = {"/".join(parts[:end]) for end in range(1, len(parts))}
        if key in self._files or key in self._folders or not self._files.isdisjoint(folders):
            return False
        self._files.add(key)
        self._folders |= folders
        return True


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    if len(parts) > _MOST_PARTS or CONTROL_CHARACTERS.search(name) or _FORBIDDEN.search(name):
        return False
    return all(part and not part.startswith(".") and part == part.strip() and len(part.encode()) <= _LONGEST for part in parts)
