from __future__ import annotations

import random
from collections import Counter

import pytest

from data_tools.stratification import Group, stratify

SHARES = (0.6, 0.2, 0.2)


def singles(**counts: int) -> list[Group]:
    """Images alone in their groups, each with one object of one class: a=0, b=1, ...; `none` are images without objects."""
    groups = []
    for name, count in counts.items():
        classes = {} if name == "none" else {ord(name) - ord("a"): (1, 1)}
        groups += [Group(f"{name}{index}", 1, classes) for index in range(count)]
    return groups


def held(groups: list[Group], split_of: list[int], *, num_splits: int = 3) -> dict[object, list[int]]:
    """Images of each class, and of none, in every split."""
    counts: dict[object, list[int]] = {}
    for group, split in zip(groups, split_of, strict=True):
        for name, number in {class_: images for class_, (images, _) in group.classes.items()}.items() or [(None, group.num_images)]:
            counts.setdefault(name, [0] * num_splits)[split] += number
    return counts


def test_every_class_has_its_share_and_so_have_images_without_objects():
    groups = singles(a=10, b=20, none=5)
    split_of = stratify(groups, SHARES, seed=0)
    assert held(groups, split_of) == {0: [6, 2, 2], 1: [12, 4, 4], None: [3, 1, 1]}


def test_a_rare_class_comes_into_every_split_where_it_can():
    groups = singles(a=3, b=100)
    assert held(groups, stratify(groups, (0.8, 0.1, 0.1), seed=0)) == {0: [1, 1, 1], 1: [80, 10, 10]}


def test_a_class_that_cannot_stays_where_the_share_is_largest():
    groups = singles(a=1, b=100)
    assert held(groups, stratify(groups, (0.8, 0.1, 0.1), seed=0))[0] == [1, 0, 0]


def test_the_order_of_the_groups_does_not_matter():
    groups = singles(a=7, b=13, c=5)
    split_of = dict(zip(groups_keys(groups), stratify(groups, SHARES, seed=3), strict=True))
    shuffled = random.Random(0).sample(groups, len(groups))
    assert dict(zip(groups_keys(shuffled), stratify(shuffled, SHARES, seed=3), strict=True)) == split_of


def groups_keys(groups: list[Group]) -> list[str]:
    return [group.key for group in groups]


def test_the_seed_decides_which_and_not_how_many():
    groups = singles(a=20)
    first, second = stratify(groups, SHARES, seed=0), stratify(groups, SHARES, seed=1)
    assert first != second
    assert Counter(first) == Counter(second) == {0: 12, 1: 4, 2: 4}


def test_groups_of_several_images_are_weighed_by_them():
    """Half of the images in one group: it fills one half alone."""
    groups = [Group("video", 50, {0: (50, 50)}), *singles(a=50)]
    split_of = stratify(groups, (0.5, 0.5), seed=0)
    assert Counter(split_of[1:]) == {1 - split_of[0]: 50}


def test_objects_are_balanced_beside_images():
    """Four images of 10 objects, sixteen of 1 (56 objects): halves of 10 images each have 28 objects only with two crowded ones each."""
    groups = [Group(f"crowded {index}", 1, {0: (1, 10)}) for index in range(4)] + singles(a=16)
    split_of = stratify(groups, (0.5, 0.5), seed=0)
    assert Counter(split_of[:4]) == {0: 2, 1: 2}
    assert Counter(split_of) == {0: 10, 1: 10}


@pytest.mark.parametrize("seed", range(3))
def test_several_classes_an_image(seed):
    """No outside numbers for this: it must be far better than a draw by lot, whose deviation is about the root of the expected count."""
    draw = random.Random(seed)
    groups = []
    for index in range(1000):
        classes = {min(19, int(draw.paretovariate(0.9)) - 1): (1, draw.randint(1, 9)) for _ in range(draw.randint(0, 4))}
        groups.append(Group(str(index), 1, classes))
    counts = held(groups, stratify(groups, (0.8, 0.1, 0.1), seed=seed))
    for found in counts.values():
        for number, share in zip(found, (0.8, 0.1, 0.1), strict=True):
            assert abs(number - share * sum(found)) <= max(1.5, 0.03 * sum(found))
            assert number > 0 or sum(found) < 3


def test_nothing_to_deal_out():
    assert stratify([], SHARES, seed=0) == []
