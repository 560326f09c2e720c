"""The size in pixels that an image has as the network's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

InputSize = Callable[[int, int], tuple[float, float]]  # height, width of the stored image -> height, width of its part of the input


@dataclass(frozen=True)
class FixedInputSize:
    """Every image is stretched to one size."""

    height: int
    width: int

    def __call__(self, height: int, width: int) -> tuple[float, float]:
        return float(self.height), float(self.width)


@dataclass(frozen=True)
class KeptAspectRatioInputSize:
    """The shorter side becomes `min_side` pixels unless the longer would exceed `max_side`."""

    min_side: int
    max_side: int

    def __call__(self, height: int, width: int) -> tuple[float, float]:
        shorter, longer = min(height, width), max(height, width)
        scale = min(self.min_side / max(shorter, 1), self.max_side / max(longer, 1))
        return height * scale, width * scale


def stored_size(height: int, width: int) -> tuple[float, float]:
    """The input size where no config says another: the stored image's."""
    return float(height), float(width)
