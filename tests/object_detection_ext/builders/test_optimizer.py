"""`train_config.optimizer` against the original's learning rates and Keras's classes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

from object_detection_ext.builders.optimizer import build_learning_rate, build_optimizer
from object_detection_ext.errors import InputError
from object_detection_ext.protos import optimizer_pb2
from object_detection_ext.training import schedules

CASES = ("cosine", "cosine_hold", "cosine_nowarm", "exp_staircase", "exp_smooth_burnin_min", "manual", "manual_warmup", "constant")


def parse(text, message):
    return text_format.Parse(text, message)


def golden_schedule(path, name):
    lines = path.read_text().splitlines()
    text = lines[lines.index(f"# {name}") + 1]
    return parse(text, optimizer_pb2.MomentumOptimizer()).learning_rate


@pytest.mark.parametrize("name", CASES)
def test_rates_equal_the_reference(golden, name):
    rate = build_learning_rate(golden_schedule(golden("learning_rates.config"), name))
    data = np.load(golden("learning_rates.npz"))
    got = np.array([float(rate(tf.constant(step, tf.int64))) for step in data["steps"]])
    np.testing.assert_allclose(got, data[name], rtol=1e-5, atol=1e-9)


def test_cosine_is_half_way_down_at_half_time():
    rate = schedules.CosineDecay(base_rate=0.4, total_steps=1000)
    assert float(rate(500)) == pytest.approx(0.2)
    assert float(rate(1001)) == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train_config.optimizer.learning_rate must hold one of constant_learning_rate, "),
        (
            "cosine_decay_learning_rate { total_steps: 100 warmup_steps: 100 }",
            "train_config.optimizer.learning_rate.cosine_decay_learning_rate.total_steps must be larger than",
        ),
        ("constant_learning_rate { learning_rate: 0 }", "constant_learning_rate.learning_rate must be > 0, got 0"),
        ("manual_step_learning_rate { schedule { step: 9 } schedule { step: 9 } }", r"strictly increasing, got \[9, 9\]"),
        ("manual_step_learning_rate { }", "schedule must have at least one entry"),
    ],
    ids=["none", "warm-up too long", "zero", "steps not increasing", "no steps"],
)
def test_impossible_schedules_name_their_field(text, message):
    with pytest.raises(InputError, match=message):
        build_learning_rate(parse(text, optimizer_pb2.LearningRate()))


def test_momentum_moves_as_written():
    """v = m v - lr g, w = w + v: after two steps of gradient 1 with lr 0.1, m 0.9: w = -0.1 - 0.19."""
    config = parse(
        "momentum_optimizer { momentum_optimizer_value: 0.9 learning_rate { constant_learning_rate { learning_rate: 0.1 } } } "
        "use_moving_average: false",
        optimizer_pb2.Optimizer(),
    )
    optimizer = build_optimizer(config)
    weight = tf.Variable(0.0)
    for _ in range(2):
        optimizer.apply_gradients([(tf.constant(1.0), weight)])
    assert float(weight) == pytest.approx(-0.29)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("adam_optimizer", tf_keras.optimizers.legacy.Adam), ("rms_prop_optimizer", tf_keras.optimizers.legacy.RMSprop)],
)
def test_other_optimizers_take_their_settings(kind, expected):
    text = f"{kind} {{ epsilon: 0.125 learning_rate {{ constant_learning_rate {{ learning_rate: 0.5 }} }} }} use_moving_average: false"
    optimizer = build_optimizer(parse(text, optimizer_pb2.Optimizer()))
    assert isinstance(optimizer, expected)
    assert optimizer.get_config()["epsilon"] == 0.125


def test_moving_average_is_the_default_and_wraps():
    text = "momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.5 } } }"
    optimizer = build_optimizer(parse(text, optimizer_pb2.Optimizer()))
    assert hasattr(optimizer, "swap_weights")
    with pytest.raises(InputError, match=r"moving_average_decay must be in \(0, 1\), got 1"):
        build_optimizer(parse(text + " moving_average_decay: 1", optimizer_pb2.Optimizer()))
