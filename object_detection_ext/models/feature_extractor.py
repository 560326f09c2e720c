"""What a detector needs of a feature extractor, and MobileNetV2 as the API uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2
from object_detection_ext.models.feature_maps import SsdFeatureMaps
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
class SsdMobileNetV2:
    """MobileNetV2 and extra layers; images are scaled to [-1, 1].

    Attributes:
        pad_to_multiple: the image is padded with zeros, at the bottom and right, to multiples of this.
    """

    backbone: MobileNetV2
    feature_maps: SsdFeatureMaps
    pad_to_multiple: int = 1

    def __post_init__(self) -> None:
        if self.pad_to_multiple < 1:
            raise ValueError(f"pad_to_multiple must be >= 1, got {self.pad_to_multiple}")

    @property
    def min_image_size(self) -> int:
        return 33  # the API's limit

    @property
    def normalize(self) -> PixelScaling:
        return TO_MINUS_ONE_TO_ONE

    def __call__(self, image: KerasTensor) -> tuple[KerasTensor, ...]:
        return self.feature_maps(self.backbone(zero_pad(image, self.pad_to_multiple)))
