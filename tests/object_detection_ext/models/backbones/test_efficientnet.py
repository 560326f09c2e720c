"""The shape of an EfficientNet; its numbers are compared with the original's in ../../builders/feature_extractors/test_efficientnet.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from object_detection_ext.models.backbones.efficientnet import EFFICIENTNET_DEFAULTS, EfficientNet
from object_detection_ext.models.layers import BatchNorm


@pytest.fixture(scope="module")
def b0() -> tf_keras.Model:
    image = tf_keras.Input((96, 65, 3))
    return tf_keras.Model(image, EfficientNet(0)(image))


def test_endpoints_of_b0_are_the_rows_of_the_paper(b0: tf_keras.Model):
    """Table 1: the last block of each stack, for a non-square image."""
    shapes = b0.output_shape
    assert len(shapes) == 16
    last = [shapes[f"stack_{stack}/block_{block}"] for stack, block in enumerate((0, 1, 1, 2, 2, 3, 0))]
    assert [shape[-1] for shape in last] == [16, 24, 40, 80, 112, 192, 320]
    assert [shape[1:3] for shape in last] == [(48, 33), (24, 17), (12, 9), (6, 5), (6, 5), (3, 3), (3, 3)]


def test_squeezed_depth_is_a_quarter_of_the_input_of_the_block(b0: tf_keras.Model):
    assert b0.get_layer("stack_0/block_0/se_reduce_conv2d").filters == 8  # of 32
    assert b0.get_layer("stack_3/block_0/se_reduce_conv2d").filters == 10  # of 40, not of the 240 that are expanded


def test_b3_by_hand():
    """Depth 1.4: ceil(1.4 * (1, 2, 2, 3, 3, 4, 1)) blocks; width 1.2: 38.4, 19.2 and 28.8 channels, to the next multiple of 8."""
    backbone = EfficientNet(3, last_block="stack_1/block_0")
    assert [sum(name.startswith(f"stack_{stack}/") for name in backbone.blocks) for stack in range(7)] == [2, 3, 3, 5, 5, 6, 2]
    image = tf_keras.Input((32, 32, 3))
    model = tf_keras.Model(image, backbone(image))
    assert model.get_layer("stem_conv2d").filters == 40
    assert [shape[-1] for shape in model.output_shape.values()] == [24, 24, 32]


def test_the_last_block_ends_it_and_changes_no_drop_rate():
    image = tf_keras.Input((64, 64, 3))
    endpoints = EfficientNet(0, last_block="stack_2/block_1")(image)
    assert list(endpoints) == [f"stack_{stack}/block_{block}" for stack, block in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1))]
    model = tf_keras.Model(image, endpoints)
    assert model.get_layer("stack_2/block_1/drop").rate == pytest.approx(0.2 * 4 / 16)


def test_stochastic_depth_drops_blocks_of_whole_images_in_training():
    """Block 2 of 16 is dropped at a rate of 0.2 * 2 / 16 = 0.025; where it stays, it counts 1 / 0.975."""
    frozen = replace(EFFICIENTNET_DEFAULTS, batch_norm=BatchNorm(scale=True, frozen=True))
    image = tf_keras.Input((8, 8, 3))
    endpoints = EfficientNet(0, last_block="stack_1/block_1", hyperparams=frozen)(image)
    model = tf_keras.Model(image, [endpoints["stack_1/block_0"], endpoints["stack_1/block_1"]])
    tf_keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).normal(size=(400, 8, 8, 3)).astype(np.float32)
    shortcut, output = (features.numpy() for features in model(images, training=False))
    _, trained = (features.numpy() for features in model(images, training=True))
    is_dropped = np.all(trained == shortcut, axis=(1, 2, 3))
    assert 0 < is_dropped.mean() < 0.06
    np.testing.assert_allclose((trained - shortcut)[~is_dropped], (output - shortcut)[~is_dropped] / 0.975, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": -1}, "variant must be between 0 and 7, got -1"),
        ({"variant": 8}, "variant must be between 0 and 7, got 8"),
        ({"last_block": "stack_6/block_1"}, "last_block must be one of stack_0/block_0, .*stack_6/block_0, got 'stack_6/block_1'"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        EfficientNet(**settings)
