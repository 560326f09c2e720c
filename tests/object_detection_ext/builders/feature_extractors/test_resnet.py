"""ResNet V1 with a feature pyramid against the original.

Tolerance: feature maps of up to 6 differ by 8e-6 with other kernels than the original ran with, by 2.5e-4 with batch statistics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from object_detection_ext.errors import InputError
from object_detection_ext.models.backbones.resnet_v1 import RESNET_DEFAULTS, ResNetV1
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.fpn import FpnFeatureMaps
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams
from object_detection_ext.models.normalization import PixelScaling
from tests.object_detection_ext.builders.feature_extractors.api_cases import (
    api_name,
    build,
    forward_case,
    network_of,
    regularized,
    settings_of_batch_norm,
)

RELU_6 = (
    "conv_hyperparams { activation: RELU_6 regularizer { l2_regularizer { weight: 0.0004 } }"
    " batch_norm { scale: true decay: 0.997 epsilon: 0.001 } }"
)
OVERRIDE = f"override_base_feature_extractor_hyperparams: true {RELU_6}"


@pytest.fixture(scope="module")
def described(golden: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(golden("resnet_efficientnet.json").read_text())


class TestAgainstTheApi:
    @pytest.mark.parametrize("name", ["resnet50_override", "resnet50_defaults", "resnet101", "resnet152"])
    def test_feature_maps(self, name: str, golden: Callable[[str], Path]):
        case = forward_case(name, golden("resnet_efficientnet.npz"))
        np.testing.assert_allclose(case.inputs[:, ::32, ::32], case.values["inputs_every_32"], atol=1e-5)
        found = case.network(case.inputs, training=False)
        for features, expected in zip(found, case.feature_maps, strict=True):
            np.testing.assert_allclose(features[0], expected, atol=2e-5, rtol=0)

    def test_batch_statistics_and_moving_ones(self, golden: Callable[[str], Path]):
        case = forward_case("resnet50_override", golden("resnet_efficientnet.npz"))
        found = case.network(case.inputs, training=True)
        for index, features in enumerate(found):  # the coarsest maps are normalised by the statistics of 2 x 2 x 2 values
            np.testing.assert_allclose(features[0], case.values[f"training/feature_map_{index}"], atol=5e-4, rtol=0)
        variables = {variable.name.removesuffix(":0"): variable for variable in case.network.variables}
        moved = [key.removeprefix("training/") for key in case.values if key.startswith("training/") and "moving_" in key]
        assert len(moved) == 8
        for name in moved:
            np.testing.assert_allclose(variables[name], case.values[f"training/{name}"], rtol=1e-4, atol=1e-5, err_msg=name)

    @pytest.mark.parametrize("num_layers", [50, 101, 152])
    def test_parameters(self, num_layers: int, described: dict[str, Any]):
        name = f"ssd_resnet{num_layers}_v1_fpn_keras"
        network = network_of(build(f"type: '{name}' {OVERRIDE}"), (136, 136))
        expected = described[name]["used"]
        assert len(network.variables) == expected["variables"]
        assert network.count_params() == expected["parameters"]
        assert sum(math.prod(variable.shape) for variable in network.trainable_variables) == expected["trainable_parameters"]

    def test_variables_regularisation_and_batch_norm(self, described: dict[str, Any]):
        expected = described["ssd_resnet50_v1_fpn_keras"]
        network = network_of(build(f"type: 'ssd_resnet50_v1_fpn_keras' {OVERRIDE}"), (160, 160))
        names = [api_name(variable.name) for variable in network.variables]
        assert sorted(names) == sorted(expected["names"])
        # Keys of object-based checkpoints count the layers of the backbone.
        assert [name for name in names if name.startswith("conv")] == [name for name in expected["names"] if name.startswith("conv")]
        assert regularized(network) == expected["regularized"]
        assert settings_of_batch_norm(network) == expected["batch_norm"]

    def test_the_defaults_of_the_backbone(self, described: dict[str, Any]):
        expected = described["ssd_resnet50_v1_fpn_keras"]
        network = network_of(build("type: 'ssd_resnet50_v1_fpn_keras' conv_hyperparams { activation: RELU }"), (160, 160))
        assert regularized(network) == expected["regularized_without_override"]
        assert settings_of_batch_norm(network) == expected["batch_norm_without_override"]


def test_everything():
    built = build(
        "type: 'ssd_resnet101_v1_fpn_keras' depth_multiplier: 0.5 min_depth: 8 pad_to_multiple: 32"
        " override_base_feature_extractor_hyperparams: true conv_hyperparams { activation: RELU_6 batch_norm { decay: 0.5 epsilon: 0.25 } }"
        " fpn { min_level: 4 max_level: 7 additional_layer_depth: 128 }"
    )
    hyperparams = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(decay=0.5, epsilon=0.25))
    assert built == PyramidFeatureExtractor(
        backbone=ResNetV1(101, depth_multiplier=0.5, min_depth=8, hyperparams=hyperparams),
        feature_maps=FpnFeatureMaps(
            endpoints=("block3", "block4"), depth=64, hyperparams=hyperparams, bottom_up=("bottom_up_block5", "bottom_up_block6")
        ),
        pad_to_multiple=32,
        normalize=PixelScaling(1.0, (-123.68, -116.779, -103.939)),
        min_image_size=129,
    )


def test_the_api_defaults():
    built = build("type: 'ssd_resnet50_v1_fpn_keras'")
    assert built.backbone == ResNetV1(50, depth_multiplier=1.0, min_depth=16, hyperparams=RESNET_DEFAULTS)
    assert built.feature_maps == FpnFeatureMaps(
        endpoints=("block2", "block3", "block4"),
        depth=256,
        hyperparams=ConvHyperparams(),
        bottom_up=("bottom_up_block5", "bottom_up_block6"),
    )


@pytest.mark.parametrize("num_layers", [50, 101, 152])
def test_the_name_of_tf1_gives_the_same(num_layers: int):
    assert build(f"type: 'ssd_resnet{num_layers}_v1_fpn'") == build(f"type: 'ssd_resnet{num_layers}_v1_fpn_keras'")


def test_frozen_batch_norm_reaches_all():
    built = build("type: 'ssd_resnet50_v1_fpn_keras' conv_hyperparams { batch_norm {} }", freeze_batchnorm=True)
    assert built.backbone.hyperparams.batch_norm.frozen and built.feature_maps.hyperparams.batch_norm.frozen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fpn { min_level: 1 }", "fpn.min_level must be between 2 and 5, got 1"),
        ("fpn { min_level: 6 }", "fpn.min_level must be between 2 and 5, got 6"),
        ("fpn { min_level: 4 max_level: 3 }", "fpn.max_level must be >= min_level"),
        ("fpn { additional_layer_depth: 0 }", "fpn.additional_layer_depth must be >= 1, got 0"),
        ("depth_multiplier: 0", "depth_multiplier must be > 0, got 0"),
        ("min_depth: -1", "min_depth must be >= 0, got -1"),
        ("num_layers: 3", "num_layers has no meaning for ssd_resnet50_v1_fpn_keras"),
        ("bifpn {}", "bifpn has no meaning"),
        ("use_depthwise: true", "use_depthwise has no meaning"),
        ("use_explicit_padding: true", "use_explicit_padding has no meaning"),
        ("output_stride: 16", "output_stride has no meaning"),
    ],
)
def test_errors_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.{message}"):
        build(f"type: 'ssd_resnet50_v1_fpn_keras' {text}")
