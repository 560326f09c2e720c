"""Images that must not be parted by a split: those of one scene, by name, and identical ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from object_detection_ext.errors import InputError

FOLDER = "folder"


@dataclass(frozen=True)
class NameGroups:
    """The group of a file name: what `pattern` matches in it (its first bracket, if it has any), or the folder."""

    pattern: str  # a regular expression, searched for, or "folder"

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}: {self.pattern!r}") from None

    def __call__(self, filename: str) -> str | None:
        """None where the name belongs to no group."""
        if self.pattern == FOLDER:
            return filename.rpartition("/")[0]
        match = re.search(self.pattern, filename)
        return None if match is None else match[1 if match.re.groups else 0]


def group_images(
    filenames: Sequence[str], digests: Mapping[int, bytes], name_groups: NameGroups | None
) -> tuple[list[list[int]], tuple[str, ...]]:
    """Groups images that share a name group or are identical, also through a third one.

    Args:
        filenames: of all images.
        digests: of images that may have a twin, by their place in `filenames`.
        name_groups: None where names say nothing.

    Returns:
        The places in `filenames`, group by group in the order of each one's first image, and notes for the user.

    Raises:
        InputError: no file name belongs to a group.
    """
    parents = list(range(len(filenames)))
    first_of: dict[str | bytes, int] = dict[str | bytes, int]()
    num_alone = 0
    for place, filename in enumerate(filenames):
        name = None if name_groups is None else name_groups(filename)
        num_alone += name is None
        for key in (name, digests.get(place)):
            if key is not None:
                _join(parents, first_of.setdefault(key, place), place)
    if name_groups is not None and num_alone == len(filenames) > 0:
        raise InputError(f"--group_by {name_groups.pattern!r} matches no file name, such as {filenames[0]!r}")
    groups: dict[int, list[int]] = {}
    for place in range(len(filenames)):
        groups.setdefault(_root(parents, place), []).append(place)
    notes = []
    if name_groups is not None and num_alone:
        matched = f"{len(filenames) - num_alone:,} of {len(filenames):,} file names"
        notes.append(f"--group_by {name_groups.pattern!r} matches {matched}; the other images stand alone")
    num_twins = len(digests) - len(set(digests.values()))
    if num_twins:
        notes.append(f"{num_twins:,} images are copies of others, byte for byte; copies stay in one split")
    return list(groups.values()), tuple(notes)


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


def _join(parents: list[int], first: int, second: int) -> None:
    roots = _root(parents, first), _root(parents, second)
    parents[max(roots)] = min(roots)
