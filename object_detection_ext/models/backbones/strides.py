"""Strides under an output stride: once their product reaches it, later ones become dilations (Chen et al. 2017, section 3.1)."""

from __future__ import annotations

from typing import NamedTuple


class Stride(NamedTuple):
    """What a layer's nominal stride became under an output stride."""

    stride: int
    dilation: int


class Strides:
    """Hands out strides until their product is the output stride, dilations from then on."""

    def __init__(self, output_stride: int | None) -> None:
        self._output_stride = output_stride
        self._product = 1
        self._dilation = 1

    def take(self, stride: int) -> Stride:
        """What the next layer's nominal stride becomes."""
        if self._product == self._output_stride:
            dilation = self._dilation
            self._dilation *= stride
            return Stride(1, dilation)
        self._product *= stride
        return Stride(stride, 1)


def check_output_stride(output_stride: int | None) -> None:
    """Raises `ValueError` unless slim's rule allows it: 1 or an even number."""
    if output_stride is not None and (output_stride < 1 or (output_stride > 1 and output_stride % 2)):
        raise ValueError(f"output_stride must be 1 or an even number, got {output_stride}")
