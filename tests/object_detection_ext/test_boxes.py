"""Box maths against hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext import boxes as box_ops

# Two unit squares shifted by half a side, one far away, one without area.
SQUARE = [0.0, 0.0, 1.0, 1.0]
SHIFTED = [0.0, 0.5, 1.0, 1.5]
FAR = [5.0, 5.0, 6.0, 6.0]
POINT = [0.5, 0.5, 0.5, 0.5]


def test_area(traced):
    np.testing.assert_array_equal(traced(box_ops.area, np.float32([SQUARE, [0.0, 0.0, 0.5, 0.25], POINT])), [1.0, 0.125, 0.0])


def test_pairwise_functions_take_all_pairs(traced):
    boxes, others = np.float32([SQUARE, SHIFTED]), np.float32([SQUARE, SHIFTED, FAR, POINT])
    np.testing.assert_allclose(traced(box_ops.intersection, boxes, others), [[1, 0.5, 0, 0], [0.5, 1, 0, 0]])
    np.testing.assert_allclose(traced(box_ops.iou, boxes, others), [[1, 1 / 3, 0, 0], [1 / 3, 1, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(traced(box_ops.ioa, boxes, np.float32([[0, 0, 0.5, 4], FAR])), [[0.25, 0], [0.25, 0]])
    np.testing.assert_allclose(traced(box_ops.squared_distance, boxes, others[:2]), [[0, 0.5], [0.5, 0]], atol=1e-6)


def test_pairwise_functions_broadcast_over_a_batch(traced):
    batch = np.float32([[SQUARE], [FAR]])  # [2, 1, 4]
    anchors = np.float32([SQUARE, SHIFTED, FAR])  # [3, 4]
    np.testing.assert_allclose(traced(box_ops.iou, batch, anchors), [[[1, 1 / 3, 0]], [[0, 0, 1]]], rtol=1e-6)


def test_no_boxes_have_no_pairs(traced):
    assert traced(box_ops.iou, np.zeros((0, 4), np.float32), np.float32([SQUARE])).shape == (0, 1)


def test_paired_giou_goes_below_zero_with_distance(traced):
    # Hull of SQUARE and [0, 3, 1, 4] is 1 x 4: GIoU = 0 - (4 - 2) / 4. Of SQUARE and SHIFTED 1 x 1.5: the union, so GIoU = IoU.
    pairs = np.float32([SQUARE] * 3), np.float32([[0, 3, 1, 4], SHIFTED, SQUARE])
    np.testing.assert_allclose(traced(box_ops.paired_giou, *pairs), [-0.5, 1 / 3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(traced(box_ops.paired_iou, *pairs), [0.0, 1 / 3, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(traced(box_ops.paired_giou, np.float32([POINT]), np.float32([POINT])), [0.0])


def test_clip_empties_what_is_outside(traced):
    window = np.float32([0.0, 0.0, 0.5, 1.0])
    clipped = traced(box_ops.clip, np.float32([[-1, 0.2, 2, 0.4], [0.6, 0.6, 0.8, 0.8]]), window)
    np.testing.assert_allclose(clipped, [[0, 0.2, 0.5, 0.4], [0.5, 0.6, 0.5, 0.8]])


def test_change_coordinate_frame_maps_the_window_to_the_unit_square(traced):
    window = np.float32([0.2, 0.4, 0.6, 0.9])
    moved = traced(box_ops.change_coordinate_frame, np.float32([[0.2, 0.4, 0.6, 0.9], [0.4, 0.4, 0.6, 0.65]]), window)
    np.testing.assert_allclose(moved, [[0, 0, 1, 1], [0.5, 0, 1, 0.5]], atol=1e-6)


@pytest.mark.parametrize("flip", [box_ops.flip_left_right, box_ops.flip_up_down])
def test_a_flip_is_its_own_inverse(flip, traced):
    boxes = tf.random.stateless_uniform([7, 4], seed=(1, 2))
    np.testing.assert_allclose(traced(flip, traced(flip, boxes)), boxes, atol=1e-6)


def test_flips_move_the_right_axis(traced):
    box = np.float32([[0.1, 0.2, 0.3, 0.6]])
    np.testing.assert_allclose(traced(box_ops.flip_left_right, box), [[0.1, 0.4, 0.3, 0.8]], atol=1e-6)
    np.testing.assert_allclose(traced(box_ops.flip_up_down, box), [[0.7, 0.2, 0.9, 0.6]], atol=1e-6)


def test_centers_and_corners_are_inverse(traced):
    boxes = np.float32([[0.1, 0.2, 0.5, 0.8], POINT])
    centers = traced(box_ops.corners_to_centers, boxes)
    np.testing.assert_allclose(centers, [[0.3, 0.5, 0.4, 0.6], [0.5, 0.5, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(traced(box_ops.centers_to_corners, centers), boxes, rtol=1e-6)
