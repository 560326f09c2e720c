"""Near copies are found whatever bits differ, up to seven, and only where the pictures are alike."""

from __future__ import annotations

import numpy as np
import pytest

from data_tools.checks.fingerprint import THUMBNAIL_SIZE, Fingerprint, take_fingerprint
from data_tools.checks.near_copies import FingerprintTable, find_near_copies, find_near_repeats, fingerprint_table

RANDOM = np.random.default_rng(0)


def table(bits, thumbnails):
    return FingerprintTable(np.arange(len(bits)), np.array(bits, np.uint64), thumbnails)


def thumbnails(count):
    return RANDOM.integers(0, 256, (count, THUMBNAIL_SIZE), np.uint8)


def flipped(bits, count):
    for place in RANDOM.choice(64, count, replace=False).tolist():
        bits ^= 1 << place
    return bits


@pytest.mark.parametrize("distance", range(10))
def test_up_to_seven_bits_may_differ(distance):
    pictures = thumbnails(300)
    bits = [int.from_bytes(RANDOM.bytes(8), "big") for _ in range(300)]
    order = RANDOM.permutation(300)[:100]
    queries = table([flipped(bits[other], distance) for other in order.tolist()], pictures[order])
    found = find_near_copies(queries, table(bits, pictures))
    assert found == (dict(enumerate(order.tolist())) if distance <= 7 else {})


def test_equal_bits_of_unlike_pictures_are_no_copy():
    assert find_near_copies(table([7], thumbnails(1)), table([7], thumbnails(1))) == {}


def test_the_one_that_is_alike_is_found_among_others_with_the_same_bits():
    pictures = thumbnails(5)
    assert find_near_copies(table([7], pictures[3:4]), table([7] * 5, pictures)) == {0: 3}


def test_brightness_and_contrast_do_not_count():
    picture = thumbnails(1)
    darker = (picture * 0.5 + 20).astype(np.uint8)
    assert find_near_copies(table([7], darker), table([7], picture)) == {0: 0}


def test_a_static_scene_of_thousands_of_pictures_is_quick():
    pictures = np.repeat(thumbnails(1), 20_000, axis=0)
    found = find_near_copies(table([5] * 20_000, pictures), table([4] * 20_000, pictures))
    assert len(found) == 20_000


def test_repeats_within_a_set_name_an_earlier_picture():
    pictures = thumbnails(3)
    repeated = table([7, 1 << 40, 5, 9, 5 << 50], pictures[[0, 1, 0, 2, 0]])
    assert find_near_repeats(repeated) == {2: 0, 4: 0}  # 9 is another picture, though its bits are near
    assert find_near_repeats(table([7] * 3, thumbnails(3))) == {}


def test_repeats_of_a_static_scene_are_quick():
    found = find_near_repeats(table([5, 4] * 10_000, np.repeat(thumbnails(1), 20_000, axis=0)))
    assert set(found) == set(range(1, 20_000))
    assert all(first < image for image, first in found.items())


def test_no_pictures():
    empty, one = fingerprint_table([None, None]), fingerprint_table([Fingerprint(3, bytes(range(144)) * 2)])
    assert find_near_copies(empty, one) == find_near_copies(one, empty) == find_near_copies(empty, empty) == {}


def test_images_without_fingerprint_keep_their_number():
    fingerprint = Fingerprint(3, bytes(range(144)) * 2)
    assert find_near_copies(fingerprint_table([None, fingerprint]), fingerprint_table([None, None, fingerprint])) == {1: 2}


def test_the_difference_hash_by_hand(make):
    """A ramp that rises to the right has every bit, one that falls none; a picture of one colour has no fingerprint."""
    rising = np.repeat(np.arange(0, 252, 7, dtype=np.uint8)[None], 32, axis=0)  # 36 columns
    image = make.picture(0).convert("L").resize((36, 32))
    image.putdata(rising.ravel().tolist())
    assert take_fingerprint(image).bits == (1 << 64) - 1
    image.putdata(rising[:, ::-1].ravel().tolist())
    assert take_fingerprint(image).bits == 0
    image.putdata([99] * (36 * 32))
    assert take_fingerprint(image) is None


def test_real_photos_differ_and_their_copies_do_not(test_data, make):
    """The only near copies in BCCD are known: 37 and 38 show one field, a little shifted."""
    from PIL import Image

    paths = sorted((test_data / "bccd" / "BCCD" / "JPEGImages").glob("*.jpg"))[:120]
    originals, copies = [], []
    for path in paths:
        with Image.open(path) as image:
            originals.append(take_fingerprint(image))
            copies.append(take_fingerprint(image.resize((320, 240))))
    assert find_near_copies(fingerprint_table(copies), fingerprint_table(originals)) == {image: image for image in range(120)}
    first, second = (fingerprint_table([each if index % 2 == half else None for index, each in enumerate(originals)]) for half in (0, 1))
    names = {paths[image].stem[-5:]: paths[other].stem[-5:] for image, other in find_near_copies(first, second).items()}
    assert names in ({"00037": "00038"}, {"00038": "00037"})
