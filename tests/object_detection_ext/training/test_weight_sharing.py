"""Training and checkpoints of a network whose heads are used once a feature map: their weights count once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.training import checkpoints
from object_detection_ext.training.detection import DetectionTask
from object_detection_ext.training.trainer import Trainer
from object_detection_ext.types import Batch

SMALL = """
image_resizer { fixed_shape_resizer { height: 64 width: 64 } } freeze_batchnorm: true
feature_extractor { fpn { max_level: 5 } } anchor_generator { multiscale_anchor_generator { max_level: 5 } }
box_predictor { weight_shared_convolutional_box_predictor { depth: 16 num_layers_before_predictor: 1 } }
"""
RATE = 0.5


@pytest.fixture(scope="module")
def task(golden: Callable[[str], Path]) -> DetectionTask:
    config = text_format.Parse(golden("fpnlite_v2_dm0.35_320.config").read_text(), pipeline_pb2.TrainEvalPipelineConfig())
    text_format.Merge(SMALL, config.model.ssd)
    tf_keras.utils.set_random_seed(0)
    return DetectionTask(
        detector=build_detector(config.model.ssd),
        loss=build_detection_loss(config.model.ssd),
        make_train_dataset=None,
        make_eval_dataset=None,
        categories={1: "a", 2: "b", 3: "c"},
        train_batch_size=2,
        check_input=lambda: None,
    )


@pytest.fixture
def batch(make_ground_truth: Callable) -> Batch:
    images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32))
    shapes = tf.constant([[64, 64]] * 2)
    truth = make_ground_truth([[[0.1, 0.2, 0.6, 0.7]], [[0.3, 0.3, 0.9, 0.8]]], [[0], [2]], size=2)
    return Batch(images, shapes, truth, shapes, tf.constant(["", ""]))


def test_a_step_follows_the_gradient_of_loss_and_regularization(task: DetectionTask, batch: Batch, monkeypatch: pytest.MonkeyPatch):
    network = task.network
    with tf.GradientTape() as tape:
        total = tf.add_n([*task.losses(batch, training=True).values(), *network.losses])
    gradients = tape.gradient(total, network.trainable_variables)
    expected = {
        variable.name: variable.numpy() - RATE * gradient.numpy()
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True)
    }
    monkeypatch.setattr(DetectionTask, "train_dataset", lambda self, start: tf.data.Dataset.from_tensors(batch).repeat())
    losses = Trainer(task, tf_keras.optimizers.legacy.SGD(RATE)).train(tf.constant(1))
    assert losses["Loss/total_loss"] == pytest.approx(float(total), rel=1e-5)
    assert sum("PredictionTower/conv2d_0/depthwise/" in name for name in expected) == 1
    for variable in network.trainable_variables:
        scale = np.abs(expected[variable.name]).max()
        np.testing.assert_allclose(variable, expected[variable.name], atol=1e-4 * scale, err_msg=variable.name)


def test_checkpoints_hold_each_weight_once(task: DetectionTask, tmp_path: Path):
    network = task.network
    prefix = tf.train.Checkpoint(model=network).write(str(tmp_path / "ckpt-1"))
    checkpoints.check_fits(network, prefix)
    keys = checkpoints.variable_keys(network)
    assert len(keys) == len({variable.ref() for variable in keys.values()}) == len(network.variables)
    reader = tf.train.load_checkpoint(prefix)
    for key, variable in keys.items():
        np.testing.assert_array_equal(reader.get_tensor(key), variable)
    before = network.get_weights()
    network.set_weights([np.zeros_like(value) for value in before])
    checkpoints.restore_network(network, prefix)
    for value, restored in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(restored, value)
