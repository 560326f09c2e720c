"""Where TF 1 keeps the weights: scopes of slim's backbones, of the API's feature maps and FPNs, and of its box predictors.

ours                                                            | TF 1
----------------------------------------------------------------|------------------------------------------------------------------------
`Conv1/kernel`                                                  | `FeatureExtractor/MobilenetV2/Conv/weights`
`block_3_depthwise_BN/gamma`                                    | `FeatureExtractor/MobilenetV2/expanded_conv_3/depthwise/BatchNorm/gamma`
`FeatureMaps/layer_19_1_Conv2d_2_1x1_256_conv/kernel`           | `FeatureExtractor/MobilenetV2/layer_19_1_Conv2d_2_1x1_256/weights`
`FeatureMaps/top_down/projection_3/bias`                        | `FeatureExtractor/MobilenetV2/fpn/projection_3/biases`
`BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor/bias` | `BoxPredictor_0/BoxEncodingPredictor/biases`

The values are laid out alike: kernels [height, width, in, out], depthwise ones [height, width, channels, 1]; the outputs of a location go
anchor by anchor, boxes as [t_y, t_x, t_h, t_w], classes with the background first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from object_detection_ext.weights.names import RESNET_LAYERS, TF1_WEIGHTS, StoredName, part_of
from object_detection_ext.weights.tf1_phone_names import tf1_phone_names

_EXTRACTOR = "FeatureExtractor"

_V2_ENDS = {"Conv1": "Conv", "bn_Conv1": "Conv/BatchNorm", "Conv_1": "Conv_1", "Conv_1_bn": "Conv_1/BatchNorm"}
_V2_BLOCK = re.compile(r"(?:expanded_conv|block(?P<number>_\d+))_(?P<part>expand|depthwise|project)(?P<norm>_BN)?")
_V1_LAYER = re.compile(r"(?:(?P<stem>conv1)|conv_(?P<kind>dw|pw)_(?P<number>\d+))(?P<norm>_bn)?")
_RESNET_LAYER = re.compile(r"conv(?P<stage>\d)(?:_block(?P<unit>\d+)_(?P<conv>\d))?_(?P<kind>conv|bn)")

# One of the two halves of a separable convolution, which have one scope together.
_HALF = re.compile(r"(?P<layer>.+)/(?P<half>depthwise|pointwise)")
_CONV_HEAD = re.compile(r"BoxPredictor/(?:Convolutional(?:Box|Class)Head|SharedConvolutions)_(?P<index>\d+)/(?P<layer>.+)")
_SHARED_HEAD = re.compile(r"(?P<scope>WeightSharedConvolutionalBoxPredictor/)(?:WeightSharedConvolutional(?:Box|Class)Head/)?(?P<layer>.+)")


class _Backbone(NamedTuple):
    """How slim names a backbone."""

    probe: str  # a layer of ours that no other backbone has
    root: Callable[[Iterable[str]], str]  # our layers -> the backbone's own scope
    scope: Callable[[str], str | None]  # our layer -> its scope below; None for layers of something else


def tf1_names(variables: Sequence[str]) -> dict[str, StoredName]:
    """Name table of the TF 1 API's checkpoints and frozen graphs.

    Args:
        variables: those of the whole network: its backbone gives the scope of the feature maps.
    """
    layers = dict.fromkeys(variable.rpartition("/")[0] for variable in variables)
    backbone = next((backbone for backbone in _BACKBONES if backbone.probe in layers), None)
    root = f"{_EXTRACTOR}/{backbone.root(layers)}/" if backbone else None
    several = "BoxPredictor/ConvolutionalBoxHead_1/BoxEncodingPredictor" in layers
    stored = {}
    for variable in variables:
        layer, _, weight = variable.rpartition("/")
        half = _HALF.fullmatch(layer)
        if half and part_of(variable) != "backbone":
            layer, weight = half["layer"].removesuffix("_depthwise_conv"), {"kernel": f"{half['half']}_weights"}.get(weight, weight)
        scope = _head_scope(layer, several=several)
        if scope is None and backbone and root:
            below = backbone.scope(layer) or _feature_map_scope(layer)
            scope = root + below if below else None
        if scope is not None:
            stored[variable] = StoredName(f"{scope}/{TF1_WEIGHTS.get(weight, weight)}")
    return {**tf1_phone_names(variables), **stored}


def slim_names(variables: Sequence[str]) -> dict[str, StoredName]:
    """Name table of slim's classifiers: the backbone alone, `MobilenetV2/Conv/weights`."""
    backbone = {variable: stored.name for variable, stored in tf1_names(variables).items() if part_of(variable) == "backbone"}
    return {variable: StoredName(name.removeprefix(f"{_EXTRACTOR}/")) for variable, name in backbone.items()}


def _mobilenet_v2(layer: str) -> str | None:
    if layer in _V2_ENDS:
        return _V2_ENDS[layer]
    match = _V2_BLOCK.fullmatch(layer)
    return f"expanded_conv{match['number'] or ''}/{match['part']}{'/BatchNorm' if match['norm'] else ''}" if match else None


def _mobilenet_v1(layer: str) -> str | None:
    match = _V1_LAYER.fullmatch(layer)
    if match is None:
        return None
    name = "Conv2d_0" if match["stem"] else f"Conv2d_{match['number']}_{'depthwise' if match['kind'] == 'dw' else 'pointwise'}"
    return f"{name}/BatchNorm" if match["norm"] else name


def _resnet(layer: str) -> str | None:
    match = _RESNET_LAYER.fullmatch(layer)
    if match is None:
        return None
    name = f"conv{match['conv']}" if match["conv"] != "0" else "shortcut"
    scope = f"block{int(match['stage']) - 1}/unit_{match['unit']}/bottleneck_v1/{name}" if match["unit"] else "conv1"
    return f"{scope}/BatchNorm" if match["kind"] == "bn" else scope


def _resnet_root(layers: Iterable[str]) -> str:
    units = len({match["unit"] for layer in layers if (match := _RESNET_LAYER.fullmatch(layer)) and match["stage"] == "4"})
    return f"resnet_v1_{RESNET_LAYERS.get(units, 50)}"


_BACKBONES = (
    _Backbone("Conv1", lambda _: "MobilenetV2", _mobilenet_v2),
    _Backbone("conv_dw_1", lambda _: "MobilenetV1", _mobilenet_v1),
    _Backbone("conv4_block1_1_conv", _resnet_root, _resnet),
)


def _feature_map_scope(layer: str) -> str | None:
    """Below the backbone's scope: the extra layers of an SSD, the layers of an FPN under `fpn/`."""
    if layer.startswith("bottom_up_"):
        name = f"fpn/{layer}"
    elif layer.startswith("FeatureMaps/"):
        name = layer.removeprefix("FeatureMaps/").replace("top_down/", "fpn/")
    else:
        return None
    return _with_norm(name.removesuffix("_conv"), "_batchnorm")


def _head_scope(layer: str, *, several: bool) -> str | None:
    """Scope of a box predictor's layer. TF 1 leaves `BoxPredictor_0/` out where there is one feature map."""
    if match := _CONV_HEAD.fullmatch(layer):
        name = _with_norm(_with_norm(match["layer"], "_batchnorm"), "_norm")
        return f"BoxPredictor_{match['index']}/{name}" if several else name
    match = _SHARED_HEAD.fullmatch(layer)
    return match["scope"] + match["layer"] if match else None


def _with_norm(name: str, suffix: str) -> str:
    """Batch normalisation stands in the scope of its convolution."""
    return f"{name.removesuffix(suffix)}/BatchNorm" if name.endswith(suffix) else name
