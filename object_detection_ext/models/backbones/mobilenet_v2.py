"""MobileNetV2: inverted residuals and linear bottlenecks (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tf_keras

from object_detection_ext.models.backbones.strides import Stride, Strides, check_output_stride
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d


class Stage(NamedTuple):
    """One row of the paper's table 2."""

    expansion: int
    depth: int
    num_blocks: int
    stride: int  # of the first block


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
STEM_DEPTH = 32
HEAD_DEPTH = 1280
DEPTH_DIVISOR = 8


@dataclass(frozen=True)
class MobileNetV2:
    """Adds a MobileNetV2 without its classifier to a functional graph.

    Layers have the names that Keras applications and the API's TF 2 checkpoints use (`block_13_expand`); the result has the names
    that slim gives to the end points (`layer_15/expansion_output`).

    Attributes:
        depth_multiplier: scales the number of channels, rounded to a multiple of 8.
        min_depth: the least number of channels, expanded ones aside.
        output_stride: where the product of strides reaches it, later strides become dilations (slim's rule: 1 or an even number; one
            that is never reached changes nothing). None for the network's own 32.
        use_explicit_padding: pad by kernel size alone, not by input size.
        head_depth: channels of the last 1x1 convolution. None for the API's choice: 1280, scaled only by multipliers below 1
            (slim scales them above 1 too, Keras applications only above 1).
        hyperparams: of all convolutions.
    """

    depth_multiplier: float = 1.0
    min_depth: int = 8
    output_stride: int | None = None
    use_explicit_padding: bool = False
    head_depth: int | None = None
    hyperparams: ConvHyperparams = BACKBONE_DEFAULTS

    def __post_init__(self) -> None:
        if self.depth_multiplier <= 0:
            raise ValueError(f"depth_multiplier must be > 0, got {self.depth_multiplier:g}")
        if self.min_depth < 0:
            raise ValueError(f"min_depth must be >= 0, got {self.min_depth}")
        check_output_stride(self.output_stride)

    def __call__(self, image: KerasTensor) -> dict[str, KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, 3] float32 in [-1, 1], H and W static.

        Returns:
            slim's end points by name: `layer_1` to `layer_19`, and `layer_<n>/expansion_output`, `/depthwise_output`, `/output` of
            each block (layer 2, which does not expand, has no expansion_output). All [B, h, w, channels].
        """
        strides = Strides(self.output_stride)
        features = self._conv(image, self._depth(make_divisible(STEM_DEPTH * self.depth_multiplier)), 3, strides.take(2), name="Conv1")
        features = self._activated(features, norm="bn_Conv1", activation="Conv1_relu")
        endpoints = {"layer_1": features}
        block = 0
        for stage in STAGES:
            for index in range(stage.num_blocks):
                stride = strides.take(stage.stride if index == 0 else 1)
                features, taps = self._block(features, stage, stride, block=block)
                endpoints |= {f"layer_{block + 2}/{name}": tap for name, tap in taps.items()}
                endpoints[f"layer_{block + 2}"] = features
                block += 1
        features = self._conv(features, self._depth(self._head_depth()), 1, strides.take(1), name="Conv_1")
        endpoints["layer_19"] = self._activated(features, norm="Conv_1_bn", activation="out_relu")
        return endpoints

    def _block(self, features: KerasTensor, stage: Stage, stride: Stride, *, block: int) -> tuple[KerasTensor, dict[str, KerasTensor]]:
        """One inverted residual block: expand, depthwise, project, and the shortcut where shapes allow it."""
        prefix = f"block_{block}" if block else "expanded_conv"
        taps = {}
        shortcut, in_depth = features, features.shape[-1]
        if stage.expansion > 1:
            features = self._conv(features, stage.expansion * in_depth, 1, Stride(1, 1), name=f"{prefix}_expand")
            features = self._activated(features, norm=f"{prefix}_expand_BN", activation=f"{prefix}_expand_relu")
            taps["expansion_output"] = features
        features = depthwise_conv2d(
            features,
            3,
            stride=stride.stride,
            dilation=stride.dilation,
            hyperparams=self.hyperparams,
            use_bias=False,
            in_backbone=True,
            use_explicit_padding=self.use_explicit_padding,
            name=f"{prefix}_depthwise",
        )
        features = self._activated(features, norm=f"{prefix}_depthwise_BN", activation=f"{prefix}_depthwise_relu")
        taps["depthwise_output"] = features
        out_depth = make_divisible(int(stage.depth * self.depth_multiplier))
        features = self._conv(features, self._depth(out_depth), 1, Stride(1, 1), name=f"{prefix}_project")
        features = self.hyperparams.normalize(features, name=f"{prefix}_project_BN")
        # Compared before min_depth is applied, as the API does: at depth 0.35 and min_depth 16 block 2 has no shortcut.
        if stride.stride == 1 and in_depth == out_depth:
            features = tf_keras.layers.Add(name=f"{prefix}_add")([shortcut, features])
        taps["output"] = features
        return features, taps

    def _conv(self, features: KerasTensor, filters: int, kernel_size: int, stride: Stride, *, name: str) -> KerasTensor:
        return conv2d(
            features,
            filters,
            kernel_size,
            stride=stride.stride,
            dilation=stride.dilation if kernel_size > 1 else 1,
            hyperparams=self.hyperparams,
            use_bias=False,
            use_explicit_padding=self.use_explicit_padding,
            name=name,
        )

    def _activated(self, features: KerasTensor, *, norm: str, activation: str) -> KerasTensor:
        return self.hyperparams.activate(self.hyperparams.normalize(features, name=norm), name=activation)

    def _depth(self, depth: int) -> int:
        return max(depth, self.min_depth)

    def _head_depth(self) -> int:
        if self.head_depth is not None:
            return self.head_depth
        return make_divisible(HEAD_DEPTH * min(self.depth_multiplier, 1.0))


def make_divisible(depth: float, divisor: int = DEPTH_DIVISOR, *, minimum: int | None = None) -> int:
    """The multiple of `divisor` nearest to `depth`, at least `minimum` (None for `divisor`), and never more than a tenth below `depth`."""
    rounded = max(divisor if minimum is None else minimum, int(depth + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * depth else rounded
