from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.diagnosis.anchor_coverage import AnchorCoverage, find_missed_objects, format_coverage, measure_coverage
from object_detection_ext.diagnosis.anchor_grid import anchor_grids
from object_detection_ext.findings import Severity

# One square anchor of half the image, at its centre: 50 of 100 pixels.
ONE_ANCHOR = SsdAnchorGenerator(
    num_layers=1, scales=(0.5,), aspect_ratios=(1.0,), interpolated_scale_aspect_ratio=0.0, reduce_boxes_in_lowest_layer=False
)
NAMES = {1: "cat", 2: "dog"}


def square(side: float) -> list[float]:
    """A box of this side in the middle; its IoU with the anchor is the ratio of the areas."""
    return [0.5 - side / 2, 0.5 - side / 2, 0.5 + side / 2, 0.5 + side / 2]


def measure(sides, class_ids, *, input_shape=(100, 100), **options) -> AnchorCoverage:
    grids = anchor_grids(ONE_ANCHOR, [(1, 1)], image_shape=input_shape)
    boxes = np.array([square(side) for side in sides]).reshape(-1, 4)
    return measure_coverage(boxes, np.array(class_ids, int), grids=grids, input_shape=input_shape, class_names=NAMES, **options)


def test_groups_by_hand():
    coverage = measure([0.5, 0.4, 0.25, 0.99], [1, 1, 2, 7])  # IoU 1, 0.64, 0.25, 0.2551
    np.testing.assert_allclose(coverage.best_iou, [1.0, 0.64, 0.25, 0.25 / 0.9801])
    assert coverage.overall[:3] == ("all objects", 4, 2)
    assert coverage.overall.mean_iou == pytest.approx((1 + 0.64 + 0.25 + 0.25 / 0.9801) / 4)
    assert coverage.overall.missed_share == 0.5
    assert [group[:3] for group in coverage.by_class] == [("dog", 1, 1), ("id 7", 1, 1), ("cat", 2, 0)]  # worst first
    assert [group[:3] for group in coverage.by_size] == [("small, area below 32²", 1, 1), ("medium", 2, 0), ("large, area from 96²", 1, 1)]
    assert [group[:3] for group in coverage.by_side] == [("16 to 32", 1, 1), ("32 to 64", 2, 0), ("96 to 128", 1, 1)]
    assert [group[:3] for group in coverage.by_aspect_ratio] == [("2:3 to 3:2", 4, 2)]


@pytest.mark.parametrize(("sides", "missed"), [([0.4], 0), ([0.3], 1)], ids=["0.64", "0.36"])
def test_the_threshold_is_the_matchers(sides, missed):
    assert measure(sides, [1]).overall.num_missed == missed
    assert measure(sides, [1], threshold=0.7).overall.num_missed == 1
    assert measure(sides, [1], threshold=0.3).overall.num_missed == 0


def test_sizes_are_those_of_the_networks_input():
    # The same share of the image is stretched: 25 x 50 pixels, half the size along y.
    coverage = measure([0.25], [1], input_shape=(100, 200))
    assert coverage.by_size[0].name == "medium"  # 25 * 50 = 1250 > 32 * 32
    assert coverage.by_aspect_ratio[0].name == "2:1 to 4:1"


def test_no_objects():
    coverage = measure([], [])
    assert coverage.overall == ("all objects", 0, 0, 0.0)
    assert find_missed_objects(coverage, "c") == []
    assert "all objects" in format_coverage(coverage)


def test_a_warning_names_the_worst_classes_and_sizes():
    (finding,) = find_missed_objects(measure([0.5] * 7 + [0.25] * 3, [1] * 7 + [2] * 3), "pipeline.config:30")
    assert (finding.check, finding.severity, finding.where) == ("anchors_miss_objects", Severity.WARNING, "pipeline.config:30")
    assert finding.message == (
        "30.0% of 10 objects are reached by no anchor at IoU 0.5 (dog 100.0%; 3 objects are small at 100 x 100 pixels); "
        "they train one badly fitting anchor each"
    )


def test_without_forced_matches_the_missed_are_lost():
    (finding,) = find_missed_objects(measure([0.25], [1], is_forced=False), "c")
    assert finding.message.endswith("they are never trained on")


@pytest.mark.parametrize(
    ("num_dogs", "num_missed", "is_found"),
    [(10, 3, True), (10, 2, False), (9, 9, False)],
    ids=["one_class_above_a_quarter", "below", "too_few_to_tell"],
)
def test_a_class_alone_is_enough(num_dogs, num_missed, is_found):
    sides = [0.5] * 190 + [0.25] * num_missed + [0.5] * (num_dogs - num_missed)
    findings = find_missed_objects(measure(sides, [1] * 190 + [2] * num_dogs), "c")
    assert bool(findings) == is_found
    if is_found:
        assert "1.5% of 200 objects" in findings[0].message and "(dog 30.0%;" in findings[0].message


def test_tables():
    coverage, better = measure([0.5, 0.25], [1, 2]), measure([0.5, 0.45], [1, 2])
    assert format_coverage(coverage).splitlines()[:6] == [
        "anchors: objects whose best IoU with an anchor is below 0.5 are missed",
        "                            objects    missed  mean IoU",
        "  all objects                     2     50.0%     0.625",
        "class",
        "  dog                             1    100.0%     0.250",
        "  cat                             1      0.0%     1.000",
    ]
    same_objects = AnchorCoverage(**{**vars(coverage), "overall": better.overall})
    row = format_coverage(coverage, same_objects).splitlines()[3]
    assert row.split() == ["all", "objects", "2", "50.0%", "0.625", "0.0%", "0.905"]
