"""MobileNet V1: depthwise separable convolutions (Howard et al. 2017, https://arxiv.org/abs/1704.04861)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from object_detection_ext.models.backbones.strides import Stride, Strides, check_output_stride
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d


class Block(NamedTuple):
    """A depthwise 3x3 and a 1x1 convolution: two rows of the paper's table 1."""

    depth: int
    stride: int


STEM_DEPTH = 32
BLOCKS = (
    Block(64, 1),
    Block(128, 2),
    Block(128, 1),
    Block(256, 2),
    Block(256, 1),
    Block(512, 2),
    *(Block(512, 1) for _ in range(5)),
    Block(1024, 2),
    Block(1024, 1),
)


@dataclass(frozen=True)
class MobileNetV1:
    """Adds a MobileNet V1 without its classifier to a functional graph.

    Layers have the names that Keras applications and the API's TF 2 checkpoints use (`conv_dw_13`, `conv_pw_13_bn`); the result has
    the names that slim gives to the end points (`Conv2d_13_pointwise`).

    Attributes:
        depth_multiplier: scales the number of channels, rounded down.
        multiply_twice: scale by `depth_multiplier`, round, and scale again. The API's TF 2 networks do, since both Keras applications and
            the API multiply: at 0.25 they have a sixteenth of the channels. The paper, slim, Keras applications and TF 1 scale once.
        min_depth: the least number of channels.
        output_stride: where the product of strides reaches it, later strides become dilations (1 or an even number; one that is never
            reached changes nothing). None for the network's own 32.
        use_explicit_padding: pad by kernel size alone, not by input size.
        last_depths: other numbers of channels than the paper's for as many of the last blocks; scaled once.
        hyperparams: of all convolutions.
    """

    depth_multiplier: float = 1.0
    multiply_twice: bool = True
    min_depth: int = 8
    output_stride: int | None = None
    use_explicit_padding: bool = False
    last_depths: tuple[int, ...] = ()
    hyperparams: ConvHyperparams = BACKBONE_DEFAULTS

    def __post_init__(self) -> None:
        if self.depth_multiplier <= 0:
            raise ValueError(f"depth_multiplier must be > 0, got {self.depth_multiplier:g}")
        if self.min_depth < 0:
            raise ValueError(f"min_depth must be >= 0, got {self.min_depth}")
        check_output_stride(self.output_stride)
        if self._depth(STEM_DEPTH) == 0:
            raise ValueError(
                f"min_depth must be >= 1, as depth_multiplier {self.depth_multiplier:g} leaves no channels, got {self.min_depth}"
            )

    def __call__(self, image: KerasTensor) -> dict[str, KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, 3] float32 in [-1, 1], H and W static.

        Returns:
            slim's end points by name, after activation: `Conv2d_0`, then `Conv2d_<n>_depthwise` and `Conv2d_<n>_pointwise` of the
            blocks 1 to 13. All [B, h, w, channels].
        """
        strides = Strides(self.output_stride)
        features = self._conv(image, self._depth(STEM_DEPTH), 3, strides.take(2), name="conv1")
        endpoints = {"Conv2d_0": features}
        for number, (depth, stride) in enumerate(zip(self._depths(), (block.stride for block in BLOCKS), strict=True), start=1):
            features = self._depthwise(features, strides.take(stride), name=f"conv_dw_{number}")
            endpoints[f"Conv2d_{number}_depthwise"] = features
            features = self._conv(features, depth, 1, Stride(1, 1), name=f"conv_pw_{number}")
            endpoints[f"Conv2d_{number}_pointwise"] = features
        return endpoints

    def _conv(self, features: KerasTensor, filters: int, kernel_size: int, stride: Stride, *, name: str) -> KerasTensor:
        features = conv2d(
            features,
            filters,
            kernel_size,
            stride=stride.stride,
            dilation=stride.dilation,
            hyperparams=self.hyperparams,
            use_bias=False,
            use_explicit_padding=self.use_explicit_padding,
            name=name,
        )
        return self._activated(features, name)

    def _depthwise(self, features: KerasTensor, stride: Stride, *, name: str) -> KerasTensor:
        features = depthwise_conv2d(
            features,
            3,
            stride=stride.stride,
            dilation=stride.dilation,
            hyperparams=self.hyperparams,
            use_bias=False,
            in_backbone=True,
            use_explicit_padding=self.use_explicit_padding,
            name=name,
        )
        return self._activated(features, name)

    def _activated(self, features: KerasTensor, name: str) -> KerasTensor:
        return self.hyperparams.activate(self.hyperparams.normalize(features, name=f"{name}_bn"), name=f"{name}_relu")

    def _depths(self) -> list[int]:
        """Channels of the blocks."""
        others = [self._scaled(depth) for depth in self.last_depths]
        return [self._depth(block.depth) for block in BLOCKS[: len(BLOCKS) - len(others)]] + others

    def _depth(self, depth: int) -> int:
        return self._scaled(int(depth * self.depth_multiplier) if self.multiply_twice else depth)

    def _scaled(self, depth: int) -> int:
        return max(int(depth * self.depth_multiplier), self.min_depth)
