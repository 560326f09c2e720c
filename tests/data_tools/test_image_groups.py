from __future__ import annotations

import pytest

from data_tools.image_groups import NameGroups, group_images
from object_detection_ext.errors import InputError


@pytest.mark.parametrize(
    ("pattern", "filename", "group"),
    [
        ("^[a-z]+", "cam7_001.jpg", "cam"),
        (r"^(\w+)_\d+", "cam7_001.jpg", "cam7"),
        (r"(?:day|night)(\d+)", "night12/7.jpg", "12"),
        (r"^clip", "photo.jpg", None),
        (r"^(clip)?photo", "photo.jpg", None),
        ("folder", "a/b/7.jpg", "a/b"),
        ("folder", "7.jpg", ""),
    ],
)
def test_the_group_of_a_name(pattern, filename, group):
    assert NameGroups(pattern)(filename) == group


def test_a_broken_pattern():
    with pytest.raises(ValueError, match=r"not a regular expression: missing \), unterminated subpattern .*: '\(a'"):
        NameGroups("(a")


def test_without_names_and_twins_every_image_stands_alone():
    assert group_images(["a", "b"], {}, None) == ([[0], [1]], ())


def test_groups_by_name():
    names = ["a1", "b1", "a2", "7", "b2"]
    assert group_images(names, {}, NameGroups("^[a-z]")) == (
        [[0, 2], [1, 4], [3]],
        ("--group_by '^[a-z]' matches 4 of 5 file names; the other images stand alone",),
    )


def test_identical_images_join_the_groups_that_they_are_in():
    """1 and 4 are the same image, so the groups a and b are one; 3 is a twin of 5."""
    names = ["a1", "a2", "b1", "c", "b2", "d"]
    digests = {1: b"x", 4: b"x", 3: b"y", 5: b"y", 0: b"z"}
    assert group_images(names, digests, NameGroups("^[ab]")) == (
        [[0, 1, 2, 4], [3, 5]],
        (
            "--group_by '^[ab]' matches 4 of 6 file names; the other images stand alone",
            "2 images are copies of others, byte for byte; copies stay in one split",
        ),
    )


def test_a_digest_is_never_taken_for_a_name():
    assert group_images(["x", "y"], {1: b"x"}, NameGroups("x"))[0] == [[0], [1]]


def test_a_pattern_that_matches_nothing():
    with pytest.raises(InputError, match=r"--group_by 'clip' matches no file name, such as 'a\.jpg'"):
        group_images(["a.jpg", "b.jpg"], {}, NameGroups("clip"))
