from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.model import TrainedModel
from export.signatures import INPUT_TYPES, serving_function
from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import load_config
from object_detection_ext.data.resize import PadToMultipleResizer
from object_detection_ext.types import Detections

# Names, dtypes and shapes of the API's own export (exporter_main_v2, 2.8.0) of a 3-class SSD; M is max_total_detections, A the anchors.
API_OUTPUTS = {
    "detection_boxes": ("M", 4),
    "detection_scores": ("M",),
    "detection_classes": ("M",),
    "detection_multiclass_scores": ("M", 4),
    "detection_anchor_indices": ("M",),
    "num_detections": (),
    "raw_detection_boxes": ("A", 4),
    "raw_detection_scores": ("A", 4),
}


@pytest.fixture(scope="module")
def serving(model: TrainedModel) -> Callable[[str], Any]:
    """The traced signature of an input type."""
    return functools.cache(functools.partial(serving_function, model.detector))


@pytest.fixture(scope="module")
def detect(model: TrainedModel) -> Callable[[np.ndarray], Detections]:
    """The detector itself, [B, H, W, 3] uint8."""
    return tf.function(model.detector.detect, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])


def _image(height: int = 70, width: int = 50) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("input_type", list(INPUT_TYPES))
def test_names_dtypes_and_shapes_are_the_apis(model: TrainedModel, serving, input_type: str) -> None:
    function = serving(input_type)
    batch = 1 if input_type == "image_tensor" else None
    sizes = {"M": 30, "A": len(model.detector.anchors)}
    outputs = {name: (value.dtype, value.shape.as_list()) for name, value in function.structured_outputs.items()}
    assert outputs == {name: (tf.float32, [batch, *(sizes.get(size, size) for size in shape)]) for name, shape in API_OUTPUTS.items()}


def _examples(images: list[np.ndarray]) -> list[bytes]:
    def example(image: np.ndarray) -> bytes:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.encode_png(image).numpy()]))
        return tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature})).SerializeToString()

    return [example(image) for image in images]


INPUTS: dict[str, Callable[[list[np.ndarray]], tf.Tensor]] = {
    "image_tensor": lambda images: tf.constant(np.stack(images)),
    "float_image_tensor": lambda images: tf.constant(np.stack(images), tf.float32),
    "encoded_image_string_tensor": lambda images: tf.stack([tf.io.encode_png(image) for image in images]),
    "tf_example": lambda images: tf.constant(_examples(images)),
}


@pytest.mark.parametrize("input_type", list(INPUT_TYPES))
def test_every_input_type_gives_the_detectors_detections(detect, serving, input_type: str) -> None:
    images = [_image()] if input_type == "image_tensor" else [_image(), _image()[::-1].copy()]
    expected = detect(np.stack(images))
    outputs = serving(input_type)(input_tensor=INPUTS[input_type](images))
    np.testing.assert_allclose(outputs["detection_boxes"], expected.boxes, atol=1e-5)
    np.testing.assert_allclose(outputs["detection_scores"], expected.scores, atol=1e-5)
    np.testing.assert_array_equal(outputs["num_detections"], expected.num_detections)
    valid = np.arange(30) < np.asarray(expected.num_detections)[:, np.newaxis]
    np.testing.assert_array_equal(np.asarray(outputs["detection_classes"])[valid], np.asarray(expected.classes)[valid] + 1)


def test_images_of_different_sizes_fit_in_one_batch_once_they_are_encoded(detect, serving) -> None:
    images = [_image(), _image(120, 33)]
    outputs = serving("tf_example")(input_tensor=tf.constant(_examples(images)))
    for index, image in enumerate(images):
        np.testing.assert_allclose(outputs["detection_scores"][index], detect(image[np.newaxis]).scores[0], atol=1e-5)


def test_multiclass_scores_and_anchor_indices_belong_to_their_detection(serving) -> None:
    outputs = {name: np.asarray(value[0]) for name, value in serving("image_tensor")(tf.constant(_image()[np.newaxis])).items()}
    count = int(outputs["num_detections"])
    assert count == 30
    for row in range(count):
        anchor, label = int(outputs["detection_anchor_indices"][row]), int(outputs["detection_classes"][row])
        np.testing.assert_array_equal(outputs["detection_multiclass_scores"][row], outputs["raw_detection_scores"][anchor])
        assert outputs["detection_multiclass_scores"][row][label] == outputs["detection_scores"][row]
        np.testing.assert_allclose(outputs["detection_boxes"][row], np.clip(outputs["raw_detection_boxes"][anchor], 0, 1), atol=1e-6)


def test_golden_detections_of_the_api(golden: Callable[[str], Path]) -> None:
    """The API's weights in our network: its SavedModel's numbers for square images and for one of another shape."""
    name = "ssdlite_v2_dm0.35_160"
    detector = build_detector(load_config(golden(f"{name}.config")).proto.model.ssd)
    stored = np.load(golden(f"{name}_vars_f16.npz"))
    prefix = "ssd_mobile_net_v2_keras_feature_extractor/"
    weights = {key.split(":")[1].removeprefix(prefix): stored[key] for key in stored.files}
    for variable in detector.network.variables:
        variable.assign(weights.pop(variable.name.split(":")[0]).astype(np.float32))
    assert not weights
    expected = np.load(golden(f"{name}_io.npz"))
    serve = serving_function(detector, "float_image_tensor")
    square = serve(input_tensor=tf.constant(expected["image_uint8"], tf.float32))
    _assert_same_detections(square, expected, prefix="det/")
    np.testing.assert_allclose(square["raw_detection_boxes"][0], expected["det/raw_detection_boxes_img0"], atol=1e-4)
    _assert_same_detections(serve(input_tensor=tf.constant(expected["rect/image_uint8"], tf.float32)), expected, prefix="rect/")


def _assert_same_detections(actual: dict[str, tf.Tensor], golden: Mapping[str, np.ndarray], *, prefix: str) -> None:
    """Rows whose scores differ by rounding only may have changed places. Golden classes are 0-based."""
    for key in ("detection_scores", "num_detections"):
        np.testing.assert_allclose(actual[key], golden[prefix + key], atol=1e-4, err_msg=key)
    classes, boxes = actual["detection_classes"].numpy(), actual["detection_boxes"].numpy()
    for image in range(len(boxes)):
        distance = np.abs(golden[f"{prefix}detection_boxes"][image][:, np.newaxis] - boxes[image]).max(axis=-1)  # [M, M]
        other_class = golden[f"{prefix}detection_classes"][image][:, np.newaxis] + 1 != classes[image]
        assert np.where(other_class, 1.0, distance).min(axis=1).max() < 1e-4
        if f"{prefix}detection_anchor_indices" in golden:
            assert set(golden[f"{prefix}detection_anchor_indices"][image]) == set(actual["detection_anchor_indices"][image].numpy())


def test_boxes_are_relative_to_the_image_not_to_its_padding(model: TrainedModel) -> None:
    detector = replace(model.detector, image_resizer=PadToMultipleResizer(32))  # 70x100 becomes 96x128, the network's input
    image = _image(70, 100)[np.newaxis]
    outputs = serving_function(detector, "image_tensor")(tf.constant(image))
    padded = detector.detect(image)
    expected = padded.boxes.numpy() * np.tile([96 / 70, 128 / 100], 2)
    np.testing.assert_allclose(outputs["detection_boxes"].numpy(), expected, rtol=0, atol=1e-4)
    assert np.abs(expected - padded.boxes.numpy()).max() > 0.1
