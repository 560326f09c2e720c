"""SSD's default boxes (Liu et al. 2016, section 2.2, "Choosing scales and aspect ratios for default boxes")."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_ext.anchors.grid import BoxShape, grid_anchors

# The finest layer with `reduce_boxes_in_lowest_layer`: a small square, and two boxes of the layer's scale.
LOWEST_LAYER_SCALE = 0.1


@dataclass(frozen=True)
class SsdAnchorGenerator:
    """Anchors whose scale grows linearly from the finest feature map to the coarsest.

    Attributes:
        num_layers: number of feature maps.
        min_scale, max_scale: scale of the finest and of the coarsest map's anchors, relative to the shorter side of the image.
        scales: one per map, in place of min_scale and max_scale; empty for none.
        aspect_ratios: width / height of the anchors at each location.
        interpolated_scale_aspect_ratio: of one more anchor, whose scale is the geometric mean of this layer's and the next one's
            (1.0 after the last); 0 for no such anchor.
        base_anchor_size: height and width of an anchor with scale and aspect ratio 1, relative to the shorter side of the image.
        strides: (y, x) distance between anchor centres in pixels, one pair per map; empty: the map covers the image.
        offsets: (y, x) centre of the first anchor in pixels, one pair per map; empty: half a stride.
        reduce_boxes_in_lowest_layer: three anchors per location on the finest map, whatever the aspect ratios.
    """

    num_layers: int = 6
    min_scale: float = 0.2
    max_scale: float = 0.95
    scales: tuple[float, ...] = ()
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 3.0, 1.0 / 2, 1.0 / 3)
    interpolated_scale_aspect_ratio: float = 1.0
    base_anchor_size: tuple[float, float] = (1.0, 1.0)
    strides: tuple[tuple[float, float], ...] = ()
    offsets: tuple[tuple[float, float], ...] = ()
    reduce_boxes_in_lowest_layer: bool = True

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ValueError(f"num_layers must be >= 1, got {self.num_layers}")
        if any(ratio <= 0 for ratio in self.aspect_ratios):
            raise ValueError(f"aspect_ratios must be > 0, got {min(self.aspect_ratios):g}")
        if not self.aspect_ratios and self.interpolated_scale_aspect_ratio <= 0:
            raise ValueError("aspect_ratios must not be empty where interpolated_scale_aspect_ratio is 0")
        for name in ("scales", "strides", "offsets"):
            if getattr(self, name) and len(getattr(self, name)) != self.num_layers:
                raise ValueError(f"{name} must be one per layer ({self.num_layers}), got {len(getattr(self, name))}")
        if any(scale <= 0 for scale in self._layer_scales()):
            raise ValueError(f"scales must be > 0, got {min(self._layer_scales()):g}")
        if min(self.base_anchor_size) <= 0:
            raise ValueError(f"base_anchor_size must be > 0, got {self.base_anchor_size}")

    @property
    def num_anchors_per_location(self) -> list[int]:
        """One number per feature map."""
        return [len(shapes) for shapes in self._layer_shapes()]

    def __call__(self, feature_map_shapes: Sequence[tuple[int, int]], *, image_shape: tuple[int, int]) -> np.ndarray:
        """Makes the anchors of all feature maps.

        Args:
            feature_map_shapes: height and width of each map, finest first.
            image_shape: height and width of the network input in pixels.

        Returns:
            [A, 4] float32, normalised, not clipped; ordered by map, row, column, then anchor of the location.

        Raises:
            ValueError: as many feature maps as layers are needed.
        """
        if len(feature_map_shapes) != self.num_layers:
            raise ValueError(f"expected {self.num_layers} feature maps, got {len(feature_map_shapes)}")
        image = np.asarray(image_shape, np.float32)
        base_size = np.min(image) / image * np.asarray(self.base_anchor_size, np.float32)
        layers = []
        for index, (shapes, grid) in enumerate(zip(self._layer_shapes(), feature_map_shapes, strict=True)):
            stride = np.asarray(self.strides[index], np.float32) / image if self.strides else np.float32(1) / np.asarray(grid, np.float32)
            offset = np.asarray(self.offsets[index], np.float32) / image if self.offsets else np.float32(0.5) * stride
            layers.append(grid_anchors(grid, shapes, base_size=base_size, stride=stride, offset=offset))
        return np.concatenate(layers)

    def _layer_scales(self) -> list[float]:
        if self.scales:
            return list(self.scales)
        step = (self.max_scale - self.min_scale) / max(self.num_layers - 1, 1)
        return [self.min_scale + step * layer for layer in range(self.num_layers)]

    def _layer_shapes(self) -> list[list[BoxShape]]:
        scales = [*self._layer_scales(), 1.0]
        layers = []
        for scale, next_scale in itertools.pairwise(scales):
            shapes = [BoxShape(scale, ratio) for ratio in self.aspect_ratios]
            if self.interpolated_scale_aspect_ratio > 0:
                shapes.append(BoxShape(math.sqrt(scale * next_scale), self.interpolated_scale_aspect_ratio))
            layers.append(shapes)
        if self.reduce_boxes_in_lowest_layer:
            layers[0] = [BoxShape(LOWEST_LAYER_SCALE, 1.0), BoxShape(scales[0], 2.0), BoxShape(scales[0], 0.5)]
        return layers
