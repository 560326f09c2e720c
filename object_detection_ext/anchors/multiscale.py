"""The anchors of RetinaNet and FPN detectors: sizes follow the stride of the pyramid level (Lin et al. 2017, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_ext.anchors.grid import BoxShape, grid_anchors


@dataclass(frozen=True)
class MultiscaleAnchorGenerator:
    """Anchors of a feature pyramid whose level l has stride 2^l.

    Attributes:
        min_level, max_level: of the pyramid.
        anchor_scale: base size of an anchor, in strides of its level.
        aspect_ratios: width / height of the anchors at each location.
        scales_per_octave: number of sizes between one level and the next.
        normalize_coordinates: relative to the image; else in pixels.
    """

    min_level: int = 3
    max_level: int = 7
    anchor_scale: float = 4.0
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    scales_per_octave: int = 2
    normalize_coordinates: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_level <= self.max_level:
            raise ValueError(f"min_level must be between 0 and max_level ({self.max_level}), got {self.min_level}")
        if self.anchor_scale <= 0:
            raise ValueError(f"anchor_scale must be > 0, got {self.anchor_scale:g}")
        if not self.aspect_ratios or min(self.aspect_ratios) <= 0:
            raise ValueError(f"aspect_ratios must be one or more numbers > 0, got {list(self.aspect_ratios)}")
        if self.scales_per_octave < 1:
            raise ValueError(f"scales_per_octave must be >= 1, got {self.scales_per_octave}")

    @property
    def num_anchors_per_location(self) -> list[int]:
        """One number per feature map."""
        return [len(self.aspect_ratios) * self.scales_per_octave] * (self.max_level - self.min_level + 1)

    def __call__(self, feature_map_shapes: Sequence[tuple[int, int]], *, image_shape: tuple[int, int]) -> np.ndarray:
        """Makes the anchors of all feature maps.

        Args:
            feature_map_shapes: height and width of each map, finest first.
            image_shape: height and width of the network input in pixels.

        Returns:
            [A, 4] float32, not clipped; ordered by map, row, column, aspect ratio, then scale.

        Raises:
            ValueError: as many feature maps as levels are needed.
        """
        levels = range(self.min_level, self.max_level + 1)
        if len(feature_map_shapes) != len(levels):
            raise ValueError(f"expected {len(levels)} feature maps, got {len(feature_map_shapes)}")
        scales = [2 ** (index / self.scales_per_octave) for index in range(self.scales_per_octave)]
        shapes = [BoxShape(scale, ratio) for ratio in self.aspect_ratios for scale in scales]
        layers = []
        for level, grid in zip(levels, feature_map_shapes, strict=True):
            stride = 2**level
            # Where the level does not divide the image, its first cell is centred on the image's corner.
            offset = [stride / 2 if side % stride == 0 else 0 for side in image_shape]
            layers.append(
                grid_anchors(
                    grid,
                    shapes,
                    base_size=np.full(2, stride * self.anchor_scale, np.float32),
                    stride=np.full(2, stride, np.float32),
                    offset=np.asarray(offset, np.float32),
                )
            )
        anchors = np.concatenate(layers)
        return anchors / np.asarray([*image_shape, *image_shape], np.float32) if self.normalize_coordinates else anchors
