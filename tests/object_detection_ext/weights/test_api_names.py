"""Against the names and keys under which the original API saved its networks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.weights.api_names import (
    api_name,
    api_names,
    feature_extractor_scope,
    graph_keys,
    network_graph_keys,
    without_scope,
)

SAVED = json.loads(gzip.decompress((Path(__file__).parents[2] / "golden" / "api_graph_keys.json.gz").read_bytes()))

# Of the classifier that EfficientNet was trained as; it takes no part in detection.
NOT_IN_THE_NETWORK = ("top_conv2d", "top_bn", "logits")


@pytest.fixture(
    params=[
        ("ssdlite_v2_dm0.35_160", "ssd_mobile_net_v2_keras_feature_extractor"),
        ("ssdlite_v2_dm1.0_320", "ssd_mobile_net_v2_keras_feature_extractor"),
        ("ssd_v1_dm0.25_320", "ssd_mobile_net_v1_keras_feature_extractor"),
        ("fpnlite_v2_dm0.35_320", "ssd_mobile_net_v2_fpn_keras_feature_extractor"),
    ],
    ids=lambda param: param[0],
)
def published(request, golden):
    """Names, keys and scope of a network of the reference; ours are the names split where we split layers."""
    name, scope = request.param
    rows = json.loads(golden(f"{name}_ckpt_keys.json").read_text())
    stored = {name: key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for name, key, _ in rows if key.startswith("model/")}
    separable = {name.removesuffix("/pointwise_kernel") for name in stored if name.endswith("/pointwise_kernel")}
    ours = {_split(name.removeprefix(f"{scope}/"), separable, scope): name for name in stored}
    return scope, ours, {ours_name: stored[name] for ours_name, name in ours.items()}


def _split(name: str, separable: set[str], scope: str) -> str:
    layer, _, attribute = name.rpartition("/")
    if layer in separable or f"{scope}/{layer}" in separable:
        return f"{layer}/{'depthwise' if attribute == 'depthwise_kernel' else 'pointwise'}/{attribute.removeprefix('pointwise_')}"
    return name


def test_every_variable_has_the_name_that_the_api_gives_it(published):
    scope, ours, _ = published
    assert feature_extractor_scope(ours) == scope
    assert {name: stored.name for name, stored in api_names(list(ours), scope=scope).items()} == ours


def test_every_variable_has_the_key_that_the_api_saves_it_under(published):
    _, _, keys = published
    assert {name: f"model/{key}" for name, key in graph_keys(list(keys)).items()} == keys


def saved(case):
    """Names without scope and keys from the model, one per layer, in the order of the API's variables."""
    keys = {without_scope(name): key.removeprefix("model/") for name, key in SAVED[case]["keys"]}
    return {name: key for name, key in keys.items() if not name.startswith(NOT_IN_THE_NETWORK)}


DEPTHWISE_MAPS = [f"FeatureMaps/Conv2d_13_pointwise_2_Conv2d_{i}_3x3_s2_{depth}" for i, depth in ((2, 128), (3, 64), (4, 64), (5, 32))]


@pytest.mark.parametrize(
    ("case", "other_layers"),
    [
        ("v2_plain_heads_behind_shared_layers", [f"BoxPredictor/ConvolutionalClassHead_{i}/dropout" for i in range(6)]),
        ("v1_depthwise", [f"{name}_depthwise_conv_pad" for name in DEPTHWISE_MAPS]),
        ("resnet50_pyramid", []),
        ("efficientdet_d0", []),
    ],
)
def test_keys_of_other_families(case, other_layers):
    assert graph_keys(list(saved(case)), other_layers=other_layers) == saved(case)


@pytest.mark.parametrize(
    "case",
    [
        "v2_dropout_and_explicit_padding",
        "v2_shared_heads_behind_projections",
        "v1_pyramid_with_explicit_padding",
        "v2_pyramid_of_two_levels",
        "resnet50_pyramid",
    ],
)
def test_our_layers_come_in_the_order_of_the_apis(case, golden, test_data):
    """The network of the same config: its order counts, and its layers for padding and dropout."""
    config, overrides = SAVED[case]["config"], SAVED[case]["overrides"]
    path = test_data / "odapi" / "configs" / config
    model = text_format.Parse((path if path.exists() else golden(config)).read_text(), pipeline_pb2.TrainEvalPipelineConfig()).model
    model.ssd.image_resizer.Clear()
    if "multiscale" in overrides and model.ssd.anchor_generator.HasField("ssd_anchor_generator"):
        model.ssd.anchor_generator.Clear()
        model.ssd.box_predictor.Clear()
    text_format.Merge(f"ssd {{ image_resizer {{ fixed_shape_resizer {{ height: 256 width: 256 }} }} {overrides} }}", model)
    network = build_detector(model.ssd).network

    keys = network_graph_keys(network)

    assert len(keys) == len(network.weights)
    assert {api_name(name): key for name, key in keys.items() if api_name(name) in saved(case)} == saved(case)


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("ssd_mobile_net_v2_keras_feature_extractor_3/FeatureMaps/x/kernel", "FeatureMaps/x/kernel"),
        ("ResNet50V1_FPN/bottom_up_block5_conv/kernel", "bottom_up_block5_conv/kernel"),
        (
            "EfficientDet-D0/bifpn/node_02/1_dn_lvl_6/combine/bifpn_combine_weights",
            "bifpn/node_02/1_dn_lvl_6/combine/bifpn_combine_weights",
        ),
        ("ssd_mobile_net_v2_keras_feature_extractor/Conv1/kernel", "Conv1/kernel"),
        ("Conv1/kernel", "Conv1/kernel"),
        (
            "WeightSharedConvolutionalBoxPredictor/WeightSharedConvolutionalBoxHead/BoxPredictor/bias",
            "WeightSharedConvolutionalBoxPredictor/WeightSharedConvolutionalBoxHead/BoxPredictor/bias",
        ),
    ],
)
def test_scopes_of_feature_extractors_are_taken_away(stored, name):
    assert without_scope(stored) == name


def test_networks_that_the_api_has_in_tf1_only_have_no_scope():
    assert feature_extractor_scope(["MobilenetV3/Conv/kernel"]) is None
