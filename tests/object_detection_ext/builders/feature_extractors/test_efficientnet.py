"""EfficientNet with a bidirectional feature pyramid against the original.

Tolerance: feature maps of up to 2 differ by 6e-7, whatever the kernels.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.models.backbones.efficientnet import EFFICIENTNET_DEFAULTS, EfficientNet
from object_detection_ext.models.bifpn import BiFpn, CombineMethod
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, Regularizer
from tests.object_detection_ext.builders.feature_extractors.api_cases import (
    api_name,
    build,
    forward_case,
    network_of,
    regularized,
    settings_of_batch_norm,
)

SWISH = (
    "conv_hyperparams { force_use_bias: true activation: SWISH regularizer { l2_regularizer { weight: 0.00004 } }"
    " batch_norm { scale: true decay: 0.99 epsilon: 0.001 } }"
)
B0 = "type: 'ssd_efficientnet-b0_bifpn_keras'"


@pytest.fixture(scope="module")
def described(golden: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(golden("resnet_efficientnet.json").read_text())


class TestAgainstTheApi:
    @pytest.mark.parametrize("name", ["b0_fast_attention", "b0_sum", "b0_attention", "b1_weighted_sum"])
    def test_feature_maps(self, name: str, golden: Callable[[str], Path]):
        case = forward_case(name, golden("resnet_efficientnet.npz"))
        np.testing.assert_allclose(case.inputs[:, ::32, ::32], case.values["inputs_every_32"], atol=1e-6)
        found = case.network(case.inputs, training=False)
        for features, expected in zip(found, case.feature_maps, strict=True):
            np.testing.assert_allclose(features[0], expected, atol=5e-6, rtol=0)

    @pytest.mark.parametrize("size", [0, 3])  # the larger ones take as long as all other tests here; published configs have some
    def test_parameters(self, size: int, network: Callable[[int], tf_keras.Model], described: dict[str, Any]):
        expected = described[f"ssd_efficientnet-b{size}_bifpn_keras"]["used"]
        assert len(network(size).variables) == expected["variables"]
        assert network(size).count_params() == expected["parameters"]
        assert sum(math.prod(variable.shape) for variable in network(size).trainable_variables) == expected["trainable_parameters"]

    @pytest.mark.parametrize("size", [0, 3])
    def test_drop_rates(self, size: int, network: Callable[[int], tf_keras.Model], described: dict[str, Any]):
        drop = {layer.name: layer for layer in network(size).layers if isinstance(layer, tf_keras.layers.Dropout)}
        expected = described[f"ssd_efficientnet-b{size}_bifpn_keras"]["drop_rates"]
        assert {name: layer.rate for name, layer in drop.items()} == pytest.approx(expected)
        assert {layer.noise_shape for layer in drop.values()} == {(None, 1, 1, 1)}

    @pytest.mark.parametrize("size", range(8))
    def test_blocks(self, size: int, described: dict[str, Any]):
        """Blocks with a shortcut, up to the last one that feeds the pyramid: all but the first of each stack."""
        backbone = build(f"type: 'ssd_efficientnet-b{size}_bifpn_keras'").backbone
        names = [f"{block}/drop" for block in backbone.blocks if not block.endswith("/block_0") and not block.startswith("stack_6/")]
        assert names == list(described[f"ssd_efficientnet-b{size}_bifpn_keras"]["drop_rates"])

    def test_variables_regularisation_and_batch_norm(self, network: Callable[[int], tf_keras.Model], described: dict[str, Any]):
        expected = described["ssd_efficientnet-b0_bifpn_keras"]
        names = [api_name(variable.name) for variable in network(0).variables]
        assert sorted(names) == sorted(expected["names"])
        # Keys of object-based checkpoints count the layers of the backbone.
        assert _backbone(names) == _backbone(expected["names"])
        assert regularized(network(0)) == expected["regularized"]
        assert settings_of_batch_norm(network(0)) == expected["batch_norm"]

    def test_the_defaults_of_the_backbone(self, network: Callable[[int], tf_keras.Model], described: dict[str, Any]):
        """They stay where the config has a regulariser of its own; without one, nothing else is regularised."""
        expected = described["ssd_efficientnet-b0_bifpn_keras"]["regularized_without_override"]
        found = regularized(network(0))
        assert {name: found[name] for name in _backbone(list(found))} == expected


@functools.cache
def _network(size: int) -> tf_keras.Model:
    return network_of(build(f"type: 'ssd_efficientnet-b{size}_bifpn_keras' {SWISH}"), (256, 256))


@pytest.fixture(scope="module")
def network() -> Iterator[Callable[[int], tf_keras.Model]]:
    yield _network
    _network.cache_clear()


def _backbone(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("bifpn/")]


def test_everything():
    built = build(
        "type: 'ssd_efficientnet-b2_bifpn_keras' min_depth: 20 pad_to_multiple: 64 override_base_feature_extractor_hyperparams: true"
        " conv_hyperparams { activation: SWISH regularizer { l2_regularizer { weight: 0.5 } } batch_norm { decay: 0.75 epsilon: 0.25 } }"
        " bifpn { min_level: 2 max_level: 4 num_iterations: 2 num_filters: 16 combine_method: 'sum' }"
    )
    regularizer = Regularizer("l2", 0.5)
    assert built == PyramidFeatureExtractor(
        backbone=EfficientNet(2, "stack_4/block_2", replace(EFFICIENTNET_DEFAULTS, regularizer=regularizer)),
        feature_maps=BiFpn(
            endpoints=("stack_1/block_1", "stack_2/block_1", "stack_4/block_2"),
            min_level=2,
            max_level=4,
            num_iterations=2,
            num_filters=20,
            hyperparams=ConvHyperparams(regularizer=regularizer, activation="swish", batch_norm=BatchNorm(decay=0.75, epsilon=0.25)),
            combine_method="sum",
        ),
        pad_to_multiple=64,
        normalize=built.normalize,
        min_image_size=129,
    )


@pytest.mark.parametrize(
    ("size", "num_filters", "num_iterations", "method"),  # the paper's table 1, D0 to D7
    [
        *((0, 64, 3, "fast_attention"), (1, 88, 4, "fast_attention"), (2, 112, 5, "fast_attention"), (3, 160, 6, "fast_attention")),
        *((4, 224, 7, "fast_attention"), (5, 288, 7, "fast_attention"), (6, 384, 8, "sum"), (7, 384, 8, "sum")),
    ],
)
def test_without_bifpn_the_pyramid_is_that_of_the_paper(size: int, num_filters: int, num_iterations: int, method: CombineMethod):
    built = build(f"type: 'ssd_efficientnet-b{size}_bifpn_keras'")
    assert built.backbone == EfficientNet(size, last_block="stack_6/block_0")
    assert built.feature_maps == BiFpn(
        endpoints=("stack_2/block_1", "stack_4/block_2", "stack_6/block_0"),
        min_level=3,
        max_level=7,
        num_iterations=num_iterations,
        num_filters=num_filters,
        hyperparams=ConvHyperparams(),
        combine_method=method,
    )


def test_frozen_batch_norm_reaches_all():
    built = build(f"{B0} {SWISH}", freeze_batchnorm=True)
    assert built.backbone.hyperparams.batch_norm.frozen and built.feature_maps.hyperparams.batch_norm.frozen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth_multiplier: 0.5", "depth_multiplier must be 1 for ssd_efficientnet-b0_bifpn_keras, got 0.5"),
        ("bifpn { num_filters: 8 }", "bifpn.num_iterations must be >= 1, got 0"),
        ("bifpn { num_iterations: 1 }", "bifpn.num_filters must be >= 1, got 0"),
        ("bifpn { num_filters: 8 num_iterations: 1 min_level: 6 }", "bifpn.min_level must be between 1 and 5, got 6"),
        ("bifpn { num_filters: 8 num_iterations: 1 min_level: 3 max_level: 3 }", "bifpn.max_level must be > min_level"),
        ("bifpn { num_filters: 8 num_iterations: 1 min_level: 4 max_level: 3 }", "bifpn.max_level must be > min_level"),
        ("bifpn { num_filters: -8 num_iterations: 1 }", "bifpn.num_filters must be >= 1, got -8"),
        ("bifpn { num_filters: 8 num_iterations: 1 combine_method: 'mean' }", "bifpn.combine_method must be one of sum, .* got 'mean'"),
        ("num_layers: 3", "num_layers has no meaning for ssd_efficientnet-b0_bifpn_keras"),
        ("fpn {}", "fpn has no meaning"),
        ("use_depthwise: true", "use_depthwise has no meaning"),
        ("use_explicit_padding: true", "use_explicit_padding has no meaning"),
    ],
)
def test_errors_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.{message}"):
        build(f"{B0} {text}")
