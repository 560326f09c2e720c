from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.diagnosis.autopsy import examine_truth
from object_detection_ext.diagnosis.stage import Outcome, first_broken
from object_detection_ext.diagnosis.truth_probe import sure_logits
from object_detection_ext.postprocess import PostProcessing

pytestmark = pytest.mark.usefixtures("eagerly")


def outcomes(stages) -> dict[str, str]:
    return {stage.name: stage.outcome.value for stage in stages}


@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "graph"])
def test_a_sound_chain_scores_one_everywhere(tiny_task, scene, is_eager):
    tf.config.run_functions_eagerly(is_eager)
    stages, holds = examine_truth(tiny_task, scene.batches(), num_files=1)
    assert holds
    names = ["records", "classes", "resize", "assignment", "evaluation", "NMS", "box codes", "all together"]
    assert outcomes(stages) == dict.fromkeys(names, "ok")
    assert stages[0].message == "6 images of 1 file decode; 12 objects"
    assert stages[1].message == "3 classes: red 4, green 4, blue 4"
    assert all("mAP 1.000" in stage.message for stage in stages[4:])


def test_a_crowd_is_asked_of_nobody(tiny_task, scene):
    stages, _ = examine_truth(tiny_task, scene.batches(is_crowd=True), num_files=1)
    assert first_broken(stages) is None
    assert all("mAP 1.000" in stage.message for stage in stages[4:])
    assert "6 crowds left out" in stages[4].message
    assert "lose 0 of 12 objects" in stages[5].message


@pytest.mark.parametrize(
    ("change_boxes", "message", "advice"),
    [
        (lambda boxes: boxes * 64, "12 of 12 boxes reach to 61: pixels, where shares of the image belong", "divide the boxes"),
        (lambda boxes: boxes[:, [0, 1, 0, 1]], "12 of 12 boxes have no area", "ymin, xmin, ymax, xmax"),
    ],
    ids=["pixels", "points"],
)
def test_boxes_that_are_none(tiny_task, scene, change_boxes, message, advice):
    stages, holds = examine_truth(tiny_task, scene.batches(change_boxes), num_files=1)
    assert not holds
    (stage,) = stages
    assert (stage.name, stage.outcome, stage.message) == ("records", Outcome.BROKEN, message)
    assert advice in stage.advice


def test_no_objects_at_all(tiny_task, scene):
    nothing = replace(scene, chosen=[[]] * 6, classes=[[]] * 6)
    stages, _ = examine_truth(tiny_task, nothing.batches(), num_files=2)
    assert stages[0].message == "none of 6 images has a ground-truth box"


def test_no_images(tiny_task):
    stages, holds = examine_truth(tiny_task, [], num_files=1)
    assert not holds and stages[0].outcome is Outcome.BROKEN


def test_label_maps_that_differ(tiny_task, scene):
    ours, theirs = LabelMap.from_names(["red", "green", "blue"]), LabelMap.from_names(["green", "red", "blue"])
    stages, _ = examine_truth(tiny_task, scene.batches(), num_files=1, label_map=ours, train_map=theirs)
    assert first_broken(stages) is stages[1]
    assert stages[1].message == (
        "the label maps of training and evaluation differ: id 1 is green in training, red here, id 2 is red in training, green here"
    )


def test_an_id_without_a_name(tiny_task, scene):
    stages, _ = examine_truth(replace(tiny_task, categories={1: "red", 3: "blue"}), scene.batches(), num_files=1)
    assert first_broken(stages) is stages[1]
    assert stages[1].message == "the label map lacks the ids 2 of the ground truth"


def test_a_class_that_never_occurs_is_a_note(tiny_task, scene):
    stages, _ = examine_truth(tiny_task, scene.batches(change_classes=lambda classes: classes * 0), num_files=1)
    assert (stages[1].outcome, stages[1].message) == (Outcome.NOTE, "1 classes: red 12; none of green, blue")


@pytest.mark.parametrize(("value", "message"), [(0.25, "every pixel of the network's input is 0.25"), (np.nan, "NaN or infinite")])
def test_images_that_hold_nothing(tiny_task, scene, value, message):
    stages, _ = examine_truth(tiny_task, scene.batches(images=np.full((6, 64, 64, 3), value)), num_files=1)
    assert first_broken(stages).name == "resize"
    assert message in first_broken(stages).message


def test_objects_below_a_few_pixels(tiny_task, scene):
    def shrunk(boxes: np.ndarray) -> np.ndarray:
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.concatenate([centers - 0.01, centers + 0.01], axis=1)

    stages, _ = examine_truth(tiny_task, scene.batches(shrunk), num_files=1)
    assert first_broken(stages).name == "resize"
    assert "objects are 1 pixels large in the median, 100.0% below 4" in first_broken(stages).message


def test_anchors_in_pixels(with_detector, tiny_task, scene):
    task = with_detector(anchors=tiny_task.detector.anchors * 64)
    stages, _ = examine_truth(task, scene.batches(), num_files=1)
    assert first_broken(stages).name == "assignment"
    assert "normalize_coordinates: true" in first_broken(stages).advice


def test_anchors_that_reach_nothing_without_force(tiny_task, scene):
    loss = tiny_task.loss
    assigner = replace(loss.assigner, matcher=replace(loss.assigner.matcher, force_match_for_each_row=False))
    task = replace(tiny_task, loss=replace(loss, assigner=assigner))
    stages, _ = examine_truth(task, scene.batches(lambda boxes: np.tile([[0.0, 0.3, 1.0, 0.4]], (len(boxes), 1))), num_files=1)
    assert first_broken(stages).message == "0 positive anchors for 12 objects; 12 objects have none"
    assert "--anchor_patch" in first_broken(stages).advice


def test_two_of_one_class_in_one_place_are_one_after_nms(tiny_task, scene):
    # Both objects of an image become the same box; in two of six images they also have one class.
    def same(boxes: np.ndarray) -> np.ndarray:
        return np.repeat(boxes[:1], 2, axis=0)

    two_alike = replace(scene, classes=[[0, 0], [1, 1], [0, 1], [1, 2], [2, 0], [0, 2]])
    stages, _ = examine_truth(tiny_task, two_alike.batches(same), num_files=1)
    nms = stages[5]
    assert (nms.name, nms.outcome) == ("NMS", Outcome.NOTE)
    assert "lose 2 of 12 objects" in nms.message


def test_nms_that_lets_nothing_through(with_detector, scene):
    stages, _ = examine_truth(with_detector(score_threshold=1.0), scene.batches(), num_files=1)
    broken = first_broken(stages)
    assert broken.name == "NMS" and "mAP 0.000; it and its limits lose 12 of 12 objects" in broken.message
    assert "score_threshold 1," in broken.advice


def test_codes_that_are_clipped_away(with_detector, scene):
    # A quarter lower: 10 * 0.25 in the code, of which nothing is left.
    def lowered(boxes: np.ndarray) -> np.ndarray:
        return boxes + 0.25 * (boxes[:, 2:3] - boxes[:, :1]) * [[1, 0, 1, 0]]

    stages, _ = examine_truth(with_detector(box_encodings_clip_range=(-0.1, 0.1)), scene.batches(lowered), num_files=1)
    assert first_broken(stages).name == "box codes"
    intact, _ = examine_truth(with_detector(), scene.batches(lowered), num_files=1)
    assert outcomes(intact)["box codes"] == "ok"


@pytest.mark.parametrize("converter", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("has_background", [True, False], ids=["background", "no_background"])
@pytest.mark.parametrize("logit_scale", [1.0, 4.0])
def test_sure_logits_become_zeros_and_ones(converter, has_background, logit_scale):
    one_hot = np.array([[[0, 1, 0], [1, 0, 0]]], np.float32)
    post = PostProcessing(score_converter=converter, has_background=has_background, logit_scale=logit_scale)
    scores = post.convert_scores(sure_logits(tf.constant(one_hot), post)).numpy()
    np.testing.assert_allclose(scores[..., 1:] if has_background else scores, one_hot, atol=1e-9)


@pytest.mark.parametrize("converter", ["identity", "sigmoid", "softmax"])
def test_sure_of_background(converter):
    post = PostProcessing(score_converter=converter)
    scores = post.convert_scores(sure_logits(tf.zeros([1, 1, 3]), post)).numpy()
    np.testing.assert_allclose(scores, [[[1, 0, 0, 0]]], atol=1e-9)
