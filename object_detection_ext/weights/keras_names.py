"""Where Keras applications keep the weights of MobileNet V1 and V2.

The API made its TF 2 backbones of Keras applications, so their names are ours. Epsilon of batch normalisation (0.001) and scaling of the
input ([-1, 1]) are the same too.

Padding: Keras applications pad explicitly before strided convolutions. V2 pads by the parity of the size, which is what SAME does; V1
always pads below and right, which is what SAME does to even sizes only. An input of 224 or 320 px is even at each of the five
halvings; one of 300 px is 75 at the third, where V1's windows lie one pixel apart from ours.

Keras's V2 has 1280 channels in `Conv_1` below depth 1.0, where the API scales them, and scales them above, where the API does not: shapes
differ at every depth but 1.0, and restoring leaves `Conv_1` and `Conv_1_bn` fresh.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from object_detection_ext.weights.names import StoredName

_MOBILENET_V1 = re.compile(r"(conv1(_bn)?|conv_(dw|pw)_\d+(_bn)?)/[a-z_]+")
_MOBILENET_V2 = re.compile(r"(Conv1|bn_Conv1|(expanded_conv|block_\d+)_(expand|depthwise|project)(_BN)?|Conv_1(_bn)?)/[a-z_]+")
# Layers that no other backbone has: ResNet's first normalisation is called conv1_bn too.
_PROBES = {"conv_dw_1/depthwise_kernel": _MOBILENET_V1, "Conv1/kernel": _MOBILENET_V2}


def keras_names(variables: Sequence[str]) -> dict[str, StoredName]:
    """Name table of Keras applications: the backbones MobileNet V1 and V2. `variables` are those of the whole network."""
    names = next((names for probe, names in _PROBES.items() if probe in variables), None)
    return {variable: StoredName(variable) for variable in variables if names and names.fullmatch(variable)}
