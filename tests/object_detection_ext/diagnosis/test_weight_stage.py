from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.diagnosis.stage import Outcome, Stage
from object_detection_ext.diagnosis.weight_stage import weight_stage

HEAD = "BoxPredictor/ConvolutionalClassHead_0/ClassPredictor"


def trained() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv/kernel": rng.normal(size=(3, 3, 3, 8)),
        "bn/gamma": rng.uniform(0.5, 1.5, 8),
        "bn/beta": rng.normal(size=8),
        "bn/moving_mean": rng.normal(size=8),
        "bn/moving_variance": rng.uniform(0.5, 1.5, 8),
        f"{HEAD}/kernel": rng.normal(size=(1, 1, 8, 4)),
        f"{HEAD}/bias": rng.normal(-4.6, 0.1, 4).astype(np.float32),
        f"{HEAD}_depthwise_norm/moving_mean": rng.normal(size=8),
        f"{HEAD}_depthwise_norm/moving_variance": rng.uniform(0.5, 1.5, 8),
    }


def judge(*, step: int = 1000, **changes: np.ndarray) -> Stage:
    """Changes are named with __ for /."""
    weights = trained() | {name.replace("__", "/").replace("HEAD", HEAD): value for name, value in changes.items()}
    return weight_stage(weights, step=step, initial_class_bias=-4.6, num_steps=2000)


def test_trained_weights():
    assert judge() == Stage("weights", Outcome.OK, "1,000 steps of 2,000")


@pytest.mark.parametrize(
    ("changes", "message", "advice"),
    [
        ({"conv__kernel": np.full((3, 3, 3, 8), np.nan)}, "1 variables hold NaN or infinite numbers, the first conv/kernel", "diverged"),
        ({"bn__moving_variance": np.full(8, np.inf)}, "the first bn/moving_variance", "diverged"),
        ({"bn__moving_variance": np.linspace(-1e-3, 1, 8)}, "1 moving variances are negative, the first bn/moving_variance", ""),
        ({"bn__moving_variance": np.full(8, 1e12)}, "1 moving variances are above 1e+09, the first bn/moving_variance", ""),
        (
            {
                "bn__moving_mean": np.zeros(8),
                "bn__moving_variance": np.ones(8),
                "HEAD_depthwise_norm__moving_mean": np.zeros(8),
                "HEAD_depthwise_norm__moving_variance": np.ones(8),
            },
            "the moving statistics of all 2 batch norms are as they start, mean 0 and variance 1",
            "freeze_batchnorm: false",
        ),
        ({"HEAD__bias": np.full(4, -4.6, np.float32)}, "all biases of the class heads are -4.6, as they start", "never trained"),
        (
            {"bn__moving_variance": np.zeros(8), "HEAD_depthwise_norm__moving_variance": np.array([0, 1, 1, 1, 1, 1, 1, 1.0])},
            "9 of 16 batch-norm channels are constant",
            "dead",
        ),
    ],
    ids=["nan", "infinite", "negative_variance", "huge_variance", "untouched_statistics", "untouched_heads", "dead"],
)
def test_what_no_image_is_needed_for(changes, message, advice):
    stage = judge(**changes)
    assert stage.outcome is Outcome.BROKEN
    assert message in stage.message and stage.message.startswith("1,000 steps of 2,000; ")
    assert advice in stage.advice


def test_a_few_dead_channels_are_a_note():
    stage = judge(bn__gamma=np.array([0, 1, 1, 1, 1, 1, 1, 1.0]))
    assert (stage.outcome, stage.message) == (Outcome.NOTE, "1,000 steps of 2,000; 1 of 16 batch-norm channels are constant")


def test_statistics_of_one_layer_may_be_untouched():
    assert judge(bn__moving_mean=np.zeros(8), bn__moving_variance=np.ones(8)).outcome is Outcome.OK


def test_hardly_trained():
    stage = judge(step=12)
    assert (stage.outcome, stage.message) == (Outcome.NOTE, "12 steps of 2,000; fewer than 100: nothing can be expected yet")


def test_a_network_without_batch_norm_or_heads():
    assert weight_stage({"dense/kernel": np.ones(3)}, step=500, initial_class_bias=0.0) == Stage("weights", Outcome.OK, "500 steps")
