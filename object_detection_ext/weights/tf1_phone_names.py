"""Names in TF 1 of the networks that the API has in TF 1 only: MobileNetV3, MobileNet EdgeTPU and MobileDet.

Our layers carry the scopes of TF 1, so that backbones differ in the last part only (`kernel` for `weights`). New feature maps stand in
the backbone's scope: `FeatureMaps/layer_17_1_Conv2d_2_1x1_256_batchnorm/gamma` is
`FeatureExtractor/MobilenetV3/layer_17_1_Conv2d_2_1x1_256/BatchNorm/gamma`.
"""

from __future__ import annotations

from collections.abc import Sequence

from object_detection_ext.weights.names import TF1_WEIGHTS, StoredName

_SCOPES = ("MobilenetV3", "MobilenetEdgeTPU", "MobileDetCPU", "MobileDetDSP", "MobileDetEdgeTPU", "MobileDetGPU")
_DETECTOR = "FeatureExtractor"

_FEATURE_MAPS = "FeatureMaps/"
# How layers of feature maps end, and what TF 1 has in place of it.
_ENDINGS = {"_batchnorm": "/BatchNorm", "_conv": ""}


def tf1_phone_names(variables: Sequence[str]) -> dict[str, StoredName]:
    """Name table of backbone and feature maps; heads are left out. Empty for other families.

    Args:
        variables: those of the whole network: its backbone gives the scope of the feature maps.
    """
    scope = _backbone_scope(variables)
    if scope is None:
        return {}
    names = {}
    for variable in variables:
        layer, _, leaf = variable.rpartition("/")
        if variable.startswith(_FEATURE_MAPS):
            layer = f"{scope}/{_feature_map_layer(layer.removeprefix(_FEATURE_MAPS))}"
        elif not variable.startswith(f"{scope}/"):
            continue
        names[variable] = StoredName(f"{_DETECTOR}/{layer}/{TF1_WEIGHTS.get(leaf, leaf)}")
    return names


def _backbone_scope(variables: Sequence[str]) -> str | None:
    return next((scope for variable in variables if (scope := variable.partition("/")[0]) in _SCOPES), None)


def _feature_map_layer(layer: str) -> str:
    for ending, stored in _ENDINGS.items():
        if layer.endswith(ending):
            return layer.removesuffix(ending) + stored
    return layer
