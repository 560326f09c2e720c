"""The hard example miner against the original's choice."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.losses.hard_negatives import HardExampleMiner

SSD = {"num_hard_examples": 3000, "iou_threshold": 0.99, "max_negatives_per_positive": 3, "min_negatives_per_image": 3}
API_WEIGHTS = {"classification_weight": 0.05, "localization_weight": 0.06}  # what the original's class has where a config says nothing
CASES = {
    "hem_cls": HardExampleMiner(loss_type="classification", **SSD),
    "hem_loc": HardExampleMiner(loss_type="localization", **SSD),
    "hem_both": HardExampleMiner(loss_type="both", **SSD, **API_WEIGHTS),
    "hem_ohem64": HardExampleMiner(num_hard_examples=64, iou_threshold=0.7, **API_WEIGHTS),
}


def select(traced, miner, classification, localization, boxes, matches):
    def call(classification, localization, boxes, matches):
        return miner(classification, localization, decoded_boxes=boxes, matches=matches)

    return traced(call, np.float32(classification), np.float32(localization), np.float32(boxes), np.int32(matches)).numpy()


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(golden, traced, name):
    data = np.load(golden("losses.npz"))
    inputs = [data[f"hem_{part}"] for part in ("cls_losses", "loc_losses", "decoded", "match")]
    selected = select(traced, CASES[name], *inputs)
    classification, localization, _, matches = inputs
    assert (selected * classification).sum() == pytest.approx(float(data[f"{name}_cls"]), rel=1e-5)
    assert (selected * localization).sum() == pytest.approx(float(data[f"{name}_loc"]), rel=1e-5)
    if f"{name}_npos" in data:
        np.testing.assert_array_equal((selected * (matches >= 0)).sum(axis=1), data[f"{name}_npos"])
        np.testing.assert_array_equal((selected * (matches == -1)).sum(axis=1), data[f"{name}_nneg"])


@pytest.mark.parametrize("count", [1, 10, 100, 1000])
def test_ranks_as_the_reference(golden, traced, count):
    """Without a limit on negatives the `count` hardest stay: the first of the reference's own list, here of image 0."""
    data = np.load(golden("losses.npz"))
    miner = HardExampleMiner(num_hard_examples=count, iou_threshold=0.99, loss_type="classification")
    inputs = [data[f"hem_{part}"][:1] for part in ("cls_losses", "loc_losses", "decoded", "match")]
    np.testing.assert_array_equal(np.flatnonzero(select(traced, miner, *inputs)[0]), np.sort(data["hem_cls_selected0"][:count]))


# Five boxes side by side; the second is the first again.
BOXES = [[[0.0, x, 1.0, x + 0.1] for x in (0.0, 0.0, 0.2, 0.4, 0.6)]]


@pytest.mark.parametrize(
    ("settings", "matches", "expected"),
    [
        ({"num_hard_examples": 2}, [-1] * 5, [1, 0, 1, 0, 0]),
        ({"num_hard_examples": None}, [-1] * 5, [1, 0, 1, 1, 1]),
        ({"num_hard_examples": None, "iou_threshold": 1.0}, [-1] * 5, [1, 1, 1, 1, 1]),
        ({"max_negatives_per_positive": 1}, [-1, -1, -1, -1, 0], [1, 0, 0, 0, 1]),
        ({"max_negatives_per_positive": 1}, [-1] * 5, [0] * 5),
        ({"max_negatives_per_positive": 1, "min_negatives_per_image": 2}, [-1] * 5, [1, 0, 1, 0, 0]),
        ({"max_negatives_per_positive": 0.5}, [-1, -1, 0, -1, 0], [1, 0, 1, 0, 1]),
        ({"max_negatives_per_positive": 1}, [-2, -1, -1, -1, 0], [1, 0, 1, 0, 1]),
    ],
    ids=["best two", "no limit", "no suppression", "one to one", "no positive", "least negatives", "fraction", "ignored"],
)
def test_by_hand(traced, settings, matches, expected):
    losses = [[5.0, 4.0, 3.0, 2.0, 1.0]]
    miner = HardExampleMiner(loss_type="classification", **settings)
    np.testing.assert_array_equal(select(traced, miner, losses, np.zeros((1, 5)), BOXES, [matches]), [expected])


def test_both_ranks_by_the_weighted_sum(traced):
    miner = HardExampleMiner(num_hard_examples=1, classification_weight=1.0, localization_weight=10.0)
    got = select(traced, miner, [[5, 4, 3, 2, 1]], [[0, 0, 0, 0, 1]], BOXES, [[-1] * 5])
    np.testing.assert_array_equal(got, [[0, 0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hard_examples": 0}, "num_hard_examples must be >= 1 or None, got 0"),
        ({"iou_threshold": 1.5}, r"iou_threshold must be in \[0, 1\], got 1.5"),
        ({"min_negatives_per_image": -1}, "min_negatives_per_image must be >= 0, got -1"),
    ],
)
def test_refuses_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        HardExampleMiner(**settings)
