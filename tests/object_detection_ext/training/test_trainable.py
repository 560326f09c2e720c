"""Which variables train: patterns on names, and real steps in which only those change."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.training.averages import averages, start_averages
from object_detection_ext.training.trainable import TrainablePatterns, describe_trained
from object_detection_ext.training.trainer import Trainer

FEATURES = "FeatureMaps/layer_19_1_Conv2d_2_1x1_4_conv"
HEAD = "BoxPredictor/ConvolutionalClassHead_0/ClassPredictor"
TRAINABLE = [
    "Conv1/kernel",
    "bn_Conv1/gamma",
    "bn_Conv1/beta",
    f"{FEATURES}/kernel",
    f"{FEATURES}/bias",
    f"{HEAD}/kernel",
    f"{HEAD}/bias",
]


class TinyTask:
    """Regression with the layer names of a detector."""

    loss_tags = ("Loss/fit_loss",)

    def __init__(self, regularizer=None):
        tf_keras.utils.set_random_seed(3)
        layers = tf_keras.layers
        settings = {"kernel_regularizer": regularizer or tf_keras.regularizers.L2(0.01)}
        image = tf_keras.Input((4, 4, 2))
        x = layers.BatchNormalization(name="bn_Conv1")(layers.Conv2D(4, 3, use_bias=False, name="Conv1", **settings)(image))
        x = layers.Conv2D(4, 1, name=FEATURES, **settings)(x)
        self.network = tf_keras.Model(image, layers.Conv2D(1, 1, name=HEAD, **settings)(x))

    def train_dataset(self, start_step):
        return tf.data.Dataset.range(start_step, 2**40).map(lambda step: tf.random.stateless_normal([8, 4, 4, 2], seed=[7, step]))

    def losses(self, batch, *, training):
        return {"Loss/fit_loss": tf.reduce_mean((self.network(batch, training=training) - 1.0) ** 2)}


def names(variables):
    return [variable.name.removesuffix(":0") for variable in variables]


@pytest.fixture(scope="module")
def network():
    return TinyTask().network


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({}, TRAINABLE),
        ({"freeze_variables": ("Conv1",)}, TRAINABLE[3:]),
        ({"freeze_variables": ("FeatureExtractor/",)}, TRAINABLE[5:]),
        ({"freeze_variables": ("FeatureExtractor/MobilenetV2/Conv/weights",)}, TRAINABLE[1:]),
        ({"freeze_variables": ("BatchNorm",)}, [TRAINABLE[0], *TRAINABLE[3:]]),
        ({"freeze_variables": ("ssd_mobile_net_v2_keras_feature_extractor/",)}, [*TRAINABLE[:3], *TRAINABLE[5:]]),
        ({"update_trainable_variables": ("BoxPredictor",)}, TRAINABLE[5:]),
        ({"update_trainable_variables": ("BoxPredictor", "FeatureMaps"), "freeze_variables": ("/bias$",)}, [TRAINABLE[3], TRAINABLE[5]]),
        ({"freeze_variables": ("^kernel|gamma$",)}, [TRAINABLE[0], *TRAINABLE[2:]]),
    ],
    ids=[
        "all",
        "our scope",
        "TF 1's scope",
        "TF 1's variable",
        "TF 1's part",
        "TF 2's scope",
        "update",
        "update, then freeze",
        "expression",
    ],
)
def test_patterns_choose_by_any_of_the_names(network, patterns, expected):
    assert names(TrainablePatterns(**patterns)(network)) == expected


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            {"freeze_variables": ("Conv1", "BoxPredictr")},
            r"freeze_variables\[1\] must match a trainable variable, got 'BoxPredictr'; near it are BoxPredictor",
        ),
        ({"freeze_variables": ("moving_mean",)}, r"freeze_variables\[0\] must match a trainable variable, got 'moving_mean'"),
        ({"update_trainable_variables": ("Conv(1",)}, r"update_trainable_variables\[0\] must be a regular expression, got 'Conv\(1'"),
        ({"freeze_variables": ("",)}, "freeze_variables must leave something to train"),
        ({"update_trainable_variables": ("Conv1",), "freeze_variables": ("Conv1", "bn_Conv1")}, "must leave something to train"),
    ],
    ids=["near name", "not trainable", "no expression", "everything", "nothing left"],
)
def test_patterns_are_checked(network, patterns, message):
    with pytest.raises(ValueError, match=message):
        TrainablePatterns(**patterns)(network)


def test_what_trains_is_told(network):
    trained = TrainablePatterns(freeze_variables=("Conv1",))(network)
    assert describe_trained(network, trained).splitlines() == [
        "what trains: layers (parameters); batch norm of frozen scopes goes on updating its moving statistics unless "
        "model.ssd.freeze_batchnorm is set",
        "                                       trained  frozen",
        "backbone: Conv1 to bn_Conv1                  -  2 (80)",
        "FeatureMaps                             1 (20)       -",
        "BoxPredictor/ConvolutionalClassHead_0    1 (5)       -",
        "total                                   2 (25)  2 (80)",
    ]


def train(patterns, *, task=None, optimizer=None, steps=2, **settings):
    """The names of variables that changed, and the mean losses."""
    task = task or TinyTask()
    before = {variable.name.removesuffix(":0"): variable.numpy() for variable in task.network.weights}
    trained = TrainablePatterns(**patterns)(task.network)
    trainer = Trainer(task, optimizer or tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9), trained=trained, **settings)
    losses = trainer.train(tf.constant(steps))
    after = {variable.name.removesuffix(":0"): variable.numpy() for variable in task.network.weights}
    return {name for name, value in before.items() if not np.array_equal(value, after[name])}, losses


def test_frozen_variables_stay_bit_for_bit_and_the_others_move():
    changed, _ = train({"freeze_variables": ("Conv1",)})
    assert changed == {*TRAINABLE[3:], "bn_Conv1/moving_mean", "bn_Conv1/moving_variance"}, "moving statistics go on, as in TF 1"
    changed, _ = train({"update_trainable_variables": ("bn_Conv1/beta",)})
    assert changed == {"bn_Conv1/beta", "bn_Conv1/moving_mean", "bn_Conv1/moving_variance"}


def test_what_is_frozen_changes_nothing_for_the_rest():
    """One step with everything and one with a frozen layer move the trained variables alike (without clipping)."""
    whole, part = TinyTask(), TinyTask()
    train({}, task=whole, steps=1)
    train({"freeze_variables": ("Conv1",)}, task=part, steps=1)
    for a, b in zip(whole.network.weights[5:], part.network.weights[5:], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, err_msg=a.name)


@pytest.mark.parametrize("norm", ["L2, closed form", "L1"])
def test_regularisation_is_that_of_what_trains(norm):
    regularizer = tf_keras.regularizers.L1(0.01) if norm == "L1" else tf_keras.regularizers.L2(0.01)
    task = TinyTask(regularizer)
    kernels = [task.network.get_layer(name).kernel.numpy() for name in (FEATURES, HEAD)]
    expected = sum(0.01 * (np.abs(kernel).sum() if norm == "L1" else (kernel**2).sum()) for kernel in kernels)
    _, losses = train({"freeze_variables": ("Conv1",)}, task=task, steps=1)
    assert losses["Loss/regularization_loss"] == pytest.approx(expected, rel=1e-5)


def test_all_regularised_kernels_can_be_frozen():
    _, losses = train({"freeze_variables": ("kernel",)})
    assert losses["Loss/regularization_loss"] == 0.0


def test_only_what_trains_has_optimizer_slots_and_averages():
    from official.modeling.optimization import ExponentialMovingAverage

    task = TinyTask()
    optimizer = ExponentialMovingAverage(tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9), average_decay=0.9)
    patterns = {"freeze_variables": ("Conv1",)}
    trained = TrainablePatterns(**patterns)(task.network)
    start_averages(optimizer, trained)
    for variable, average in averages(optimizer):
        np.testing.assert_array_equal(average.numpy(), variable.numpy(), err_msg=variable.name)
    train(patterns, task=task, optimizer=optimizer)
    assert [variable.name for variable, _ in averages(optimizer)] == [variable.name for variable in trained]
    slots = [weight.name for weight in optimizer.weights if "momentum" in weight.name]
    assert len(slots) == len(trained)
    assert not any("Conv1" in name for name in slots)


def test_a_step_is_traced_once():
    traces = []

    class Counted(TinyTask):
        def losses(self, batch, *, training):
            traces.append(1)
            return super().losses(batch, training=training)

    trainer = Trainer(Counted(), tf_keras.optimizers.legacy.Adam(0.1), trained=None)
    trainer.train(tf.constant(1))
    trainer.train(tf.constant(3))
    assert len(traces) == 1
