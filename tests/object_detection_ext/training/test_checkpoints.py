"""Checkpoints of the original take the place of ours where a model is loaded, and go back as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import trackable_object_graph_pb2

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import load_config
from object_detection_ext.errors import InputError
from object_detection_ext.training.checkpoints import find_checkpoint, restore_network, save_network, step_of
from object_detection_ext.weights.write_api import write_api_checkpoint

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


class TestOfTheOriginal:
    @pytest.fixture(scope="class", params=["ssdlite_v2_dm0.35_160", "ssd_v1_dm0.25_320", "fpnlite_v2_dm0.35_320"])
    @staticmethod
    def model(request, golden):
        """Name and detector, with the original's weights."""
        detector = build_detector(load_config(golden(f"{request.param}.config")).proto.model.ssd)
        restore_network(detector.network, golden(f"{request.param}_ckpt"))
        return request.param, detector

    def test_detections(self, model, golden):
        """Absolute tolerance 1e-4, of box coordinates and scores: whole networks in float32 (measured: at most 3e-5)."""
        name, detector = model
        with np.load(golden(f"{name}_io.npz")) as expected:
            found = detector.detect(tf.constant(expected["image_uint8"]))
            np.testing.assert_array_equal(found.num_detections, expected["det/num_detections"])
            np.testing.assert_array_equal(found.classes, expected["det/detection_classes"])
            np.testing.assert_allclose(found.scores, expected["det/detection_scores"], atol=1e-4)
            np.testing.assert_allclose(found.boxes, expected["det/detection_boxes"], atol=1e-4)

    def test_the_way_back_gives_the_same_keys_names_and_values(self, model, golden, tmp_path):
        name, detector = model
        prefix = write_api_checkpoint(detector.network, tmp_path, step=7)
        assert prefix == str(tmp_path / "ckpt-7")
        assert _content(prefix) == {
            key: (variable, shape) for variable, key, shape in json.loads(golden(f"{name}_ckpt_keys.json").read_text())
        }
        ours, theirs = tf.train.load_checkpoint(prefix), tf.train.load_checkpoint(str(golden(f"{name}_ckpt") / "ckpt-1"))
        for key in _content(prefix).keys() - {f"save_counter{VALUE}"}:
            np.testing.assert_array_equal(ours.get_tensor(key), theirs.get_tensor(key), err_msg=key)

    def test_the_step(self, golden):
        assert step_of(find_checkpoint(golden("ssdlite_v2_dm0.35_160_ckpt"))) == 7

    def test_every_variable_must_be_there(self, golden):
        with pytest.raises(InputError, match=r"ckpt-1 \(TF 2 checkpoint of the Object Detection API\): .* everything must; nothing was"):
            restore_network(small_network(), golden("ssdlite_v2_dm0.35_160_ckpt"))


def _content(prefix):
    """Key -> the variable's name and shape."""
    reader = tf.train.load_checkpoint(prefix)
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    shapes = reader.get_variable_to_shape_map()
    return {a.checkpoint_key: (a.full_name, shapes[a.checkpoint_key]) for node in graph.nodes for a in node.attributes}


def small_network():
    image = tf_keras.Input((8, 8, 3))
    return tf_keras.Model(image, tf_keras.layers.Conv2D(2, 1, name="Conv1")(image))


def test_a_network_saved_without_optimizer_is_read_again(tmp_path):
    network = small_network()
    prefix = save_network(network, tmp_path, step=12)
    assert (prefix, step_of(prefix), find_checkpoint(tmp_path)) == (str(tmp_path / "ckpt-12"), 12, prefix)
    fresh = small_network()
    assert restore_network(fresh, tmp_path) == prefix
    np.testing.assert_array_equal(fresh.weights[0], network.weights[0])
