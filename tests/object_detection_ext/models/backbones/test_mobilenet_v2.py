"""MobileNetV2 against slim's end points, shapes, parameter counts and moving statistics."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2, make_divisible
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams

ATOL = 3e-4  # slim ran as a graph of TF 1, whose kernels round differently; see ../test_detector.py
SLIM = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(decay=0.997, scale=True))


def _model(backbone: MobileNetV2, size: int) -> tf_keras.Model:
    image = tf_keras.Input((size, size, 3))
    return tf_keras.Model(image, backbone(image))


def _slim_name(name: str) -> str:
    """`block_1_expand_BN/gamma:0` -> `MobilenetV2/expanded_conv_1/expand/BatchNorm/gamma`."""
    layer, leaf = name.removesuffix(":0").split("/")
    leaf = {"kernel": "weights", "depthwise_kernel": "depthwise_weights"}.get(leaf, leaf)
    ends = {"Conv1": "Conv", "bn_Conv1": "Conv/BatchNorm", "Conv_1": "Conv_1", "Conv_1_bn": "Conv_1/BatchNorm"}
    if layer in ends:
        return f"MobilenetV2/{ends[layer]}/{leaf}"
    block, part, norm = re.fullmatch(r"(?:expanded_conv|block(_\d+))_(expand|depthwise|project)(_BN)?", layer).groups()
    return f"MobilenetV2/expanded_conv{block or ''}/{part}/{'BatchNorm/' if norm else ''}{leaf}"


def _load_slim(model: tf_keras.Model, path: Path) -> None:
    with np.load(path) as weights:
        names = [_slim_name(variable.name) for variable in model.variables]
        assert sorted(names) == sorted(name for name in weights.files if "/Logits/" not in name)
        for variable, name in zip(model.variables, names, strict=True):
            variable.assign(weights[name].astype(np.float32))


def _assert_same_classes(features: np.ndarray, stored: Mapping[str, np.ndarray], prefix: str, weights: Path) -> None:
    """Slim's classifier, in numpy, on our last end point."""
    pooled = np.mean(features, axis=(1, 2))  # [1, 448]
    np.testing.assert_allclose(pooled, stored[f"{prefix}ep/global_pool"][:, 0, 0], atol=ATOL)
    with np.load(weights) as values:
        kernel, bias = (values[f"MobilenetV2/Logits/Conv2d_1c_1x1/{name}"].astype(np.float32) for name in ("weights", "biases"))
    logits = pooled @ kernel[0, 0] + bias
    np.testing.assert_allclose(logits, stored[f"{prefix}ep/Logits"][:1], atol=ATOL)
    scores = np.exp(logits - logits.max())
    np.testing.assert_allclose(scores / scores.sum(), stored[f"{prefix}ep/Predictions"][:1], atol=1e-5)


class TestAgainstSlim:
    @pytest.mark.parametrize(
        ("prefix", "settings", "least"),
        [
            ("", {}, 69),
            ("os8/", {"output_stride": 8}, 6),
            ("os16/", {"output_stride": 16}, 6),
            ("explicit/", {"use_explicit_padding": True}, 6),
        ],
        ids=["plain", "stride_8", "stride_16", "explicit_padding"],
    )
    def test_endpoints(self, golden: Callable[[str], Path], prefix: str, settings: dict, least: int):
        model = _model(MobileNetV2(0.35, hyperparams=SLIM, **settings), 96)
        _load_slim(model, golden("slim_mnv2_dm0.35_96_vars_f16.npz"))
        with np.load(golden("slim_mnv2_dm0.35_96_io.npz")) as stored:
            endpoints = model(stored["input"][:1])
            compared = [name for name in endpoints if f"{prefix}ep/{name}" in stored.files]
            assert len(compared) >= least and "layer_19" in compared
            for name in compared:
                np.testing.assert_allclose(endpoints[name], stored[f"{prefix}ep/{name}"], atol=ATOL, err_msg=name)
            _assert_same_classes(endpoints["layer_19"], stored, prefix, golden("slim_mnv2_dm0.35_96_vars_f16.npz"))

    def test_shapes_and_parameters(self, golden: Callable[[str], Path]):
        cases = json.loads(golden("slim_mobilenet_v2_shapes.json").read_text())
        for name, case in cases.items():
            endpoints = case.get("endpoints", case)
            depth = endpoints["layer_19"][-1]
            stride = re.search(r"_os(\d+)", name)
            backbone = MobileNetV2(
                float(re.match(r"dm([\d.]+)", name)[1]),
                min_depth=32 if "min32" in name else 8,
                output_stride=int(stride[1]) if stride else None,
                use_explicit_padding="explicitpad" in name,
                head_depth=depth,
                hyperparams=SLIM,
            )
            model = _model(backbone, 224)
            ours = {endpoint: list(shape) for endpoint, shape in model.output_shape.items()}
            slims = {key: value for key, value in endpoints.items() if key.startswith("layer_")}
            assert {key: shape[1:] for key, shape in ours.items()} == {key: shape[1:] for key, shape in slims.items()}, name
            if "params_total" in case:
                num_classes = endpoints["Logits"][-1]
                assert model.count_params() == case["params_total"] - (depth + 1) * num_classes, name
            if "params_trainable" in case:
                trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
                assert trainable == case["params_trainable"] - (depth + 1) * num_classes, name

    def test_moving_statistics_after_one_update(self, golden: Callable[[str], Path]):
        model = _model(MobileNetV2(0.35, hyperparams=SLIM), 96)
        _load_slim(model, golden("slim_mnv2_dm0.35_96_vars_f16.npz"))
        with np.load(golden("slim_mnv2_dm0.35_96_io.npz")) as stored:
            images = stored["input"]
        model(images, training=True)
        moving = [variable for variable in model.variables if "moving_" in variable.name]
        assert len(moving) == 104
        with np.load(golden("slim_mnv2_dm0.35_96_train.npz")) as after:
            for variable in moving:
                np.testing.assert_allclose(
                    variable, after[f"after/{_slim_name(variable.name)}"], rtol=1e-4, atol=1e-5, err_msg=variable.name
                )


class TestOutputStride:
    @pytest.mark.parametrize("stride", [0, -2, 3, 15])
    def test_impossible(self, stride: int):
        with pytest.raises(ValueError, match=f"output_stride must be 1 or an even number, got {stride}"):
            MobileNetV2(output_stride=stride)

    @pytest.mark.parametrize(
        ("stride", "reached"), [(1, 1), (2, 2), (4, 4), (6, 32), (8, 8), (32, 32), (64, 32)], ids=lambda value: str(value)
    )
    def test_reached(self, stride: int, reached: int):
        assert _model(MobileNetV2(0.35, output_stride=stride), 64).output_shape["layer_19"][1] == 64 // reached

    def test_dilations(self):
        """By hand: stride 8 is reached after block 5; block 6 loses its stride 2, blocks 7 to 13 dilate by 2, 14 to 16 by 4."""
        model = _model(MobileNetV2(output_stride=8), 64)
        dilations = [model.get_layer(f"block_{block}_depthwise").dilation_rate[0] for block in range(1, 17)]
        assert dilations == [1] * 6 + [2] * 7 + [4] * 3


class TestDepths:
    @pytest.mark.parametrize(
        ("depth", "divisible"), [(3, 8), (8.4, 8), (11, 16), (11.2, 16), (12, 16), (33.6, 32), (44.8, 48), (56, 56), (448, 448)]
    )
    def test_make_divisible(self, depth: float, divisible: int):
        assert make_divisible(depth) == divisible

    @pytest.mark.parametrize(("multiplier", "depth"), [(0.35, 448), (0.5, 640), (1.0, 1280), (1.4, 1280)])
    def test_last_convolution_as_in_the_api(self, multiplier: float, depth: int):
        assert _model(MobileNetV2(multiplier), 64).output_shape["layer_19"][-1] == depth

    def test_min_depth_takes_shortcuts_away_as_in_the_api(self):
        """Depth 0.35: layers 3 and 4 have 8 channels, 16 with min_depth 16; the API compares 16 with 8 and leaves the shortcut out."""
        names = {layer.name for layer in _model(MobileNetV2(0.35, min_depth=16), 64).layers}
        assert "block_2_add" not in names and "block_4_add" in names
        assert "block_2_add" in {layer.name for layer in _model(MobileNetV2(0.35, min_depth=8), 64).layers}

    @pytest.mark.parametrize(
        ("settings", "message"), [({"depth_multiplier": 0}, "depth_multiplier must be > 0"), ({"min_depth": -1}, "min_depth")]
    )
    def test_impossible(self, settings: dict, message: str):
        with pytest.raises(ValueError, match=message):
            MobileNetV2(**settings)


def test_non_square_images():
    image = tf_keras.Input((96, 160, 3))
    endpoints = MobileNetV2(0.35)(image)
    assert endpoints["layer_15/expansion_output"].shape == (None, 6, 10, 192)
    assert endpoints["layer_19"].shape == (None, 3, 5, 448)
