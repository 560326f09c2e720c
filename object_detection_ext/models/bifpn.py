"""The bidirectional feature pyramid of EfficientDet: BiFPN (Tan et al. 2020, https://arxiv.org/abs/1911.09070, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import tf_keras

from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d
from object_detection_ext.models.weighted_fusion import WeightedFusion

SCOPE = "bifpn"

CombineMethod = Literal["sum", "weighted_sum", "attention", "fast_attention"]
COMBINE_METHODS: tuple[CombineMethod, ...] = ("sum", "weighted_sum", "attention", "fast_attention")


class Node(NamedTuple):
    """A feature map of the pyramid and the nodes that it is made of. Names as `1_dn_lvl_4`: pass, direction, level."""

    name: str
    level: int
    inputs: tuple[tuple[str, int], ...]  # name and level


@dataclass(frozen=True)
class BiFpn:
    """Passes down and up through a pyramid; every node fuses its inputs and runs a 3x3 depthwise-separable convolution.

    Layers have the API's names, as in `bifpn/node_05/1_up_lvl_4/combine`.

    Attributes:
        endpoints: of the backbone for the levels from `min_level` on. Levels above them are made by max pooling.
        min_level: the finest; level l has stride 2^l.
        max_level: the coarsest.
        num_iterations: passes down and up.
        num_filters: channels of every node.
        hyperparams: of all convolutions, initialiser and regulariser of depthwise kernels included.
        combine_method: how a node fuses its inputs: `sum`, or a method of `WeightedFusion`.
    """

    endpoints: tuple[str, ...]
    min_level: int
    max_level: int
    num_iterations: int
    num_filters: int
    hyperparams: ConvHyperparams
    combine_method: CombineMethod = "fast_attention"

    def __post_init__(self) -> None:
        if self.max_level <= self.min_level:
            raise ValueError(f"max_level must be > min_level ({self.min_level}), got {self.max_level}")
        if not self.endpoints:
            raise ValueError("endpoints must name at least one end point of the backbone")
        if len(self.endpoints) > self.max_level - self.min_level + 1:
            raise ValueError(f"endpoints must be at most as many as there are levels, got {', '.join(self.endpoints)}")
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations must be >= 1, got {self.num_iterations}")
        if self.num_filters < 1:
            raise ValueError(f"num_filters must be >= 1, got {self.num_filters}")
        if self.combine_method not in COMBINE_METHODS:
            raise ValueError(f"combine_method must be one of {', '.join(COMBINE_METHODS)}, got {self.combine_method!r}")

    def __call__(self, endpoints: Mapping[str, KerasTensor]) -> tuple[KerasTensor, ...]:
        """Adds the layers.

        Args:
            endpoints: the backbone's, by name; [B, h, w, c] float32 each.

        Returns:
            One [B, h, w, num_filters] per level, finest first.
        """
        features = {_name(0, "up", self.min_level + index): endpoints[endpoint] for index, endpoint in enumerate(self.endpoints)}
        from_backbone = set(features)
        nodes = list(self._nodes())
        for index, node in enumerate(nodes):
            prefix = f"{SCOPE}/node_{index:02d}/{node.name}"
            inputs = [
                self._resample(features[name], name not in from_backbone, levels_up=node.level - level, name=f"{prefix}/input_{name}")
                for name, level in node.inputs
            ]
            features[node.name] = self._fuse(inputs, name=prefix) if len(inputs) > 1 else inputs[0]
        return tuple(features[node.name] for node in nodes[self.min_level - self.max_level - 1 :])

    def _nodes(self) -> Iterator[Node]:
        """All nodes but the backbone's, in the order in which they are computed. The last ones, by level, are the result."""
        lowest, top = self.min_level, self.max_level
        for level in range(lowest + len(self.endpoints), top + 1):
            yield Node(_name(0, "up", level), level, ((_name(0, "up", level - 1), level - 1),))
        for index in range(1, self.num_iterations + 1):
            above = (_name(index - 1, "up", top), top)
            for level in range(top - 1, lowest - 1, -1):
                direction = "dn" if level == lowest and index > 1 else "up"  # the way up starts above the finest level
                node = Node(_name(index, "dn", level), level, ((_name(index - 1, direction, level), level), above))
                yield node
                above = (node.name, level)
            below = above
            for level in range(lowest + 1, top + 1):
                down = () if level == top else ((_name(index, "dn", level), level),)
                node = Node(_name(index, "up", level), level, ((_name(index - 1, "up", level), level), *down, below))
                yield node
                below = (node.name, level)

    def _resample(self, features: KerasTensor, has_depth: bool, *, levels_up: int, name: str) -> KerasTensor:
        """To the depth of the pyramid and, one up or down where need be, to the node's level."""
        if not has_depth:
            features = conv2d(features, self.num_filters, 1, hyperparams=self.hyperparams, name=f"{name}/1x1_pre_sample/conv")
            features = self.hyperparams.normalize(features, name=f"{name}/1x1_pre_sample/batchnorm")
        if levels_up > 0:
            return tf_keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}/downsample_max_x2")(features)
        if levels_up < 0:
            return tf_keras.layers.UpSampling2D(2, name=f"{name}/nearest_neighbor_upsampling_x2")(features)
        return features

    def _fuse(self, inputs: list[KerasTensor], *, name: str) -> KerasTensor:
        """The first input is of the node's own level. An odd size is cropped after upsampling; the API fails there."""
        size = inputs[0].shape[1:3]
        inputs = [_crop(features, size, name=f"{name}/cropping_{index}") for index, features in enumerate(inputs)]
        if self.combine_method == "sum":
            features = tf_keras.layers.Add(name=f"{name}/combine")(inputs)
        else:
            features = WeightedFusion(self.combine_method, name=f"{name}/combine")(inputs)
        name = f"{name}/post_combine"
        features = self.hyperparams.activate(features, name=f"{name}/activation")
        features = depthwise_conv2d(
            features, 3, hyperparams=self.hyperparams, use_bias=False, in_backbone=True, name=f"{name}/separable_conv/depthwise"
        )
        features = conv2d(features, self.num_filters, 1, hyperparams=self.hyperparams, name=f"{name}/separable_conv/pointwise")
        return self.hyperparams.normalize(features, name=f"{name}/batchnorm")


def _crop(features: KerasTensor, size: tuple[int, int], *, name: str) -> KerasTensor:
    bottom, right = features.shape[1] - size[0], features.shape[2] - size[1]
    return tf_keras.layers.Cropping2D(((0, bottom), (0, right)), name=name)(features) if bottom or right else features


def _name(iteration: int, direction: Literal["up", "dn"], level: int) -> str:
    return f"{iteration}_{direction}_lvl_{level}"
