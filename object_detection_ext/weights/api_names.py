"""Where the API's TF 2 code keeps our variables: their names there, and their keys in its object-based checkpoints.

The API names a variable as we do, but for two things: a scope of the feature extractor (`ssd_mobile_net_v2_fpn_keras_feature_extractor/`)
stands before the layers behind the backbone, and a separable convolution is one layer where we have two.

A key is the path of attributes from the detection model to the variable. Its numbers count the elements of the API's lists of layers,
activations and padding included: `_box_predictor/_prediction_heads/box_encodings/0/_box_encoder_layers/3/kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from object_detection_ext.weights.names import RESNET_LAYERS, StoredName, part_of

if TYPE_CHECKING:
    import tf_keras

BACKBONE = "_feature_extractor/classification_backbone"
_HEADS = "_box_predictor/_prediction_heads"
_CLASSES = "class_predictions_with_background"
_SHARED = "WeightSharedConvolutionalBoxPredictor"

_SEPARABLE = {"depthwise/depthwise_kernel": "depthwise_kernel", "pointwise/kernel": "pointwise_kernel", "pointwise/bias": "bias"}
_SCOPE = re.compile(rf"(?:[^/]+/)*?(?=FeatureMaps/|bottom_up_|bifpn/|BoxPredictor/|{_SHARED}/)|ssd_\w+_feature_extractor(?:_\d+)?/")

# First layer of a backbone -> what the API calls its feature extractors, with a plain and with a feature pyramid.
_SCOPES = {
    "conv1": ("ssd_mobile_net_v1_keras_feature_extractor", "ssd_mobile_net_v1_fpn_keras_feature_extractor"),
    "Conv1": ("ssd_mobile_net_v2_keras_feature_extractor", "ssd_mobile_net_v2_fpn_keras_feature_extractor"),
}


def api_names(variables: Sequence[str], *, scope: str = "") -> dict[str, StoredName]:
    """The API's variable names of ours (a `NameTable`).

    Args:
        variables: ours, without `:0`.
        scope: of the feature extractor; none as in sources of scheme "api", whose readers take it away.
    """
    return {variable: StoredName(_scoped(variable, scope) + api_name(variable)) for variable in variables}


def _scoped(variable: str, scope: str) -> str:
    return f"{scope}/" if scope and part_of(variable) == "feature_maps" else ""


def api_name(variable: str) -> str:
    """The API's name of a variable of ours, without the feature extractor's scope."""
    layer, _, attribute = variable.rpartition("/")
    layer, _, half = layer.rpartition("/")
    merged = _SEPARABLE.get(f"{half}/{attribute}")
    return f"{layer}/{merged}" if layer and merged else variable


def without_scope(name: str) -> str:
    """A variable's name in the API without the scope of its feature extractor, whatever that is called."""
    match = _SCOPE.match(name)
    return name[match.end() :] if match else name


def feature_extractor_scope(variables: Iterable[str]) -> str | None:
    """What the API calls the feature extractor of a network with these variables; None where the API has none in TF 2."""
    layers = {variable.rpartition("/")[0] for variable in variables}
    pyramid = any(layer.startswith("FeatureMaps/top_down/") for layer in layers)
    for first, scopes in _SCOPES.items():
        if first in layers:
            return scopes[pyramid]
    if "conv1_conv" in layers:
        blocks = sum(re.fullmatch(r"conv4_block\d+_1_conv", layer) is not None for layer in layers)
        return f"ResNet{RESNET_LAYERS[blocks]}V1_FPN" if blocks in RESNET_LAYERS else None
    return None


def graph_names(variables: Sequence[str]) -> dict[str, StoredName]:
    """`graph_keys` of a network without explicit padding and dropout, as a `NameTable`."""
    return {variable: StoredName(key) for variable, key in graph_keys(variables).items()}


def network_graph_keys(network: tf_keras.Model) -> dict[str, str]:
    """`graph_keys` of a network's variables, the layers without weights that count included."""
    variables = [variable.name.removesuffix(":0") for layer in network.layers for variable in layer.weights]
    return graph_keys(variables, other_layers=[layer.name for layer in network.layers if not layer.weights])


def graph_keys(variables: Sequence[str], *, other_layers: Collection[str] = ()) -> dict[str, str]:
    """The path of each variable from the API's detection model.

    Args:
        variables: ours, without `:0`, in the order of the network's layers: those of the backbone are counted.
        other_layers: layers without weights. In front of some layers the API has one more for padding (`<layer>_pad`) or dropout
            (`<head>/dropout`), which moves them in their list.

    Returns:
        Variable -> key, as in `_feature_extractor/classification_backbone/layer_with_weights-0/kernel`. Layers that the API does not
        have are left out.
    """
    names = {variable: api_name(variable).rpartition("/") for variable in variables}
    layers = _Layers(tuple(dict.fromkeys(layer for layer, _, _ in names.values())), frozenset(other_layers))
    places = layers.places()
    return {variable: f"{places[layer]}/{attribute}" for variable, (layer, _, attribute) in names.items() if layer in places}


@dataclass(frozen=True)
class _Layers:
    """The API's layers of one network, by name and without scope.

    Attributes:
        weighted: those with variables, in order.
        others: our layers without variables.
    """

    weighted: tuple[str, ...]
    others: frozenset[str]

    def places(self) -> dict[str, str]:
        """Layer -> its path from the model."""
        backbone = [layer for layer in self.weighted if part_of(f"{layer}/") == "backbone"]
        model = "_feature_extractor/_efficientnet" if any(layer.startswith("stack_0/") for layer in backbone) else BACKBONE
        places = {layer: f"{model}/layer_with_weights-{index}" for index, layer in enumerate(backbone)}
        for layer in self.weighted:
            for pattern, place in _RULES.items():
                match = pattern.fullmatch(layer)
                if match is not None:
                    places[layer] = place(match, self)
        return places

    def is_padded(self, layer: str) -> bool:
        return not self.others.isdisjoint((f"{layer}_pad", f"{layer}/depthwise_pad"))

    def has_dropout(self, head: str) -> bool:
        return f"{head}/dropout" in self.others

    def numbers(self, pattern: str) -> list[int]:
        """What the pattern's only group, a number, is in the layers' names."""
        return [int(match[1]) for match in map(re.compile(pattern).match, self.weighted) if match is not None]


def _extra_feature_map(match: re.Match[str], layers: _Layers) -> str:
    """[1x1 convolution, norm, activation, (padding), (depthwise, norm, activation), convolution, norm, activation] of a level."""
    generator = "_feature_map_generator" if match["base"].startswith("Conv2d_") else "feature_map_generator"  # V1, V2
    stem, kind = match["stem"], match["kind"]
    if match["stage"] == "1":
        position = ("conv", "batchnorm").index(kind)
    elif f"{stem}_depthwise_conv" in layers.weighted:
        order = ("depthwise_conv", "depthwise_batchnorm", "activation", "conv", "batchnorm")
        position = 3 + layers.is_padded(f"{stem}_depthwise_conv") + order.index(kind)
    else:
        position = 3 + layers.is_padded(f"{stem}_conv") + ("conv", "batchnorm").index(kind)
    return f"_feature_extractor/{generator}/convolutions/{match['level']}/{position}"


def _top_down(match: re.Match[str], layers: _Layers) -> str:
    """Feature pyramids count from the coarsest level; names count from the finest."""
    top = max(layers.numbers(r"FeatureMaps/top_down/projection_(\d+)"))
    level = int(match["level"])
    if match["kind"] == "projection":
        place = "top_layers" if level == top else f"residual_blocks/{top - 1 - level}"
        return f"_feature_extractor/_fpn_features_generator/{place}/0"
    return f"_feature_extractor/_fpn_features_generator/conv_layers/{top - 1 - level}/{_in_block(match, layers)}"


def _bottom_up(match: re.Match[str], layers: _Layers) -> str:
    first = min(layers.numbers(r"bottom_up_(?:Conv2d_|block)(\d+)_"))
    return f"_feature_extractor/_coarse_feature_layers/{int(match['level']) - first}/{_in_block(match, layers)}"


def _bifpn_input(match: re.Match[str], layers: _Layers) -> str:
    """[convolution, norm] of a node's first input: the others have the pyramid's depth already."""
    return f"_feature_extractor/_bifpn_stage/node_input_blocks/{int(match['node'])}/0/1/{int(match['kind'] == 'batchnorm')}"


def _bifpn_fusion(match: re.Match[str], layers: _Layers) -> str:
    return f"_feature_extractor/_bifpn_stage/node_combine_op/{int(match['node'])}"


def _bifpn_output(match: re.Match[str], layers: _Layers) -> str:
    """[activation, convolution, norm] of a node."""
    return f"_feature_extractor/_bifpn_stage/node_post_combine_block/{int(match['node'])}/{1 + (match['kind'] == 'batchnorm')}"


def _in_block(match: re.Match[str], layers: _Layers) -> int:
    """Position in [(padding), convolution, norm, activation]."""
    padded = any(layers.is_padded(f"{match['stem']}_{kind}") for kind in ("conv", "depthwise_conv"))
    return padded + (match["suffix"] == "batchnorm")


def _head(match: re.Match[str], layers: _Layers) -> str:
    """[(dropout), (depthwise, norm, activation), convolution] of a level's head."""
    order = ("_depthwise", "_depthwise_batchnorm", "activation", "") if f"{match['stem']}_depthwise" in layers.weighted else ("",)
    position = layers.has_dropout(match["head"]) + order.index(match["suffix"])
    return f"{_HEADS}/{_head_lists(match['kind'], match['level'])}/{position}"


def _head_lists(kind: str, level: str) -> str:
    return f"box_encodings/{level}/_box_encoder_layers" if kind == "Box" else f"{_CLASSES}/{level}/_class_predictor_layers"


def _before_heads(match: re.Match[str], layers: _Layers) -> str:
    """[convolution, norm, activation] * n of a level."""
    return f"_box_predictor/_shared_nets/{match['level']}/{3 * int(match['index']) + (match['suffix'] is not None)}"


def _tower_conv(match: re.Match[str], layers: _Layers) -> str:
    return f"_box_predictor/_head_scope_conv_layers/{match['tower']}/{match['index']}"


def _tower_norm(match: re.Match[str], layers: _Layers) -> str:
    """[convolution, norm, activation] * n of a head and level."""
    head = _CLASSES if match["tower"].startswith("Class") else "box_encodings"
    return f"_box_predictor/_base_tower_layers_for_heads/{head}/{match['level']}/{3 * int(match['index']) + 1}"


def _projection(match: re.Match[str], layers: _Layers) -> str:
    return f"_box_predictor/_additional_projection_layers/{match['level']}/{int(match['suffix'] is not None)}"


def _shared_box_head(match: re.Match[str], layers: _Layers) -> str:
    return "_box_predictor/_box_prediction_head/_box_encoder_layers/0"


def _shared_class_head(match: re.Match[str], layers: _Layers) -> str:
    return f"{_HEADS}/{_CLASSES}/_class_predictor_layers/{int(layers.has_dropout(match['head']))}"


_RULES: Mapping[re.Pattern[str], Callable[[re.Match[str], _Layers], str]] = {
    re.compile(pattern): place
    for pattern, place in {
        r"(?P<stem>FeatureMaps/(?P<base>.+)_(?P<stage>[12])_Conv2d_(?P<level>\d+)_\d+x\d+(?:_s2)?_\d+)"
        r"_(?P<kind>(?:depthwise_)?(?:conv|batchnorm))": _extra_feature_map,
        r"FeatureMaps/top_down/(?P<kind>projection)_(?P<level>\d+)": _top_down,
        r"(?P<stem>FeatureMaps/top_down/(?P<kind>smoothing)_(?P<level>\d+))_(?P<suffix>(?:depthwise_)?conv|batchnorm)": _top_down,
        r"(?P<stem>bottom_up_(?:Conv2d_|block)(?P<level>\d+))_(?P<suffix>(?:depthwise_)?conv|batchnorm)": _bottom_up,
        r"bifpn/node_(?P<node>\d+)/\w+/input_\w+/1x1_pre_sample/(?P<kind>conv|batchnorm)": _bifpn_input,
        r"bifpn/node_(?P<node>\d+)/\w+/combine": _bifpn_fusion,
        r"bifpn/node_(?P<node>\d+)/\w+/post_combine/(?P<kind>separable_conv|batchnorm)": _bifpn_output,
        r"(?P<stem>(?P<head>BoxPredictor/Convolutional(?P<kind>Box|Class)Head_(?P<level>\d+))/(?:BoxEncoding|Class)Predictor)"
        r"(?P<suffix>|_depthwise|_depthwise_batchnorm)": _head,
        r"BoxPredictor/SharedConvolutions_(?P<level>\d+)/Conv2d_(?P<index>\d+)_1x1_\d+(?P<suffix>_norm)?": _before_heads,
        rf"{_SHARED}/(?P<tower>\w*PredictionTower)/conv2d_(?P<index>\d+)": _tower_conv,
        rf"{_SHARED}/(?P<tower>\w*PredictionTower)/conv2d_(?P<index>\d+)/BatchNorm/feature_(?P<level>\d+)": _tower_norm,
        rf"{_SHARED}/ProjectionLayer/conv2d_(?P<level>\d+)(?P<suffix>/BatchNorm)?": _projection,
        rf"{_SHARED}/WeightSharedConvolutionalBoxHead/BoxPredictor": _shared_box_head,
        rf"(?P<head>{_SHARED}/WeightSharedConvolutionalClassHead)/ClassPredictor": _shared_class_head,
    }.items()
}
