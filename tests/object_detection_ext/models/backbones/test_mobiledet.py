from __future__ import annotations

import pytest
import tf_keras

from object_detection_ext.models.backbones.mobiledet import MobileDet, scaled_depth
from object_detection_ext.models.backbones.mobiledet_architectures import CPU


@pytest.fixture(scope="module")
def cpu() -> tf_keras.Model:
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((64, 96, 3))
    return tf_keras.Model(image, MobileDet(CPU)(image))


def test_end_points(cpu: tf_keras.Model):
    assert {name: shape[1:] for name, shape in cpu.output_shape.items()} == {
        "C1": (32, 48, 8),
        "C2": (16, 24, 16),
        "C3": (8, 12, 32),
        "C4": (4, 6, 72),
        "C5": (2, 3, 144),
    }


def test_layers_have_the_scopes_of_tf1(cpu: tf_keras.Model):
    names = {layer.name for layer in cpu.layers}
    assert {
        "MobileDetCPU/Conv/BatchNorm",
        "MobileDetCPU/IBNNoExpansion/SeparableConv2d",
        "MobileDetCPU/IBNNoExpansion/SqueezeExcite/Conv_1",
        "MobileDetCPU/IBNNoExpansion/Conv",
        "MobileDetCPU/IBN/Conv_1",
        "MobileDetCPU/IBN_17/SqueezeExcite/Conv",
    } <= names
    assert not any("IBN_18" in name or "FusedConv" in name or "IBN/add" in name for name in names)


@pytest.mark.parametrize(
    ("depth", "factor", "scaled"), [(72, 0.25, 16), (72, 0.35, 24), (16, 0.25, 8), (8, 0.1, 8), (20, 0.25, 8), (144, 1.4, 200)]
)
def test_scaled_depth(depth: int, factor: float, scaled: int):
    """By hand: 18 -> 16, 25.2 -> 24, 4 -> 8, never below 8, 201.6 -> 200."""
    assert scaled_depth(depth, factor) == scaled


def test_depthwise_kernels_start_with_their_own_standard_deviation(cpu: tf_keras.Model):
    """sqrt(2 / 9) of a 3x3 kernel and sqrt(2 / 25) of a 5x5 one, within five standard errors."""
    for block, kernel_size in ((13, 5), (17, 3)):
        kernel = cpu.get_layer(f"MobileDetCPU/IBN_{block}/SeparableConv2d").depthwise_kernel.numpy()
        assert kernel.shape[0] == kernel_size
        assert kernel.std() == pytest.approx((2 / kernel_size**2) ** 0.5, rel=5 / (2 * kernel.size) ** 0.5)


def test_impossible():
    with pytest.raises(ValueError, match="depth_multiplier must be > 0, got 0"):
        MobileDet(depth_multiplier=0)
