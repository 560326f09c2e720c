"""A data set parted into train, val and so on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from data_tools.annotated_image import Source
from data_tools.image_groups import NameGroups, group_images
from data_tools.stratification import Group, stratify
from data_tools.survey import ImageFacts, Survey, same_images
from object_detection_ext.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Splits:
    """The parts and how they are dealt out.

    Raises:
        ValueError: no parts, a name that is doubled or cannot be part of a file name, shares that do not add up to 1.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    group_by: NameGroups | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"a split's name has letters, digits, - and _, got {name!r}")
        if not self.names or len(set(self.names)) < len(self.names) or len(self.names) != len(self.shares):
            raise ValueError(f"every split needs a name of its own and a share, got {self.names} and {self.shares}")
        if not all(0 < share <= 1 for share in self.shares) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise ValueError(f"shares are above 0 and add up to 1, got {', '.join(f'{share:g}' for share in self.shares)}")


def parse_splits(text: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names and shares of `train=0.8,val=0.1,test=0.1`.

    Raises:
        ValueError: not of this form.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return tuple(name.strip() for name, _, _ in pairs), tuple(float(share) for _, _, share in pairs)
    except ValueError:
        raise ValueError(f"must be NAME=SHARE,NAME=SHARE such as train=0.8,val=0.1,test=0.1, got {text!r}") from None


def deal_out(
    splits: Splits, source: Source, facts: Survey, indices: Sequence[int], *, num_workers: int
) -> tuple[list[int], tuple[str, ...]]:
    """The split of each of the images at `indices`, and notes for the user.

    Raises:
        InputError: there are fewer groups of images than splits.
    """
    images = [facts.images[index] for index in indices]
    digests = same_images(source, facts.images, indices, num_workers=num_workers)
    by_place = {place: digests[index] for place, index in enumerate(indices) if index in digests}
    places, notes = group_images([image.filename for image in images], by_place, splits.group_by)
    if len(places) < len(splits.names):
        formed = f"{len(images):,} images form {_groups(len(places))}"
        raise InputError(f"--split: {formed}, which cannot fill the splits {', '.join(splits.names)}")
    groups = _count_groups(images, places)
    split_of_group = stratify(groups, splits.shares, seed=splits.seed)
    split_of = [0] * len(images)
    for group, split in zip(places, split_of_group, strict=True):
        for place in group:
            split_of[place] = split
    return split_of, (*notes, *_missing_classes(splits, facts.class_texts, groups, split_of_group))


def _count_groups(images: Sequence[ImageFacts], places: Sequence[Sequence[int]]) -> list[Group]:
    shared: dict[tuple[tuple[int, int], ...], Mapping[int, tuple[int, int]]] = {}  # most groups are one image, and many show the same
    groups = []
    for group in places:
        objects = images[group[0]].objects
        if len(group) > 1:
            classes = _count(images[place] for place in group)
        elif (classes := shared.get(objects)) is None:
            classes = shared[objects] = _count([images[group[0]]])
        groups.append(Group(min(images[place].filename for place in group), len(group), classes))
    return groups


def _count(images: Iterable[ImageFacts]) -> dict[int, tuple[int, int]]:
    """Class -> images that show it, objects of it."""
    num_images, num_objects = Counter[int](), Counter[int]()
    for image in images:
        for class_, count in image.objects:
            num_images[class_] += 1
            num_objects[class_] += count
    return {class_: (num_images[class_], num_objects[class_]) for class_ in num_images}


def _missing_classes(splits: Splits, class_texts: Sequence[str], groups: Sequence[Group], split_of: Sequence[int]) -> Iterator[str]:
    holders: dict[int, list[int]] = {}
    for group, split in zip(groups, split_of, strict=True):
        for class_ in group.classes:
            holders.setdefault(class_, []).append(split)
    for class_, found in sorted(holders.items()):
        missing = [name for split, name in enumerate(splits.names) if split not in found]
        if missing:
            num_images = sum(group.classes[class_][0] for group in groups if class_ in group.classes)
            reason = f"its images ({num_images:,}) form no more than {_groups(len(found))}"
            yield f"class {class_texts[class_]!r} is not in {', '.join(missing)}: {reason}"


def _groups(number: int) -> str:
    return f"{number:,} group{'s' * (number != 1)}"
