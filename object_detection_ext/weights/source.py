"""Stored weights, whatever the file: names, shapes and values, and how the names are to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

# How a file names its variables.
#   ours:         our layer names: Conv1/kernel, FeatureMaps/layer_19_1_Conv2d_2_1x1_256_conv/kernel
#   api:          the API's TF 2 variables without the scope of their feature extractor: ours, but separable convolutions in one layer
#   api_graph:    the API's TF 2 object graph: _feature_extractor/classification_backbone/layer_with_weights-0/kernel
#   tf1:          scopes of TF 1: FeatureExtractor/MobilenetV2/Conv/weights, BoxPredictor_0/...
#   slim:         the same backbone alone, of a classifier: MobilenetV2/Conv/weights
#   keras:        Keras applications: Conv1/kernel, Conv1_bn/gamma
#   torchvision:  features.0.0.weight
Scheme = Literal["ours", "api", "api_graph", "tf1", "slim", "keras", "torchvision"]


@dataclass(frozen=True)
class WeightSource:
    """A file or folder with weights.

    Attributes:
        path: as messages name it.
        kind: what it is, in words, as in "TF 1 checkpoint".
        scheme: how its variables are named.
        shapes: every stored weight by name: no step counters, no optimizer slots.
        read: name -> value, as stored.
        step: training steps behind it; None where it does not say.
    """

    path: str
    kind: str
    scheme: Scheme
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    step: int | None = None
