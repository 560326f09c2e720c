"""Post-processing against the original's detections (boxes and scores within 1e-5, classes, order and counts exactly)."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.postprocess import PostProcessing
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder
from object_detection_ext.types import Detections

PLAIN = {"score_threshold": 1e-8, "has_background": False, "change_coordinate_frame": True}
VARIANTS = {
    "sigmoid": PostProcessing(**PLAIN),
    "static": PostProcessing(**PLAIN),
    "sigmoid_small": PostProcessing(**PLAIN | {"score_threshold": 0.3}, max_detections_per_class=5, max_total_detections=8),
    "softmax_bg": PostProcessing(**PLAIN | {"has_background": True}, score_converter="softmax"),
    "class_agnostic": PostProcessing(**PLAIN, class_agnostic=True),
    "soft_nms": PostProcessing(**PLAIN | {"score_threshold": 1e-3}, soft_nms_sigma=0.5),
    "logit_scale2": PostProcessing(**PLAIN, logit_scale=2.0, max_detections_per_class=50, max_total_detections=60),
}
LEFT, RIGHT, NEAR_LEFT = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 0.4, 0.38]  # IoU of LEFT and NEAR_LEFT is 0.95


def detect(traced, postprocessing, boxes, logits, window=None) -> Detections:
    def call(boxes, logits, *window):
        return postprocessing(boxes, logits, clip_window=window[0] if window else None)

    inputs = [np.float32(boxes), np.float32(logits)] + ([] if window is None else [np.float32(window)])
    return Detections(*(tensor.numpy() for tensor in traced(call, *inputs)))


def identity(**settings) -> PostProcessing:
    return PostProcessing(score_converter="identity", has_background=False, max_detections_per_class=3, max_total_detections=3, **settings)


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_reference(golden, traced, name):
    data = np.load(golden("postprocess.npz"))
    logits = data["logits_with_bg"] if VARIANTS[name].has_background else data["logits"]
    got = detect(traced, VARIANTS[name], data["decoded_boxes"], logits, data["clip_window"])
    np.testing.assert_array_equal(got.num_detections, data[f"{name}/num"])
    np.testing.assert_array_equal(got.classes, data[f"{name}/classes0"])
    np.testing.assert_allclose(got.scores, data[f"{name}/scores"], rtol=1e-5)
    np.testing.assert_allclose(got.boxes, data[f"{name}/boxes"], rtol=1e-5, atol=1e-6)


def test_decoded_boxes_equal_the_reference(golden, traced):
    data = np.load(golden("postprocess.npz"))
    boxes = traced(FasterRcnnBoxCoder().decode, data["box_encodings"], data["anchors"])
    np.testing.assert_allclose(boxes, data["decoded_boxes"], rtol=1e-5, atol=1e-6)


def test_a_whole_network_equals_the_reference(golden, traced):
    data = np.load(golden("ssdlite_v2_dm0.35_160_io.npz"))
    postprocessing = PostProcessing(score_threshold=1e-8)
    boxes = FasterRcnnBoxCoder().decode(data["box_encodings"], data["anchors"])
    logits = data["class_predictions_with_background"]
    got, anchors = traced(postprocessing.with_anchors, boxes, logits)
    np.testing.assert_allclose(got.boxes, data["det/detection_boxes"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.scores, data["det/detection_scores"], rtol=1e-5)
    np.testing.assert_array_equal(got.classes, data["det/detection_classes"])
    np.testing.assert_array_equal(got.num_detections, data["det/num_detections"])
    np.testing.assert_array_equal(anchors, data["det/detection_anchor_indices"])
    scores = np.take_along_axis(postprocessing.convert_scores(logits).numpy(), anchors.numpy()[..., np.newaxis], axis=1)
    np.testing.assert_allclose(scores, data["det/detection_multiclass_scores"], rtol=1e-5)


def test_the_better_of_two_that_overlap_stays_and_padding_is_zero(traced):
    got = detect(traced, identity(), [[LEFT, RIGHT, NEAR_LEFT]], [[[0.5], [0.4], [0.6]]])
    np.testing.assert_allclose(got.boxes, [[NEAR_LEFT, RIGHT, [0, 0, 0, 0]]])
    np.testing.assert_allclose(got.scores, [[0.6, 0.4, 0]])
    np.testing.assert_array_equal(got.classes, [[0, 0, 0]])
    np.testing.assert_array_equal(got.num_detections, [2])


def test_classes_do_not_suppress_each_other(traced):
    got = detect(traced, identity(), [[LEFT, NEAR_LEFT]], [[[0.5, 0.0], [0.0, 0.6]]])
    np.testing.assert_array_equal(got.classes, [[1, 0, 0]])
    agnostic = detect(traced, identity(class_agnostic=True), [[LEFT, NEAR_LEFT]], [[[0.5, 0.0], [0.0, 0.6]]])
    np.testing.assert_array_equal(agnostic.classes, [[1, 0, 0]])
    np.testing.assert_array_equal(agnostic.num_detections, [1])


def test_ties_keep_the_order_of_class_then_anchor(traced):
    got = detect(traced, identity(), [[LEFT, RIGHT]], [[[0.5, 0.5], [0.5, 0.5]]])
    np.testing.assert_array_equal(got.classes, [[0, 0, 1]])
    np.testing.assert_allclose(got.boxes, [[LEFT, RIGHT, LEFT]])


def test_scores_must_be_above_the_threshold(traced):
    got = detect(traced, identity(score_threshold=0.5), [[LEFT, RIGHT]], [[[0.5], [0.75]]])
    np.testing.assert_allclose(got.scores, [[0.75, 0, 0]])


def test_background_is_never_detected(traced):
    postprocessing = PostProcessing(max_detections_per_class=2, max_total_detections=2, score_threshold=0.4)
    got = detect(traced, postprocessing, [[LEFT, RIGHT]], [[[9.0, 0.0], [9.0, -9.0]]])
    np.testing.assert_allclose(got.scores, [[0.5, 0.0]])


def test_nothing_found(traced):
    got = detect(traced, identity(score_threshold=0.9), [[LEFT], [RIGHT]], [[[0.5]], [[0.5]]])
    assert not np.any(got.boxes) and not np.any(got.scores)
    np.testing.assert_array_equal(got.num_detections, [0, 0])


def test_boxes_outside_of_the_window_make_room_for_others(traced):
    # The two best are outside of the image; the limit counts what is left.
    boxes = [[[0, 1.1, 1, 1.5], [-0.5, 0, -0.1, 1], LEFT, RIGHT]]
    postprocessing = PostProcessing(
        score_converter="identity", has_background=False, max_detections_per_class=4, max_total_detections=4, change_coordinate_frame=True
    )
    got = detect(traced, postprocessing, boxes, [[[0.9], [0.8], [0.7], [0.6]]])
    np.testing.assert_allclose(got.scores, [[0.7, 0.6, 0, 0]])


@pytest.mark.parametrize(
    ("change", "expected"),
    [(False, [0.0, 0.2, 0.5, 0.8]), (True, [0.0, 0.2, 1.0, 0.8])],
    ids=["padded input", "image"],
)
@pytest.mark.parametrize("window", [[0.0, 0.0, 0.5, 1.0], [[0.0, 0.0, 0.5, 1.0]]], ids=["one for all", "one an image"])
def test_frame_of_the_boxes(traced, change, expected, window):
    got = detect(traced, identity(change_coordinate_frame=change), [[[-0.1, 0.2, 0.7, 0.8]]], [[[0.9]]], window)
    np.testing.assert_allclose(got.boxes[0, 0], expected, rtol=1e-6, atol=1e-6)


def test_suppression_comes_before_clipping(traced):
    # Equal inside of the window, IoU 1/2 outside: both stay.
    got = detect(traced, identity(), [[[0, 0, 1, 1], [0, 0, 1, 2]]], [[[0.9], [0.8]]])
    np.testing.assert_allclose(got.boxes[0, :2], [[0, 0, 1, 1]] * 2)


def test_scores_that_are_not_numbers_are_not_detections(traced):
    got = detect(traced, identity(), [[LEFT, RIGHT]], [[[np.nan], [0.5]]])
    np.testing.assert_array_equal(got.num_detections, [1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iou_threshold": 1.1}, r"iou_threshold must be in \[0, 1\], got 1.1"),
        ({"max_detections_per_class": 0}, "max_detections_per_class must be >= 1, got 0"),
        ({"max_detections_per_class": 101}, r"max_detections_per_class must be <= max_total_detections \(100\), got 101"),
        ({"logit_scale": 0.0}, "logit_scale must be > 0, got 0"),
        ({"soft_nms_sigma": -1.0}, "soft_nms_sigma must be >= 0, got -1"),
    ],
)
def test_refuses_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        PostProcessing(**settings)
