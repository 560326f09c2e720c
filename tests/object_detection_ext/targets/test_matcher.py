"""The argmax matcher against hand-made similarities: rows are boxes, columns anchors."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.targets.matcher import ArgMaxMatcher


def match(traced, matcher, similarity, images, *, num_images=1, forced=None):
    similarity = np.reshape(np.float32(similarity), (len(images), -1))
    forced = np.ones(len(images), bool) if forced is None else np.array(forced, bool)

    def call(similarity, images, forced):
        return matcher(similarity, images, num_images=num_images, forced=forced)

    return traced(call, similarity, np.array(images, np.int32), forced).numpy()


SIMILARITY = [
    [0.9, 0.5, 0.45, 0.1, 0.0],
    [0.2, 0.5, 0.30, 0.3, 0.0],
]


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (ArgMaxMatcher(0.5), [0, 0, -1, -1, -1]),
        (ArgMaxMatcher(0.5, 0.4), [0, 0, -2, -1, -1]),
        (ArgMaxMatcher(0.5, 0.4, negatives_lower_than_unmatched=False), [0, 0, -1, -2, -2]),
        (ArgMaxMatcher(None), [0, 0, 0, 1, 0]),
        (ArgMaxMatcher(0.5, force_match_for_each_row=True), [0, 1, -1, -1, -1]),
        (ArgMaxMatcher(0.95, force_match_for_each_row=True), [0, 1, -1, -1, -1]),
    ],
    ids=[
        "threshold and tie to the first row",
        "ignored between",
        "swapped",
        "no threshold",
        "forced, tie to the first anchor",
        "forced below",
    ],
)
def test_one_image(traced, matcher, expected):
    np.testing.assert_array_equal(match(traced, matcher, SIMILARITY, [0, 0]), [expected])


def test_similarity_at_a_threshold_is_above_it(traced):
    np.testing.assert_array_equal(match(traced, ArgMaxMatcher(0.5, 0.25), [[0.5, 0.25]], [0]), [[0, -2]])


def test_first_row_wins_an_anchor_that_two_are_forced_to(traced):
    matcher = ArgMaxMatcher(0.9, force_match_for_each_row=True)
    np.testing.assert_array_equal(match(traced, matcher, [[0.3, 0.1], [0.4, 0.2]], [0, 0]), [[0, -1]])


def test_only_forced_rows_claim(traced):
    matcher = ArgMaxMatcher(0.9, force_match_for_each_row=True)
    np.testing.assert_array_equal(match(traced, matcher, [[0.3, 0.1], [0.4, 0.2]], [0, 0], forced=[0, 1]), [[1, -1]])


@pytest.mark.parametrize("matcher", [ArgMaxMatcher(0.5, 0.4), ArgMaxMatcher(None), ArgMaxMatcher(0.0)])
def test_images_without_boxes_are_background(traced, matcher):
    # Images 0, 2 and 4 have no rows; a gap, and the end that a segment reduction leaves out.
    got = match(traced, matcher, [[0.9, 0.8], [0.6, 0.7]], [1, 3], num_images=5)
    np.testing.assert_array_equal(got, [[-1, -1], [0, 0], [-1, -1], [1, 1], [-1, -1]])


@pytest.mark.parametrize("force", [False, True])
def test_a_batch_without_boxes(traced, force):
    matcher = ArgMaxMatcher(0.5, force_match_for_each_row=force)

    def call(similarity, images, forced):
        return matcher(similarity, images, num_images=2, forced=forced)

    got = traced(call, np.zeros((0, 3), np.float32), np.zeros(0, np.int32), np.zeros(0, bool))
    np.testing.assert_array_equal(got, np.full((2, 3), -1))


def test_negative_similarities(traced):
    got = match(traced, ArgMaxMatcher(-1.0), [[-0.5, -3.0], [-2.0, -2.5]], [0, 0])
    np.testing.assert_array_equal(got, [[0, -1]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matched_threshold": None, "unmatched_threshold": 0.1}, "unmatched_threshold needs a matched_threshold"),
        ({"matched_threshold": 0.5, "unmatched_threshold": 0.6}, "unmatched_threshold must be <= matched_threshold"),
        ({"negatives_lower_than_unmatched": False}, "unmatched_threshold must be < matched_threshold"),
    ],
)
def test_refuses_thresholds_that_contradict(settings, message):
    with pytest.raises(ValueError, match=message):
        ArgMaxMatcher(**settings)
