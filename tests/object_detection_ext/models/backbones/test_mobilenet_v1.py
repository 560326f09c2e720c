"""MobileNet V1 against the paper's and Keras applications' shapes; its numbers are tested with whole networks."""

from __future__ import annotations

import pytest
import tf_keras

from object_detection_ext.models.backbones.mobilenet_v1 import MobileNetV1

POINTWISE_DEPTHS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]  # Howard et al. 2017, table 1


def _model(backbone: MobileNetV1, size: int = 64) -> tf_keras.Model:
    image = tf_keras.Input((size, size, 3))
    return tf_keras.Model(image, backbone(image))


def _depths(backbone: MobileNetV1) -> list[int]:
    """Of the stem and the blocks."""
    shapes = _model(backbone).output_shape
    return [shapes["Conv2d_0"][-1], *(shapes[f"Conv2d_{number}_pointwise"][-1] for number in range(1, 14))]


def test_end_points():
    shapes = _model(MobileNetV1(), 224).output_shape
    assert len(shapes) == 1 + 2 * 13
    assert [shapes[f"Conv2d_{number}_pointwise"][1:] for number in (1, 3, 5, 11, 13)] == [
        (112, 112, 64),
        (56, 56, 128),
        (28, 28, 256),
        (14, 14, 512),
        (7, 7, 1024),
    ]
    assert shapes["Conv2d_12_depthwise"][1:] == (7, 7, 512)


@pytest.mark.parametrize("multiplier", [0.25, 1.0])
def test_layers_of_keras_applications(multiplier: float):
    theirs = tf_keras.applications.MobileNet(input_shape=(64, 64, 3), alpha=multiplier, include_top=False, weights=None)
    ours = _model(MobileNetV1(multiplier, multiply_twice=False))
    assert {v.name: tuple(v.shape) for v in ours.variables} == {v.name: tuple(v.shape) for v in theirs.variables}


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (MobileNetV1(), [32, *POINTWISE_DEPTHS]),
        (MobileNetV1(0.5), [8, *(depth // 4 for depth in POINTWISE_DEPTHS)]),
        (MobileNetV1(0.35, min_depth=1), [3, 7, 15, 15, 31, 31, 62, 62, 62, 62, 62, 62, 125, 125]),  # 64: int(int(22.4) * 0.35) == 7
        (MobileNetV1(0.25, min_depth=16), [16, 16, 16, 16, 16, 16, *[32] * 6, 64, 64]),
        (MobileNetV1(0.5, min_depth=1, last_depths=(512, 256)), [8, *(depth // 4 for depth in POINTWISE_DEPTHS[:11]), 256, 128]),
        (MobileNetV1(0.5, multiply_twice=False), [16, *(depth // 2 for depth in POINTWISE_DEPTHS)]),
    ],
    ids=["paper", "twice", "rounded down twice", "min_depth", "last depths once", "once"],
)
def test_depths(backbone: MobileNetV1, expected: list[int]):
    assert _depths(backbone) == expected


@pytest.mark.parametrize(("stride", "size"), [(8, 8), (16, 4), (32, 2), (64, 2)])
def test_output_stride(stride: int, size: int):
    model = _model(MobileNetV1(0.25, output_stride=stride))
    assert model.output_shape["Conv2d_13_pointwise"][1:3] == (size, size)
    assert model.get_layer("conv_dw_13").dilation_rate == ({8: 4, 16: 2}.get(stride, 1),) * 2


def test_explicit_padding_of_an_odd_size():
    model = _model(MobileNetV1(0.25, use_explicit_padding=True), 75)
    assert [model.output_shape[f"Conv2d_{n}_pointwise"][1] for n in (1, 3, 5, 11, 13)] == [38, 19, 10, 5, 3]
    assert model.get_layer("conv_dw_2").padding == "valid" and model.get_layer("conv_pw_2").padding == "same"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth_multiplier": 0}, "depth_multiplier must be > 0, got 0"),
        ({"min_depth": -1}, "min_depth must be >= 0, got -1"),
        ({"depth_multiplier": 0.1, "min_depth": 0}, "min_depth must be >= 1, as depth_multiplier 0.1 leaves no channels, got 0"),
        ({"output_stride": 3}, "output_stride must be 1 or an even number, got 3"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MobileNetV1(**settings)
