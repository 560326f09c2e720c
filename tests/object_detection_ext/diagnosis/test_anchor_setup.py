from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import load_config
from object_detection_ext.data.resize import FixedShapeResizer, KeepAspectRatioResizer
from object_detection_ext.diagnosis.anchor_grid import best_iou
from object_detection_ext.diagnosis.anchor_setup import build_anchor_setup, content_shapes
from object_detection_ext.errors import InputError

SIZES = [(480, 640), (640, 480), (300, 300), (1, 7), (33, 1000), (601, 599), (2048, 2047), (50, 25)]


@pytest.mark.parametrize(("least", "most"), [(300, 300), (200, 333)], ids=["square", "two_limits"])
def test_content_is_where_the_resizer_puts_it(least, most):
    resizer = KeepAspectRatioResizer(least, most, pad_to_max_dimension=True)
    expected = [resizer(tf.zeros([*size, 3]))[1].numpy() for size in SIZES]
    np.testing.assert_array_equal(content_shapes(resizer, np.array(SIZES)), expected)


def test_the_setup_is_that_of_the_detector(tiny_config_path):
    override = "model { ssd { matcher { argmax_matcher { matched_threshold: 0.45 unmatched_threshold: 0.4 } } } }"
    config = load_config(tiny_config_path, override=override)
    setup, detector = build_anchor_setup(config), build_detector(config.proto.model.ssd)
    assert (setup.feature_map_shapes, setup.input_shape) == (detector.feature_map_shapes, (64, 64))
    assert (setup.threshold, setup.is_forced) == (pytest.approx(0.45), True)
    boxes = np.array([[0.1, 0.2, 0.4, 0.9]])
    assert setup.to_network(boxes, np.array([[100, 200]])) is boxes  # stretched with the image
    anchors = detector.anchors.astype(np.float64)
    (iou,) = best_iou(boxes, setup.grids_of(setup.generator))
    overlap = np.prod(np.maximum(np.minimum(boxes[:, 2:], anchors[:, 2:]) - np.maximum(boxes[:, :2], anchors[:, :2]), 0), axis=1)
    areas = np.prod(anchors[:, 2:] - anchors[:, :2], axis=1) + 0.21
    assert iou == pytest.approx((overlap / (areas - overlap)).max(), abs=1e-6)


def test_boxes_move_into_the_padded_input(tiny_config_path):
    resizer = (
        "model { ssd { image_resizer { keep_aspect_ratio_resizer { min_dimension: 64 max_dimension: 64 pad_to_max_dimension: true } } } }"
    )
    setup = build_anchor_setup(load_config(tiny_config_path, override=resizer))
    assert isinstance(setup.resizer, KeepAspectRatioResizer) and not isinstance(setup.resizer, FixedShapeResizer)
    boxes = np.array([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]])
    # 100 x 200 becomes 32 x 64: the upper half. 200 x 100 the left half.
    moved = setup.to_network(boxes, np.array([[100, 200], [200, 100]]))
    np.testing.assert_allclose(moved, [[0.25, 0.5, 0.5, 1.0], [0.5, 0.25, 1.0, 0.5]])


@pytest.mark.parametrize(
    ("similarity", "threshold"), [("neg_sq_dist_similarity {}", 0.5), ("iou_similarity {}", 0.6)], ids=["not_an_iou", "iou"]
)
def test_the_threshold_counts_where_it_is_an_iou(tiny_config_path, similarity, threshold):
    override = (
        f"model {{ ssd {{ similarity_calculator {{ {similarity} }} "
        "matcher { argmax_matcher { matched_threshold: 0.6 unmatched_threshold: 0.5 } } } }"
    )
    assert build_anchor_setup(load_config(tiny_config_path, override=override)).threshold == pytest.approx(threshold)


def test_a_wrong_number_of_layers_names_the_field(tiny_config_path):
    config = load_config(tiny_config_path, override="model { ssd { anchor_generator { ssd_anchor_generator { num_layers: 4 } } } }")
    with pytest.raises(InputError, match=r"pipeline\.config:\d+: model\.ssd\.anchor_generator must have 3 layers, got 4"):
        build_anchor_setup(config)
