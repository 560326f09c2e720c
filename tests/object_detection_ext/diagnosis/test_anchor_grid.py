from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.anchors.multiscale import MultiscaleAnchorGenerator
from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.diagnosis.anchor_grid import anchor_grids, best_iou

GENERATORS = [
    pytest.param(SsdAnchorGenerator(num_layers=3), [(7, 9), (4, 5), (1, 1)], (113, 150), id="ssd_not_square"),
    pytest.param(
        SsdAnchorGenerator(num_layers=2, strides=((16, 16), (32, 32)), offsets=((0, 0), (5, 9))), [(6, 6), (3, 3)], (96, 96), id="offsets"
    ),
    pytest.param(MultiscaleAnchorGenerator(min_level=4, max_level=6), [(8, 6), (4, 3), (2, 2)], (128, 96), id="multiscale"),
]


def iou_with_all(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """[N, A], pair by pair."""
    low = np.maximum(boxes[:, None, :2], anchors[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], anchors[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=-1)
    areas, anchor_areas = (np.prod(each[:, 2:] - each[:, :2], axis=-1) for each in (boxes, anchors))
    return overlap / (areas[:, None] + anchor_areas[None] - overlap)


def random_boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers, sizes = rng.uniform(-0.1, 1.1, (count, 2)), np.exp(rng.uniform(np.log(0.01), np.log(1.2), (count, 2)))
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)


@pytest.mark.parametrize(("generator", "maps", "image_shape"), GENERATORS)
def test_the_best_of_a_grid_is_the_best_of_all_anchors(generator, maps, image_shape):
    boxes = random_boxes(500)
    anchors = generator(maps, image_shape=image_shape).astype(np.float64)
    grids = anchor_grids(generator, maps, image_shape=image_shape)
    np.testing.assert_allclose(best_iou(boxes, grids), iou_with_all(boxes, anchors).max(axis=1), rtol=0, atol=1e-6)


def test_iou_by_hand():
    # One anchor, the square [0.25, 0.25, 0.75, 0.75], on a map of one cell.
    generator = SsdAnchorGenerator(
        num_layers=1, scales=(0.5,), aspect_ratios=(1.0,), interpolated_scale_aspect_ratio=0.0, reduce_boxes_in_lowest_layer=False
    )
    grids = anchor_grids(generator, [(1, 1)], image_shape=(64, 64))
    boxes = np.array([[0.25, 0.25, 0.75, 0.75], [0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.2, 0.2]])
    np.testing.assert_allclose(best_iou(boxes, grids), [1.0, 1 / 3, 0.25, 0.0])


def test_no_boxes():
    grids = anchor_grids(MultiscaleAnchorGenerator(min_level=5, max_level=5), [(2, 2)], image_shape=(64, 64))
    assert best_iou(np.zeros([0, 4]), grids).shape == (0,)


def test_a_hundred_thousand_boxes_in_seconds():
    generator = MultiscaleAnchorGenerator()
    maps = [(80, 80), (40, 40), (20, 20), (10, 10), (5, 5)]
    grids = anchor_grids(generator, maps, image_shape=(640, 640))
    boxes = random_boxes(100_000)
    ious = best_iou(boxes, grids)
    assert len(ious) == 100_000
    some = np.arange(0, 100_000, 4999)
    anchors = generator(maps, image_shape=(640, 640)).astype(np.float64)
    np.testing.assert_allclose(ious[some], iou_with_all(boxes[some], anchors).max(axis=1), rtol=0, atol=1e-6)


def test_another_number_of_maps_is_refused():
    with pytest.raises(ValueError, match="expected 6 feature maps, got 1"):
        anchor_grids(SsdAnchorGenerator(), [(4, 4)], image_shape=(64, 64))
