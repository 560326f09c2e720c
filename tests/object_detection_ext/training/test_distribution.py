"""Two replicas on two virtual CPU devices train like one: the same weights, the same reported losses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
import tf_keras

sys.path.insert(0, sys.argv[1])
from object_detection_ext.training.trainer import Trainer

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


class Task:
    loss_tags = ("Loss/fit_loss",)

    def __init__(self):
        tf_keras.utils.set_random_seed(1)
        l2 = tf_keras.regularizers.L2(0.01)
        inputs = tf_keras.Input((3,))
        self.network = tf_keras.Model(inputs, tf_keras.layers.Dense(1, kernel_regularizer=l2)(inputs))

    def train_dataset(self, start_step):
        x = tf.random.stateless_normal([8, 3], seed=[1, 2])
        return tf.data.Dataset.from_tensors((x, tf.reduce_sum(x, axis=1, keepdims=True))).repeat()

    def losses(self, batch, *, training):
        x, y = batch
        return {"Loss/fit_loss": tf.reduce_mean((self.network(x, training=training) - y) ** 2)}


def train(strategy):
    with strategy.scope():
        task = Task()
        trainer = Trainer(task, tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9))
        losses = trainer.train(tf.constant(3))
        return losses, [variable.numpy() for variable in task.network.weights]


one_losses, one = train(tf.distribute.get_strategy())
two_losses, two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
for tag, value in one_losses.items():
    np.testing.assert_allclose(two_losses[tag], value, rtol=1e-5, err_msg=tag)
print("same")
"""


def test_two_replicas_train_like_one():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(ROOT)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("same")
