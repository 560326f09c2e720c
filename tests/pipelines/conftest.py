"""Detectors that a reader can calculate in the head, as real files.

The image is cut into four quarters. Each is a box; its red, green and blue, averaged over the quarter and scaled to [0, 1],
are the scores of the classes red (id 1), green (2) and blue (3).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIZE = 8  # of the network's input
CENTERS = np.array([[y, x, 0.5, 0.5] for y in (0.25, 0.75) for x in (0.25, 0.75)], np.float32)
POSTPROCESS = """name: "TFLite_Detection_PostProcess" attr { key: "max_detections" value { i: 6 } }
attr { key: "max_classes_per_detection" value { i: 1 } } attr { key: "use_regular_nms" value { b: true } }
attr { key: "detections_per_class" value { i: 6 } } attr { key: "nms_score_threshold" value { f: 0.2 } }
attr { key: "nms_iou_threshold" value { f: 0.6 } } attr { key: "y_scale" value { f: 10.0 } } attr { key: "x_scale" value { f: 10.0 } }
attr { key: "h_scale" value { f: 5.0 } } attr { key: "w_scale" value { f: 5.0 } } attr { key: "num_classes" value { i: 3 } }"""


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with float32.tflite, uint8.tflite, int8.tflite, classifier.tflite and the folders saved_model, not_a_detector."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("models")
    detect = tf.function(_tflite_graph, input_signature=[tf.TensorSpec([1, SIZE, SIZE, 3], tf.float32, name="image")])
    (folder / "float32.tflite").write_bytes(_convert(detect))
    for dtype in (tf.uint8, tf.int8):
        (folder / f"{dtype.name}.tflite").write_bytes(_convert(detect, input_type=dtype))
    classify = tf.function(lambda image: tf.reduce_mean(image, [1, 2]), input_signature=detect.input_signature)
    (folder / "classifier.tflite").write_bytes(_convert(classify))

    module = tf.Module()
    module.detect = tf.function(_saved_graph, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")])
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=module.detect)
    other = tf.Module()
    other.classify = tf.function(lambda image: {"label": image[:, 0, 0]}, input_signature=module.detect.input_signature)
    tf.saved_model.save(other, str(folder / "not_a_detector"), signatures=other.classify)
    return folder


def _scores(image: Any) -> Any:
    """[1, 8, 8, 3] in [-1, 1] to [1, 4, 3] in [0, 1]."""
    import tensorflow as tf

    return tf.reshape(tf.nn.avg_pool2d(image, SIZE // 2, SIZE // 2, "VALID") * 0.5 + 0.5, [1, 4, 3])


def _tflite_graph(image: Any) -> Any:
    import tensorflow as tf

    @tf.function(experimental_implements=" ".join(POSTPROCESS.split()))
    def postprocess(box_encodings: Any, class_predictions: Any, anchors: Any) -> Any:
        del box_encodings, class_predictions, anchors
        return tuple(tf.constant(0.0, name=name) for name in ("boxes", "classes", "scores", "count"))

    scores = _scores(image)
    encodings = tf.concat([scores * 0.0, scores[..., :1] * 0.0], axis=-1)  # [1, 4, 4]: the anchors themselves
    return postprocess(encodings, scores, tf.constant(CENTERS))[::-1]  # an order that the reader must not rely on


def _saved_graph(image: Any) -> Any:
    import tensorflow as tf

    small = tf.raw_ops.ResizeBilinear(images=image, size=[SIZE, SIZE], align_corners=False, half_pixel_centers=False)
    scores, classes = tf.math.top_k(_scores(small * (2 / 255) - 1)[0], 1)  # [4, 1]
    order = tf.argsort(scores[:, 0], direction="DESCENDING", stable=True)
    corners = tf.constant(np.concatenate([CENTERS[:, :2] - 0.25, CENTERS[:, :2] + 0.25], axis=1))
    return {
        "detection_boxes": tf.gather(corners, order)[tf.newaxis],
        "detection_classes": tf.cast(tf.gather(classes[:, 0], order) + 1, tf.float32)[tf.newaxis],
        "detection_scores": tf.gather(scores[:, 0], order)[tf.newaxis],
        "num_detections": tf.constant([3.0]),
    }


def _convert(function: Any, input_type: Any = None) -> bytes:
    import tensorflow as tf

    module = tf.Module()  # holds the function: only on the way over a SavedModel does the converter see what it implements
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    converter.allow_custom_ops = True
    if input_type is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = _calibration
        converter.inference_input_type = input_type
    return converter.convert()


def _calibration() -> Iterator[list[np.ndarray]]:
    yield [np.full((1, SIZE, SIZE, 3), -1, np.float32)]
    yield [np.full((1, SIZE, SIZE, 3), 1, np.float32)]
