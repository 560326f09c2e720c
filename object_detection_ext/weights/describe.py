"""Which network stored weights belong to, as far as their names and shapes tell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from object_detection_ext.weights.names import DEPTH_MULTIPLIERS, part_of
from object_detection_ext.weights.source import WeightSource

_COORDINATES = 4  # of a box code


class _Backbone(NamedTuple):
    """How the variables of a family are known, in any scheme.

    Attributes:
        mark: found in the name of one of them.
        probe: matches the end of the name of a kernel whose output channels tell the depth multiplier.
        channels: of that kernel, at depth multiplier 1.
    """

    name: str
    mark: str
    probe: str = ""
    channels: int = 0


_BACKBONES = (
    _Backbone("MobileNet V1", r"conv_dw_\d|MobilenetV1/", r"conv_pw_13/kernel|Conv2d_13_pointwise/weights", 1024),
    _Backbone(
        "MobileNetV2",
        r"block_16_project/|MobilenetV2/|features\.18\.",
        r"block_16_project/kernel|expanded_conv_16/project/weights|features\.17\.conv\.2\.weight",
        320,
    ),
    _Backbone("MobileNetV3 large", r"MobilenetV3/expanded_conv_14/"),
    _Backbone("MobileNetV3 small", r"MobilenetV3/"),
    _Backbone("MobileNet EdgeTPU", r"MobilenetEdgeTPU/"),
    *(_Backbone(f"MobileDet {device}", rf"MobileDet{device}/") for device in ("CPU", "DSP", "EdgeTPU", "GPU")),
    *(
        _Backbone(f"ResNet-{depth} V1", rf"conv4_block{blocks}_|resnet_v1_{depth}/", r"conv5_block3_3_conv/kernel", 2048)
        for depth, blocks in ((152, 36), (101, 23), (50, 6))
    ),
    _Backbone("EfficientNet", r"stack_0/block_0/"),
    *(_Backbone(f"Inception V{version}", rf"InceptionV{version}/") for version in (2, 3)),
)


class Row(NamedTuple):
    """A group of variables."""

    scope: str
    variables: int
    parameters: int


class Description(NamedTuple):
    """What is known of a network.

    Attributes:
        network: in words, as in "SSDLite MobileNetV2, depth multiplier 0.35".
        class_scores: of one anchor, the background's included where there is one; None where there are no heads.
        rows: the variables by scope, in the order of the file.
    """

    network: str
    class_scores: int | None
    rows: tuple[Row, ...]

    @property
    def variables(self) -> int:
        return sum(row.variables for row in self.rows)

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)


def describe(source: WeightSource) -> Description:
    """Reads names and shapes, no values."""
    return Description(_network(source), _class_scores(source.shapes), tuple(_rows(source)))


def _network(source: WeightSource) -> str:
    backbone = next((known for known in _BACKBONES if _found(known.mark, source.shapes)), None)
    name = backbone.name if backbone else "unknown backbone"
    multiplier = _multiplier(backbone, source) if backbone else None
    depth = "" if multiplier is None else f", depth multiplier {multiplier:g}"
    return f"{_detector(source.shapes, name)}{depth}"


def _detector(names: Iterable[str], backbone: str) -> str:
    names = list(names)
    if not _found(r"BoxPredictor|_box_predictor/", names):
        return f"{backbone} without detection heads"
    if _found(r"bifpn/|_bifpn_stage/", names):
        return f"EfficientDet with {backbone}"
    if _found(r"top_down/|/fpn/|_fpn_features_generator/", names):
        return f"SSD {backbone} {'FPNLite' if _found(r'PredictionTower/.*depthwise', names) else 'FPN'}"
    is_lite = _found(r"BoxEncodingPredictor_depthwise|_box_encoder_layers/0/depthwise_kernel", names)
    return f"{'SSDLite' if is_lite else 'SSD'} {backbone}"


def _multiplier(backbone: _Backbone, source: WeightSource) -> float | None:
    probe = re.compile(rf"(?:.*/)?(?:{backbone.probe})")
    shape = next((shape for name, shape in source.shapes.items() if probe.fullmatch(name)), None) if backbone.probe else None
    if shape is None:
        return None
    ratio = shape[0 if source.scheme == "torchvision" else -1] / backbone.channels
    if backbone.name == "MobileNet V1" and source.scheme in ("ours", "api"):
        ratio = math.sqrt(ratio)  # the API's TF 2 network multiplies twice
    nearest = min(DEPTH_MULTIPLIERS, key=lambda multiplier: abs(multiplier - ratio))
    return nearest if abs(nearest - ratio) * backbone.channels <= 4 else round(ratio, 3)  # depths are rounded to multiples of 8


def _class_scores(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Outputs of a class head, by the anchors that the outputs of the box head beside it tell."""
    boxes = _first_bias(r"BoxEncodingPredictor|Box(?:Head|Predictor)/BoxPredictor|_box_encoder_layers/\d", shapes)
    classes = _first_bias(r"ClassPredictor|_class_predictor_layers/\d", shapes)
    anchors = boxes // _COORDINATES
    return classes // anchors if anchors and classes % anchors == 0 else None


def _first_bias(layer: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    bias = re.compile(rf".*(?:{layer})/(?:pointwise/)?bias(?:es)?")
    return next((shape[0] for name, shape in shapes.items() if bias.fullmatch(name)), 0)


def _rows(source: WeightSource) -> Iterator[Row]:
    groups: dict[str, list[str]] = {}
    for name in source.shapes:
        groups.setdefault(_scope(name, source), []).append(name)
    for scope, names in groups.items():
        yield Row(scope, len(names), sum(math.prod(source.shapes[name]) for name in names))


def _scope(name: str, source: WeightSource) -> str:
    first, *rest = name.split("/")
    match source.scheme:
        case "ours" | "api":
            part = part_of(name)
            return {"backbone": "backbone", "feature_maps": "FeatureMaps"}.get(part) or f"{first}/{rest[0]}"
        case "tf1" | "api_graph":
            return first if first.startswith("BoxPredictor") else f"{first}/{rest[0]}"
        case "torchvision":
            return first.partition(".")[0]
        case _:
            return first if source.scheme == "slim" else "backbone"


def _found(pattern: str, names: Iterable[str]) -> bool:
    search = re.compile(pattern).search
    return any(search(name) for name in names)
