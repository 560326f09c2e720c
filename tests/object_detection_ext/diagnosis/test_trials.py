"""Each way that a pipeline goes wrong, done to a network that is right, is named; the network is a fake that knows its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.diagnosis.autopsy import examine_predictions
from object_detection_ext.diagnosis.image_scores import Found, Score, Truth
from object_detection_ext.diagnosis.input_variants import convert_input, input_variants
from object_detection_ext.diagnosis.network_probe import NetworkProbe
from object_detection_ext.diagnosis.stage import Outcome, Stage, first_broken
from object_detection_ext.diagnosis.trials import Trial, best_class_mapping, format_trials, prediction_stage
from object_detection_ext.models.normalization import TO_MINUS_ONE_TO_ONE, PixelScaling

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def examine(scene, with_detector) -> Callable[..., tuple[list[Stage], dict[str, Trial]]]:
    """Stages and trials, by name, of a network; ground truth changed by the other arguments."""

    def run(
        network: Any = None, *, scene: Any = scene, fields: dict[str, Any] | None = None, with_variants: bool = False, **changes: Any
    ) -> tuple[list[Stage], dict[str, Trial]]:
        task = with_detector(network=network or scene.predictions(), **(fields or {}))
        result = NetworkProbe(task.detector, task.loss)(
            scene.batches(**changes), variants=input_variants(task.detector) if with_variants else ()
        )
        stages, trials = examine_predictions(result, task)
        return stages, {trial.name: trial for trial in trials}

    return run


@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "graph"])
def test_a_network_that_is_right(examine, is_eager):
    tf.config.run_functions_eagerly(is_eager)
    stages, trials = examine(with_variants=True)
    assert [(stage.name, stage.outcome) for stage in stages] == [(name, Outcome.OK) for name in ("losses", "scores", "predictions")]
    assert trials["as they are"].score == (1.0, 1.0)
    assert trials["classes ignored"].score.map_50 > 0.99
    same = {"as they are", "classes ignored", "batch statistics"}  # the fake has no batch norm
    assert max(trial.score.map_50 for name, trial in trials.items() if name not in same) < 0.2


def broken_by(stages: list[Stage]) -> str:
    """The trial that the last stage names."""
    assert first_broken(stages) is stages[-1]
    assert stages[-1].name == "predictions"
    return stages[-1].message.rpartition(" with ")[2]


@pytest.mark.parametrize(
    ("change_classes", "name", "advice"),
    [
        (lambda classes: np.maximum(classes, 1), None, ""),
        (lambda classes: (classes + 1) % 3, "class ids permuted", "green is called red"),
        (lambda classes: np.array([0, 2, 1])[classes], "class ids permuted", "blue is called green, green is called blue"),
    ],
    ids=["some_right", "rotated", "swapped"],
)
def test_classes_in_another_order(examine, change_classes, name, advice):
    stages, _ = examine(change_classes=change_classes)
    if name is None:
        assert first_broken(stages) is None
    else:
        assert broken_by(stages) == name
        assert advice in stages[-1].advice


@pytest.mark.parametrize(
    ("step", "name", "advice"), [(1, "class ids + 1", "too low by one"), (-1, "class ids - 1", "too high by one")], ids=["below", "above"]
)
def test_a_label_map_off_by_one(examine, scene, step, name, advice):
    # Of three classes the network uses the two that have a neighbour.
    two = replace(scene, classes=[[(image + 1) % 2 + (step < 0), image % 2 + (step < 0)] for image in range(6)])
    stages, _ = examine(two.predictions(), scene=two, change_classes=lambda classes: classes + step)
    assert broken_by(stages) == name
    assert advice in stages[-1].advice


@pytest.mark.parametrize(
    ("change_boxes", "name", "advice"),
    [
        (lambda boxes: boxes[:, [1, 0, 3, 2]], "x and y swapped", "write ymin, xmin, ymax, xmax"),
        (lambda boxes: np.stack([boxes[:, 0], 1 - boxes[:, 3], boxes[:, 2], 1 - boxes[:, 1]], 1), "mirrored left-right", "flip"),
        (lambda boxes: np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1), "mirrored up-down", "flip"),
        (lambda boxes: 1 - boxes[:, [2, 3, 0, 1]], "turned by 180 degrees", "EXIF"),
    ],
    ids=["transposed", "left_right", "up_down", "turned"],
)
def test_boxes_turned_around(examine, change_boxes, name, advice):
    stages, trials = examine(change_boxes=change_boxes)
    assert broken_by(stages) == name
    assert advice in stages[-1].advice
    assert trials[name].score.map > 0.99 and trials["as they are"].score.map_50 < 0.5


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"scaling": PixelScaling(1 / 255)}, "input in [0, 1]"),
        ({"scaling": PixelScaling()}, "input in [0, 255]"),
        ({"scaling": PixelScaling(1.0, (-123.68, -116.779, -103.939))}, "input less ImageNet's means"),
        ({"is_bgr": True}, "channels as BGR"),
        ({"only_training": True}, "batch statistics"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_input_than_the_network_was_trained_on(examine, scene, fields, name):
    stages, _ = examine(replace(scene.predictions(), **fields), with_variants=True)
    assert broken_by(stages) == name


def test_a_detector_made_for_other_pixels(examine, scene):
    scaling = PixelScaling(1 / 255)
    stages, _ = examine(scene.predictions(), fields={"normalize": scaling}, images=scaled_images(scaling), with_variants=True)
    assert broken_by(stages) == "input in [-1, 1]"


def scaled_images(scaling: PixelScaling) -> np.ndarray:
    pixels = [[[[20.0 + 20.0 * image, 240.0 - 20.0 * image, 60.0]]] for image in range(6)]
    return scaling(tf.constant(np.broadcast_to(pixels, (6, 64, 64, 3)), tf.float32)).numpy()


def test_boxes_predicted_in_pixels(examine, tiny_task):
    stages, trials = examine(fields={"anchors": tiny_task.detector.anchors * 64})
    assert broken_by(stages) == "predicted boxes in pixels"
    assert trials["predicted boxes in pixels"].score.map_50 == pytest.approx(1.0)


def test_a_threshold_above_every_score(examine, scene):
    stages, trials = examine(scene.predictions(logit=1.0), fields={"score_threshold": 0.9})
    assert stages[1].message == "best score of an image 0.731 in the median, 0.731 at most; 0 detections; none above score_threshold 0.9"
    assert broken_by(stages) == "no score threshold"
    assert "score_threshold" in stages[-1].advice
    assert trials["no score threshold"].score.map == pytest.approx(1.0)


def test_a_network_that_says_the_same_for_all_images(examine, scene):
    network = scene.predictions()
    stages, _ = examine(replace(network, logits=np.repeat(network.logits[:1], 6, axis=0)))
    assert first_broken(stages) is stages[1]
    assert stages[1].message.endswith("the same for every image")


def test_outputs_that_are_no_numbers(examine, scene):
    network = scene.predictions()
    stages, _ = examine(replace(network, encodings=np.full_like(network.encodings, np.nan)))
    assert first_broken(stages) is stages[0]
    assert "learning rate" in stages[0].advice


def test_a_network_that_has_not_learnt(examine, scene):
    network = scene.predictions()
    rng = np.random.default_rng(0)
    stages, _ = examine(replace(network, logits=rng.normal(-4, 0.1, network.logits.shape).astype(np.float32)))
    assert first_broken(stages) is stages[2]
    assert "has not learnt yet" in stages[2].advice


def test_right_boxes_with_any_class():
    trials = [
        Trial("as they are", Score(0.01, 0.02)),
        Trial("class ids + 1", Score(0.0, 0.0), "a"),
        Trial("classes ignored", Score(0.4, 0.6)),
    ]
    stage = prediction_stage(trials)
    assert stage.outcome is Outcome.BROKEN
    assert stage.message.endswith("mAP@.5 0.600 with classes ignored")
    assert "classes are not" in stage.advice


@pytest.mark.parametrize(
    ("own", "other", "outcome"),
    [(0.5, 0.55, Outcome.OK), (0.3, 0.61, Outcome.BROKEN), (0.0, 0.09, Outcome.BROKEN), (0.12, 0.2, Outcome.OK)],
    ids=["a_little_better", "twice", "neither_has_learnt", "less_than_a_tenth_more"],
)
def test_what_is_clearly_better(own, other, outcome):
    trials = [Trial("as they are", Score(own, own)), Trial("b", Score(other, other), "do b"), Trial("classes ignored", Score(own, own))]
    stage = prediction_stage(trials)
    assert stage.outcome is outcome
    assert ("do b" in stage.advice) == (own == 0.3)


def test_classes_are_paired_by_score():
    boxes = np.array([[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0, 0.6, 0.3, 0.9]], np.float32)
    truth = Truth(boxes, np.array([1, 2, 3]), np.array([False, False, True]), np.ones(3, np.float32), (10, 10))
    found = Found(boxes, np.array([2, 2, 1]), np.array([0.3, 0.9, 0.8], np.float32))
    # Detected 2 is true 2 by 0.9, against 1 by 0.3; detected 1 overlaps the crowd only.
    assert best_class_mapping([truth], [found], {1: "a", 2: "b", 3: "c"}) == {2: 2}


def test_the_pairing_is_the_best_of_all():
    boxes = np.array([[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0, 0.6, 0.3, 0.9]], np.float32)
    truth = Truth(boxes, np.array([1, 2, 1]), np.zeros(3, bool), np.ones(3, np.float32), (10, 10))
    found = Found(boxes, np.array([1, 1, 2]), np.array([0.9, 0.8, 0.7], np.float32))
    # Detected 1 is true 1 by 0.9 and true 2 by 0.8, detected 2 is true 1 by 0.7: 0.8 + 0.7 is more than 0.9 alone.
    assert best_class_mapping([truth], [found], {1: "a", 2: "b"}) == {1: 2, 2: 1}


def test_the_table():
    trials = [Trial("as they are", Score(0.5, 0.75)), Trial("x", Score(-1.0, 1.0))]
    assert format_trials(trials).splitlines() == [
        "trial           mAP  mAP@.5",
        "as they are   0.500   0.750",
        "x            -1.000   1.000",
    ]
    assert format_trials([]) == ""


def test_the_configs_own_scaling_is_no_variant(tiny_task, with_detector):
    names = [variant.name for variant in input_variants(tiny_task.detector)]
    assert "input in [-1, 1]" not in names and "input in [0, 1]" in names
    names = [variant.name for variant in input_variants(with_detector(normalize=PixelScaling((1 / 255,) * 3)).detector)]
    assert "input in [-1, 1]" in names and "input in [0, 1]" not in names


def test_padding_stays_zero(with_detector):
    from object_detection_ext.data.resize import KeepAspectRatioResizer

    detector = with_detector(image_resizer=KeepAspectRatioResizer(64, 64, pad_to_max_dimension=True)).detector
    (variant,) = (each for each in input_variants(detector) if each.name == "input in [0, 255]")
    inputs = tf.concat([TO_MINUS_ONE_TO_ONE(tf.fill([1, 32, 64, 3], 200.0)), tf.zeros([1, 32, 64, 3])], axis=1)
    converted = convert_input(detector, variant, inputs, tf.constant([[32, 64]])).numpy()
    np.testing.assert_allclose(converted[0, :32], 200.0, rtol=1e-5)
    np.testing.assert_array_equal(converted[0, 32:], 0.0)
