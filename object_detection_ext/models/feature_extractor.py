"""What a detector needs of a feature extractor, and the usual one: a backbone and a pyramid on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from object_detection_ext.models.layers import KerasTensor, zero_pad
from object_detection_ext.models.normalization import TO_MINUS_ONE_TO_ONE, PixelScaling


class FeatureExtractor(Protocol):
    """Adds everything between image and heads to a functional graph, and says what the image must look like."""

    @property
    def min_image_size(self) -> int:
        """The least height and width it takes."""
        ...

    @property
    def normalize(self) -> PixelScaling:
        """From pixels in [0, 255] to the values that `__call__` takes."""
        ...

    def __call__(self, image: KerasTensor) -> Sequence[KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, C] float32, as `normalize` gives it; H and W static.

        Returns:
            The feature maps, finest first, [B, h, w, c] each.
        """
        ...


@dataclass(frozen=True)
class PyramidFeatureExtractor:
    """A backbone and the feature maps that are made of its end points.

    Attributes:
        backbone: adds its layers to the image, [B, H, W, C] float32, and returns its end points by name.
        feature_maps: from end points to the feature maps, finest first.
        pad_to_multiple: the image is padded with zeros, at the bottom and right, to multiples of this.
        normalize: from pixels to the backbone's input.
        min_image_size: the least height and width. 33 is the API's limit for its MobileNets.
    """

    backbone: Callable[[KerasTensor], Mapping[str, KerasTensor]]
    feature_maps: Callable[[Mapping[str, KerasTensor]], Sequence[KerasTensor]]
    pad_to_multiple: int = 1
    normalize: PixelScaling = TO_MINUS_ONE_TO_ONE
    min_image_size: int = 33

    def __post_init__(self) -> None:
        if self.pad_to_multiple < 1:
            raise ValueError(f"pad_to_multiple must be >= 1, got {self.pad_to_multiple}")

    def __call__(self, image: KerasTensor) -> Sequence[KerasTensor]:
        return self.feature_maps(self.backbone(zero_pad(image, self.pad_to_multiple)))
