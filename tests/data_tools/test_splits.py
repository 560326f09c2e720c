from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, Source
from data_tools.image_groups import NameGroups
from data_tools.splits import Splits, deal_out, parse_splits
from data_tools.survey import survey
from object_detection_ext.errors import InputError


def load(entry: tuple[str, str]) -> AnnotatedImage:
    """Name and objects; the content of the image is the name's first letter, or the whole name where that is a digit."""
    name, objects = entry
    items = tuple(AnnotatedObject(text, PixelBox(0, 0, 1, 1), text) for text in objects.split())
    encoded = name.encode() if name[0].isdigit() else name[0].encode()
    return AnnotatedImage(Path("a.record"), name, name, None, items, name, encoded=encoded)


def deal(splits: Splits, entries: list[tuple[str, str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    source = Source(entries, load, ())
    split_of, notes = deal_out(splits, source, survey(source, num_workers=1), range(len(entries)), num_workers=1)
    return {name: splits.names[split] for (name, _), split in zip(entries, split_of, strict=True)}, notes


HALVES = Splits(("train", "val"), (0.5, 0.5))


def test_parse():
    assert parse_splits("train=0.8, val=.1,test=1e-1") == (("train", "val", "test"), (0.8, 0.1, 0.1))
    for text in ("train", "train=a", "train=0.8,", ""):
        with pytest.raises(ValueError, match=r"must be NAME=SHARE,NAME=SHARE such as train=0\.8,val=0\.1,test=0\.1, got "):
            parse_splits(text)


@pytest.mark.parametrize(
    ("names", "shares", "message"),
    [
        (("a", "b"), (0.5, 0.4), "shares are above 0 and add up to 1, got 0.5, 0.4"),
        (("a", "b"), (1.0, 0.0), "shares are above 0 and add up to 1, got 1, 0"),
        (("a", "b"), (1.5, -0.5), "shares are above 0"),
        (("a", "b"), (float("nan"), 0.5), "shares are above 0"),
        (("a", "a"), (0.5, 0.5), "every split needs a name of its own"),
        (("../a", "b"), (0.5, 0.5), "a split's name has letters, digits, - and _, got '../a'"),
        (("", "b"), (0.5, 0.5), "a split's name has letters, digits, - and _, got ''"),
        ((), (), "every split needs a name"),
    ],
)
def test_wrong_splits(names, shares, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Splits(names, shares)


def test_copies_stay_together():
    """Of ten images in five pairs of copies each pair is in one half; so three pairs are in one of them."""
    entries = [(f"{letter}{number}", "dog") for letter in "abcde" for number in (1, 2)]
    split_of, notes = deal(HALVES, entries)
    for letter in "abcde":
        assert split_of[f"{letter}1"] == split_of[f"{letter}2"]
    assert sorted([list(split_of.values()).count("train"), list(split_of.values()).count("val")]) == [4, 6]
    assert notes == ("5 images are copies of others, byte for byte; copies stay in one split",)


def test_groups_stay_together_and_classes_are_dealt_out():
    entries = [(f"{10 * scene + frame}", "dog" if scene % 2 else "cat") for scene in range(1, 9) for frame in range(5)]
    split_of, notes = deal(Splits(("train", "val"), (0.5, 0.5), NameGroups("^.")), entries)
    assert notes == ()
    for scene in range(1, 9):
        assert len({split_of[f"{10 * scene + frame}"] for frame in range(5)}) == 1
    in_train = [scene for scene in range(1, 9) if split_of[f"{10 * scene}"] == "train"]
    assert len(in_train) == 4 and sum(scene % 2 for scene in in_train) == 2


def test_a_class_that_cannot_be_everywhere_is_told():
    entries = [(str(number), "cat") for number in range(8)] + [("8", "rare cat")]
    assert deal(HALVES, entries)[1] in {
        (f"class 'rare' is not in {name}: its images (1) form no more than 1 group",) for name in ("train", "val")
    }


def test_too_few_groups():
    with pytest.raises(InputError, match="--split: 3 images form 1 group, which cannot fill the splits train, val"):
        deal(HALVES, [("a1", ""), ("a2", ""), ("a3", "")])
