"""Whole networks against the reference: raw predictions, preprocessing, detections, regularisation.

Tolerance: with oneDNN's kernels, which the golden files were made with (`TF_ENABLE_ONEDNN_OPTS=1`), the difference is 0. TensorFlow's other
kernels round differently, which 20 layers of ReLU6 and 1 / sigma of up to 30 raise to 2.3e-4 on logits with a standard deviation of 1.7
(2.6e-4 of 2.3 with a feature pyramid, and 1.3e-3 of 2.8 on its maps; MobileNet V1 stays below 4e-6).
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.types import Detections, Predictions

WITH_ONEDNN = os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"  # tests/conftest.py sets it where nobody else has
OTHER_KERNELS_ATOL = 4e-4
ATOL = 1e-4 if WITH_ONEDNN else OTHER_KERNELS_ATOL
FEATURES_ATOL = 1e-4 if WITH_ONEDNN else 2e-3
MODELS = ["ssdlite_v2_dm0.35_160", "ssdlite_v2_dm1.0_320", "fpnlite_v2_dm0.35_320", "ssd_v1_dm0.25_320"]
SMALL = "ssdlite_v2_dm0.35_160"


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest, reference: Callable):
    return reference(request.param)


class TestAgainstTheReference:
    def test_raw_predictions(self, case):
        inputs, true_shapes = case.detector.preprocess(case.values["image_uint8"])
        np.testing.assert_array_equal(true_shapes, case.values["true_image_shapes"][:, :2])
        predictions = case.detector.predict(inputs)
        np.testing.assert_allclose(predictions.box_encodings, case.values["box_encodings"], atol=ATOL, rtol=0)
        np.testing.assert_allclose(predictions.class_logits, case.values["class_predictions_with_background"], atol=ATOL, rtol=0)

    def test_a_batch_of_one(self, case):
        """The size of the batch chooses kernels, too."""
        inputs, _ = case.detector.preprocess(case.values["image_uint8"][1:2])
        predictions = case.detector.predict(inputs)
        np.testing.assert_allclose(predictions.box_encodings, case.values["box_encodings"][1:2], atol=OTHER_KERNELS_ATOL, rtol=0)

    def test_anchors(self, case):
        np.testing.assert_allclose(case.detector.anchors, case.values["anchors"], atol=1e-6, rtol=0)

    def test_feature_maps(self, case):
        wanted = [case.values[f"feature_map_{index}"] for index in range(len(case.detector.feature_map_shapes))]
        assert case.detector.feature_map_shapes == tuple(feature_map.shape[1:3] for feature_map in wanted)
        network = tf_keras.Model(case.detector.network.input, _feature_maps(case.detector))
        found = network(case.detector.preprocess(case.values["image_uint8"])[0])
        for index, feature_map in enumerate(wanted):
            np.testing.assert_allclose(found[index][:1], feature_map, atol=FEATURES_ATOL, rtol=0, err_msg=str(index))

    def test_losses(self, request: pytest.FixtureRequest, case, ssd_config: Callable, make_ground_truth: Callable):
        """1e-5 relative, as for the losses alone: what rounding does to single logits averages out."""
        loss = build_detection_loss(ssd_config(request.node.callspec.params["case"]))
        images = case.values["image_uint8"]
        boxes = [case.values[f"gt/boxes_{index}"] for index in range(len(images))]
        classes = [case.values[f"gt/classes_onehot_{index}"].argmax(axis=1) for index in range(len(images))]
        predictions = case.detector.predict(case.detector.preprocess(images)[0])
        losses = loss(predictions, make_ground_truth(boxes, classes), tf.constant(case.detector.anchors))
        assert float(losses.localization_loss) == pytest.approx(float(case.values["loss_infer/Loss/localization_loss"]), rel=1e-5)
        assert float(losses.classification_loss) == pytest.approx(float(case.values["loss_infer/Loss/classification_loss"]), rel=1e-5)

    def test_boxes_before_suppression(self, case):
        wanted = case.values["det/raw_detection_boxes_img0"]
        boxes = case.detector.decode(tf.constant(case.values["box_encodings"][:1]))
        np.testing.assert_allclose(boxes[0], wanted, rtol=1e-5, atol=1e-6)

    def test_sum_of_the_regularization(self, case):
        losses = case.detector.network.losses
        assert len(losses) == case.values["n_regularized"]
        np.testing.assert_allclose(tf.add_n(losses), case.values["regularization_loss"], rtol=1e-5)

    def test_preprocessing_of_a_photo_with_another_shape(self, case):
        inputs, true_shapes = case.detector.preprocess(case.values["rect/image_uint8"])
        step = int(case.values["rect/preprocessed_stride"])
        np.testing.assert_allclose(inputs[:, ::step, ::step], case.values["rect/preprocessed"], atol=1e-6, rtol=0)
        assert true_shapes.numpy().tolist() == [list(inputs.shape[1:3])]

    @pytest.mark.parametrize(("images", "prefix"), [("image_uint8", "det"), ("rect/image_uint8", "rect")])
    def test_detections(self, case, images: str, prefix: str):
        found = case.detector.detect(case.values[images])
        wanted = {name: case.values[f"{prefix}/detection_{name}"] for name in ("boxes", "scores", "classes")}
        np.testing.assert_array_equal(found.num_detections, case.values[f"{prefix}/num_detections"])
        np.testing.assert_allclose(found.scores, wanted["scores"], atol=1e-4)
        for image in range(len(wanted["boxes"])):
            _assert_same_boxes(found, image, **{name: value[image] for name, value in wanted.items()})

    @pytest.mark.parametrize("model", [SMALL, "fpnlite_v2_dm0.35_320", "ssd_v1_dm0.25_320"])
    def test_regularization(self, golden: Callable[[str], Path], reference: Callable, api_name: Callable[[str], str], model: str):
        expected = json.loads(golden("regularized.json").read_text())[model]
        network = reference(model).detector.network
        assert sorted(map(api_name, _regularized(network))) == sorted(map(api_name, expected["regularized"]))
        assert len(network.losses) == expected["n_losses"]
        np.testing.assert_allclose(tf.add_n(network.losses), expected["sum"], rtol=1e-5)


VARIANTS = {  # case of make_network_variants_golden.py
    "plain_heads_behind_shared_layers": "SSD heads, 1x1 convolutions before them, dropout",
    "explicit_padding_of_an_odd_size": "pad_to_multiple, non-square, four feature maps",
    "backbone_defaults_and_frozen_batchnorm": "no override of the backbone's hyperparameters, depth 1.4, no gamma and beta",
    "swish_and_forced_bias": "min_depth below the widths, 5x5 heads",
    "padded_aspect_ratio": "true shape smaller than the input",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_against_the_reference(variant: str, golden: Callable[[str], Path], ssd_config: Callable):
    with np.load(golden("network_variants.npz")) as stored:
        images = stored["images"]
        values = {key.partition("/")[2]: stored[key] for key in stored.files if key.startswith(f"{variant}/")}
    detector = build_detector(ssd_config(SMALL, str(values["overrides"])))
    assert len(detector.network.variables) == values["num_variables"]
    for variable in detector.network.variables:
        variable.assign(_value(variable.name.removesuffix(":0"), variable.shape))
    inputs, true_shapes = detector.preprocess(images)
    predictions = detector.predict(inputs)
    np.testing.assert_array_equal(true_shapes, values["true_shapes"][:, :2])
    np.testing.assert_allclose(inputs[:, ::8, ::8], values["inputs_every_8"], atol=1e-6)
    np.testing.assert_allclose(detector.anchors, values["anchors"], atol=1e-6)
    np.testing.assert_allclose(predictions.box_encodings, values["box_encodings"], atol=1e-4)
    np.testing.assert_allclose(predictions.class_logits, values["class_logits"], atol=1e-4)
    np.testing.assert_allclose(np.sort(detector.network.losses), np.sort(values["regularization"]), rtol=1e-5)


class TestPreprocess:
    def test_uint8_and_float_agree(self, reference: Callable):
        detector, values = reference(SMALL)
        images = values["rect/image_uint8"]
        np.testing.assert_array_equal(detector.preprocess(images)[0], detector.preprocess(images.astype(np.float32))[0])

    def test_batches_in_a_data_pipeline_whose_sizes_are_unknown(self, reference: Callable):
        detector, values = reference(SMALL)
        images = values["rect/image_uint8"]
        spec = tf.TensorSpec([None, None, None, 3], tf.uint8)
        data = tf.data.Dataset.from_generator(lambda: iter([images, images[:, :100]]), output_signature=spec).map(detector.preprocess)
        assert data.element_spec[0].shape.as_list() == [None, 160, 160, 3]
        first, second = data
        np.testing.assert_allclose(first[0], detector.preprocess(images)[0], atol=1e-6)
        assert second[0].shape == (1, 160, 160, 3) and second[1].numpy().tolist() == [[160, 160]]

    def test_pixels_come_back(self, reference: Callable):
        detector, values = reference(SMALL)
        images = values["image_uint8"]  # of the input's size
        np.testing.assert_allclose(detector.denormalize(detector.preprocess(images)[0]), images, atol=1e-3)


class TestPredict:
    def test_graph_and_batch_sizes(self, reference: Callable):
        detector, values = reference(SMALL)
        detect = tf.function(detector.detect, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
        for batch in (1, 3):
            found = detect(values["image_uint8"][:batch])
            np.testing.assert_allclose(found.scores, values["det/detection_scores"][:batch], atol=1e-4)

    def test_box_encodings_are_clipped(self, ssd_config: Callable):
        limits = "box_predictor { convolutional_box_predictor { box_encodings_clip_range { min: -0.001 max: 0.002 } } }"
        detector = build_detector(ssd_config(SMALL, limits))
        encodings = detector.predict(_noise(detector), training=True).box_encodings
        assert np.min(encodings) == pytest.approx(-0.001) and np.max(encodings) == pytest.approx(0.002)

    def test_without_a_background_class(self, ssd_config: Callable):
        detector = build_detector(ssd_config(SMALL, "add_background_class: false"))
        predictions = detector.predict(_noise(detector))
        assert predictions.class_logits.shape == (2, 540, 3)
        logits = np.full((1, 540, 3), -20.0, np.float32)
        logits[0, 7, 0] = 5.0  # the first class, not a background
        found = detector.postprocess(Predictions(tf.zeros([1, 540, 4]), tf.constant(logits)))
        assert found.classes[0, 0] == 0
        np.testing.assert_allclose(found.boxes[0, 0], np.clip(detector.anchors[7], 0, 1), atol=1e-6)

    def test_detections_stay_in_the_content_of_a_padded_input(self, ssd_config: Callable):
        resizer = "image_resizer { keep_aspect_ratio_resizer { min_dimension: 100 max_dimension: 160 pad_to_max_dimension: true } }"
        detector = build_detector(ssd_config(SMALL, resizer))
        inputs, true_shapes = detector.preprocess(np.full((1, 100, 80, 3), 255, np.uint8))
        assert true_shapes.numpy().tolist() == [[125, 100]]
        np.testing.assert_allclose(inputs[0, :125, :100], 1.0, atol=1e-5)
        np.testing.assert_array_equal(inputs[0, 125:], 0.0)
        np.testing.assert_array_equal(inputs[0, :, 100:], 0.0)
        logits = np.full((1, 540, 4), -20.0, np.float32)
        logits[0, -1, 1] = 5.0  # the square anchor of scale sqrt(0.95 * 1) in the middle
        found = detector.postprocess(Predictions(tf.zeros([1, 540, 4]), tf.constant(logits)), true_shapes)
        np.testing.assert_allclose(found.boxes[0, 0], [0.5 - 0.95**0.5 / 2, 0.5 - 0.95**0.5 / 2, 125 / 160, 100 / 160], atol=1e-6)


class TestTraining:
    def test_batch_norm_updates_and_dropout_only_in_training(self, ssd_config: Callable):
        tf_keras.utils.set_random_seed(1)
        detector = build_detector(ssd_config(SMALL, "box_predictor { convolutional_box_predictor { use_dropout: true } }"))
        inputs = _noise(detector)
        once, again = detector.predict(inputs), detector.predict(inputs)
        np.testing.assert_array_equal(once.class_logits, again.class_logits)
        assert _moving_statistics(detector) == {0.0, 1.0}
        once, again = detector.predict(inputs, training=True), detector.predict(inputs, training=True)
        assert np.abs(once.class_logits - again.class_logits).max() > 0
        assert len(_moving_statistics(detector)) > 1000

    def test_frozen_batch_norm_keeps_its_statistics_and_trains_the_rest(self, ssd_config: Callable):
        detector = build_detector(ssd_config(SMALL, "freeze_batchnorm: true"))
        inputs = _noise(detector)
        with tf.GradientTape() as tape:
            predictions = detector.predict(inputs, training=True)
            loss = tf.reduce_sum(predictions.box_encodings**2) + tf.reduce_sum(predictions.class_logits**2)
        np.testing.assert_allclose(predictions.box_encodings, detector.predict(inputs).box_encodings, atol=1e-6)
        assert _moving_statistics(detector) == {0.0, 1.0}
        gradients = tape.gradient(loss, detector.network.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        assert sum("gamma" in variable.name for variable in detector.network.trainable_variables) > 50

    def test_same_seed_same_weights(self, ssd_config: Callable):
        weights = []
        for seed in (7, 7, 8):
            tf_keras.utils.set_random_seed(seed)
            weights.append(build_detector(ssd_config(SMALL)).network.get_weights())
        assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))

    def test_every_layer_draws_its_own_values(self, ssd_config: Callable):
        network = build_detector(ssd_config(SMALL)).network
        twins = [network.get_layer(f"block_{block}_expand").kernel for block in (14, 15)]
        assert twins[0].shape == twins[1].shape
        assert not np.allclose(twins[0], twins[1])

    def test_batch_norm_runs_as_one_fused_operation(self, ssd_config: Callable):
        detector = build_detector(ssd_config(SMALL))
        graph = tf.function(lambda images: detector.predict(images, training=True)).get_concrete_function(_noise(detector)).graph
        kinds = [operation.type for operation in graph.get_operations()]
        layers = [layer for layer in detector.network.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
        assert kinds.count("FusedBatchNormV3") == len(layers) == 76  # 52 in the backbone, 12 in the extra layers, 12 in the heads
        assert "Moments" not in kinds and "SquaredDifference" not in kinds

    def test_one_flat_list_of_plain_layers(self, ssd_config: Callable):
        kinds = {type(layer) for layer in build_detector(ssd_config(SMALL)).network.layers}
        names = {"InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Add", "Reshape", "Concatenate"}
        assert {kind.__name__ for kind in kinds} == names
        assert {kind.__module__.partition(".")[0] for kind in kinds} == {"tf_keras"}


def _assert_same_boxes(found: Detections, image: int, *, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> None:
    """Every wanted detection is found; rounding may swap the order of near ties and decide which of two lasts in the top 100."""
    for box, score, label in zip(boxes[:-1], scores[:-1], classes[:-1], strict=True):
        same = np.abs(found.scores[image].numpy() - score) < 1e-4
        same &= found.classes[image].numpy() == label
        same &= np.abs(found.boxes[image].numpy() - box).max(axis=-1) < 1e-4
        assert same.any(), f"no detection of class {label} with score {score} at {box}"


def _regularized(network: tf_keras.Model) -> list[str]:
    names = []
    for layer in network.layers:
        for attribute in ("kernel", "depthwise"):
            if getattr(layer, f"{attribute}_regularizer", None) is not None:
                names.append(getattr(layer, "depthwise_kernel" if attribute == "depthwise" else "kernel").name)
    return names


def _feature_maps(detector: SsdDetector) -> list:
    """What the heads get."""
    layers = {layer.name: layer for layer in detector.network.layers}
    tower = layers.get("WeightSharedConvolutionalBoxPredictor/PredictionTower/conv2d_0/depthwise")
    if tower is not None:
        return [tower.get_input_at(level) for level in range(len(detector.feature_map_shapes))]
    heads = [f"BoxPredictor/ConvolutionalBoxHead_{level}/BoxEncodingPredictor" for level in range(len(detector.feature_map_shapes))]
    return [layers.get(f"{head}_depthwise", layers[head]).input for head in heads]


def _value(name: str, shape: tf.TensorShape) -> np.ndarray:
    """As in make_network_variants_golden.py."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_kernel") else np.prod(shape[:-1])), shape)


def _noise(detector: SsdDetector) -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).uniform(-1, 1, (2, *detector.input_shape)).astype(np.float32))


def _moving_statistics(detector: SsdDetector) -> set[float]:
    moving = [variable for variable in detector.network.variables if "moving_" in variable.name]
    return {float(value) for variable in moving for value in variable.numpy().ravel()}
