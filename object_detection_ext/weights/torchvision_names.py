"""Where torchvision keeps the weights of its MobileNetV2 (`torchvision.models.mobilenet_v2`).

What differs, and what becomes of it:

- Kernels are [out, in, height, width] and become [height, width, in, out]; depthwise ones [channels, 1, height, width] become
  [height, width, channels, 1].
- Epsilon of batch normalisation is 1e-5, ours 1e-3. The variance stays; `gamma' = gamma sqrt((var + 1e-3) / (var + 1e-5))` keeps
  `gamma / sqrt(var + epsilon)`: exactly in inference, in training as nearly as the moving variance fits the batch.
- The input is `(pixel / 255 - mean) / std`, ours is x in [-1, 1]. The first kernel takes the factor `0.5 / std`, the moving mean behind
  it what `(0.5 - mean) / std` adds to each sum. Exact inside the image; in the outermost rows and columns, where windows reach into
  the padding, the padding is grey by our scaling and ImageNet's mean colour by theirs.
- The padding is one pixel on every side, here `use_explicit_padding: true`. With SAME, the default, the windows at stride 2 lie one
  pixel further down and right where the size is even. Over five of them that is 31 pixels, a cell of the coarsest map, to which
  fine-tuning has to adapt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from object_detection_ext.weights.names import StoredName

# https://pytorch.org/vision/stable/models.html: transforms of the classification weights, RGB.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])
THEIR_EPSILON, OUR_EPSILON = 1e-5, 1e-3

_BLOCK = re.compile(r"(?:expanded_conv|block_(?P<number>\d+))_(?P<part>expand|depthwise|project)(?P<norm>_BN)?")
_STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KERNELS = ("kernel", "depthwise_kernel")
_STEM, _STEM_NORM = "features.0.0", "features.0.1"
_ENDS = {"Conv1": _STEM, "bn_Conv1": _STEM_NORM, "Conv_1": "features.18.0", "Conv_1_bn": "features.18.1"}
# Modules of a block: (convolution, its normalisation). The first block does not expand.
_MODULES = {"expand": ("0.0", "0.1"), "depthwise": ("1.0", "1.1"), "project": ("2", "3")}
_MODULES_OF_FIRST = {"depthwise": ("0.0", "0.1"), "project": ("1", "2")}


def torchvision_names(variables: Sequence[str]) -> dict[str, StoredName]:
    """Name table of torchvision's MobileNetV2: the backbone. Only the way in: a folded input is not unfolded."""
    stored = {variable: _stored(*variable.rpartition("/")[::2]) for variable in variables}
    return {variable: name for variable, name in stored.items() if name is not None}


def _stored(layer: str, weight: str) -> StoredName | None:
    module = _module(layer)
    if module is None:
        return None
    if weight in _KERNELS:
        to_ours = _depthwise if weight == "depthwise_kernel" else _first_kernel if module == _STEM else _kernel
        return StoredName(f"{module}.weight", to_ours, _one_way)
    if weight not in _STATISTICS:
        return None
    name = f"{module}.{_STATISTICS[weight]}"
    if weight == "gamma":
        return StoredName(name, _gamma, _one_way, beside=(f"{module}.running_var",))
    if weight == "moving_mean" and module == _STEM_NORM:
        return StoredName(name, _first_mean, _one_way, beside=(f"{_STEM}.weight",))
    return StoredName(name, from_ours=_one_way)


def _module(layer: str) -> str | None:
    if layer in _ENDS:
        return _ENDS[layer]
    match = _BLOCK.fullmatch(layer)
    modules = _MODULES if match and match["number"] else _MODULES_OF_FIRST
    if match is None or match["part"] not in modules:
        return None
    # features.1 is the block that does not expand, features.2 our block_1.
    return f"features.{int(match['number'] or 0) + 1}.conv.{modules[match['part']][bool(match['norm'])]}"


def _kernel(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def _depthwise(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 0, 1)


def _first_kernel(weight: np.ndarray) -> np.ndarray:
    return (_kernel(weight) * (0.5 / IMAGENET_STD)[:, np.newaxis]).astype(weight.dtype)


def _first_mean(mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    shift = np.einsum("oihw,i->o", weight.astype(np.float64), (0.5 - IMAGENET_MEAN) / IMAGENET_STD)
    return (mean - shift).astype(mean.dtype)


def _gamma(gamma: np.ndarray, variance: np.ndarray) -> np.ndarray:
    variance = variance.astype(np.float64)
    return (gamma * np.sqrt((variance + OUR_EPSILON) / (variance + THEIR_EPSILON))).astype(gamma.dtype)


def _one_way(value: np.ndarray) -> np.ndarray:
    raise ValueError(f"weights are read from torchvision's files, not written to them (got an array of shape {value.shape})")
