"""What a name table says: where a variable of ours is stored under another naming scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

Part = Literal["backbone", "feature_maps", "heads"]

_HEADS = ("BoxPredictor/", "WeightSharedConvolutionalBoxPredictor/")
_FEATURE_MAPS = ("FeatureMaps/", "bottom_up_", "bifpn/")

# Of published MobileNets.
DEPTH_MULTIPLIERS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
# Blocks in the third stack of a ResNet -> its number of layers (He et al. 2015, table 1).
RESNET_LAYERS = {6: 50, 23: 101, 36: 152}
# How TF 1 calls the last part of a variable's name.
TF1_WEIGHTS = {"kernel": "weights", "bias": "biases", "depthwise_kernel": "depthwise_weights"}


def _same(value: np.ndarray) -> np.ndarray:
    return value


class StoredName(NamedTuple):
    """The name of a variable in a file, and the way between the two layouts of its values.

    Attributes:
        beside: further stored arrays that `to_ours` takes after the variable's own, where the two layouts differ by more than an order
            of axes (an epsilon, the scaling of the input).
    """

    name: str
    to_ours: Callable[..., np.ndarray] = _same
    from_ours: Callable[[np.ndarray], np.ndarray] = _same
    beside: tuple[str, ...] = ()

    def load(self, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Our value, in our shape, from `WeightSource.read`. Raises `KeyError` where one of the arrays is not stored."""
        return self.to_ours(read(self.name), *map(read, self.beside))


# Names of our variables (`Conv1/kernel`, without `:0`) -> where they are stored. Variables that the scheme does not know are left out.
NameTable = Callable[[Sequence[str]], Mapping[str, StoredName]]


def part_of(variable: str) -> Part:
    """The part of the network that a variable of ours belongs to."""
    if variable.startswith(_HEADS):
        return "heads"
    return "feature_maps" if variable.startswith(_FEATURE_MAPS) else "backbone"
