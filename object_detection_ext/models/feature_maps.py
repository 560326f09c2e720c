"""The pyramid of feature maps of an SSD: some from the backbone, the rest by stride-2 convolutions (Liu et al. 2016, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d

SCOPE = "FeatureMaps"


class Level(NamedTuple):
    """One feature map: an end point of the backbone, or a new one of this depth made from the map before it."""

    endpoint: str | None = None
    depth: int | None = None


@dataclass(frozen=True)
class SsdFeatureMaps:
    """Takes feature maps from the backbone and adds the extra layers.

    Each extra map is a 1x1 convolution to half the depth, then a 3x3 convolution with stride 2 (depthwise, then 1x1, if
    `use_depthwise`), each with normalisation and activation. The layers have the API's names, as in
    `FeatureMaps/layer_19_2_Conv2d_2_3x3_s2_512_conv`.

    Attributes:
        levels: from the finest to the coarsest; the first comes from the backbone.
        depth_multiplier: scales the depth of new maps, rounded down.
        min_depth: the least depth of new maps.
        depthwise_as_configured: initialiser and regulariser of `hyperparams` reach depthwise kernels too, as in TF 1.
    """

    levels: tuple[Level, ...]
    hyperparams: ConvHyperparams
    depth_multiplier: float = 1.0
    min_depth: int = 16
    use_depthwise: bool = False
    use_explicit_padding: bool = False
    depthwise_as_configured: bool = False

    def __post_init__(self) -> None:
        if not self.levels or self.levels[0].endpoint is None:
            raise ValueError("the first of the feature maps must come from the backbone")

    def __call__(self, endpoints: Mapping[str, KerasTensor]) -> tuple[KerasTensor, ...]:
        """Adds the layers.

        Args:
            endpoints: the backbone's, by name; each [B, H, W, C] float32.

        Returns:
            One [B, h, w, c] per level.
        """
        feature_maps: list[KerasTensor] = []
        base = ""
        for index, level in enumerate(self.levels):
            if level.endpoint is not None:
                base = level.endpoint
                feature_maps.append(endpoints[base])
            else:
                feature_maps.append(self._extra(feature_maps[-1], level.depth or 0, prefix=f"{SCOPE}/{base}", index=index))
        return tuple(feature_maps)

    def _extra(self, features: KerasTensor, depth: int, *, prefix: str, index: int) -> KerasTensor:
        squeezed, depth = self._depth(depth // 2), self._depth(depth)
        name = f"{prefix}_1_Conv2d_{index}_1x1_{squeezed}"
        features = conv2d(features, squeezed, 1, hyperparams=self.hyperparams, name=f"{name}_conv")
        features = self._activated(features, name)

        name = f"{prefix}_2_Conv2d_{index}_3x3_s2_{depth}"
        stride = {"stride": 2, "hyperparams": self.hyperparams, "use_explicit_padding": self.use_explicit_padding}
        if not self.use_depthwise:
            return self._activated(conv2d(features, depth, 3, name=f"{name}_conv", **stride), name)
        features = depthwise_conv2d(features, 3, in_backbone=self.depthwise_as_configured, name=f"{name}_depthwise_conv", **stride)
        features = self._activated(features, f"{name}_depthwise")
        return self._activated(conv2d(features, depth, 1, hyperparams=self.hyperparams, name=f"{name}_conv"), name)

    def _activated(self, features: KerasTensor, name: str) -> KerasTensor:
        return self.hyperparams.activate(self.hyperparams.normalize(features, name=f"{name}_batchnorm"), name=name)

    def _depth(self, depth: int) -> int:
        return max(int(depth * self.depth_multiplier), self.min_depth)
