"""MobileNetV3 for detection (Howard et al. 2019, https://arxiv.org/abs/1905.02244): inverted residuals found by search, some with
squeeze-and-excite and hard swish."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import tf_keras

from object_detection_ext.models.activations import ActivationName, activate
from object_detection_ext.models.backbones.mobilenet_v2 import make_divisible
from object_detection_ext.models.backbones.strides import Stride, Strides, check_output_stride
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d
from object_detection_ext.models.squeeze_excite import squeeze_excite

SQUEEZE_FACTOR = 4
_UNIT = Stride(1, 1)


class Block(NamedTuple):
    """An inverted residual block.

    Attributes:
        expansion: factor on the block's input channels; a block that would not get deeper by it has no expansion.
        depth: output channels.
        kernel_size: of the depthwise convolution, or of the fused one.
        activation: behind expansion and depthwise convolution.
        squeeze_excite: whether it stands in front of the projection.
        fused: a full convolution of this kernel size and stride does the work of expansion and depthwise convolution.
        residual: whether there is a shortcut where shapes allow it.
    """

    expansion: float
    depth: int
    kernel_size: int = 3
    stride: int = 1
    activation: ActivationName = "relu"
    squeeze_excite: bool = False
    fused: bool = False
    residual: bool = True


class Architecture(NamedTuple):
    """A 3x3 convolution with stride 2, the blocks, and a 1x1 convolution behind them if `head_depth` is set."""

    scope: str  # layers' names begin with it
    stem_depth: int
    blocks: tuple[Block, ...]
    activation: ActivationName  # of stem and head
    head_depth: int | None = None


# The paper's table 1, its last stage halved for detection (section 6.3).
LARGE = Architecture(
    "MobilenetV3",
    stem_depth=16,
    blocks=(
        Block(1, 16),
        Block(4, 24, stride=2),
        Block(3, 24),
        Block(3, 40, 5, stride=2, squeeze_excite=True),
        *[Block(3, 40, 5, squeeze_excite=True)] * 2,
        Block(6, 80, stride=2, activation="hard_swish"),
        Block(2.5, 80, activation="hard_swish"),
        *[Block(184 / 80, 80, activation="hard_swish")] * 2,
        *[Block(6, 112, activation="hard_swish", squeeze_excite=True)] * 2,
        Block(6, 80, 5, stride=2, activation="hard_swish", squeeze_excite=True),
        *[Block(6, 80, 5, activation="hard_swish", squeeze_excite=True)] * 2,
    ),
    activation="hard_swish",
    head_depth=480,
)

# The paper's table 2, its last stage halved for detection.
SMALL = Architecture(
    "MobilenetV3",
    stem_depth=16,
    blocks=(
        Block(1, 16, stride=2, squeeze_excite=True),
        Block(72 / 16, 24, stride=2),
        Block(88 / 24, 24),
        Block(4, 40, 5, stride=2, activation="hard_swish", squeeze_excite=True),
        *[Block(6, 40, 5, activation="hard_swish", squeeze_excite=True)] * 2,
        *[Block(3, 48, 5, activation="hard_swish", squeeze_excite=True)] * 2,
        Block(6, 48, 5, stride=2, activation="hard_swish", squeeze_excite=True),
        *[Block(6, 48, 5, activation="hard_swish", squeeze_excite=True)] * 2,
    ),
    activation="hard_swish",
    head_depth=288,
)


@dataclass(frozen=True)
class MobileNetV3:
    """Adds a MobileNetV3, or a network of the same blocks, to a functional graph.

    Layers have the TF 1 scopes of slim (`MobilenetV3/expanded_conv_3/squeeze_excite/Conv`), which the API uses too.

    Attributes:
        depth_multiplier: scales the number of channels, rounded to a multiple of 8.
        min_depth: the least number of channels, expanded and squeezed ones aside.
        output_stride: where the product of strides reaches it, later strides become dilations. None for the network's own 32.
        use_explicit_padding: pad by kernel size alone. As in slim each block pads its input and then still convolves with "SAME"
            padding, so that feature maps grow by up to kernel size - 1 in every block.
        hyperparams: of all convolutions, the activation aside. Depthwise kernels are regularised only with `regularize_depthwise`.
    """

    architecture: Architecture = LARGE
    depth_multiplier: float = 1.0
    min_depth: int = 8
    output_stride: int | None = None
    use_explicit_padding: bool = False
    hyperparams: ConvHyperparams = BACKBONE_DEFAULTS

    def __post_init__(self) -> None:
        if self.depth_multiplier <= 0:
            raise ValueError(f"depth_multiplier must be > 0, got {self.depth_multiplier:g}")
        if self.min_depth < 0:
            raise ValueError(f"min_depth must be >= 0, got {self.min_depth}")
        check_output_stride(self.output_stride)
        if any(block.fused for block in self.architecture.blocks):
            self._check_fused()

    def __call__(self, image: KerasTensor) -> dict[str, KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, 3] float32 in [-1, 1], H and W static.

        Returns:
            slim's end points by name: `layer_1` for the stem, `layer_2` on for the blocks, the head last, and
            `layer_<n>/expansion_output` of each block that expands. All [B, h, w, channels].
        """
        scope, stem_depth, blocks, activation, head_depth = self.architecture
        strides = Strides(self.output_stride)
        stride = strides.take(2)
        features = self._convolved(image, self._depth(stem_depth), 3, stride=stride, activation=activation, name=f"{scope}/Conv")
        endpoints = {"layer_1": features}
        for index, block in enumerate(blocks):
            prefix = f"{scope}/expanded_conv_{index}" if index else f"{scope}/expanded_conv"
            features, expanded = self._block(features, block, strides.take(block.stride), prefix=prefix)
            if expanded is not None:
                endpoints[f"layer_{index + 2}/expansion_output"] = expanded
            endpoints[f"layer_{index + 2}"] = features
        if head_depth is not None:
            features = self._convolved(features, self._depth(head_depth), 1, activation=activation, name=f"{scope}/Conv_1")
            endpoints[f"layer_{len(blocks) + 2}"] = features
        return endpoints

    def _check_fused(self) -> None:
        scope = self.architecture.scope
        if self.use_explicit_padding:
            raise ValueError(
                f"use_explicit_padding must be false for {scope}, got true: its fused convolutions would not fit their shortcuts"
            )
        if self.output_stride is not None:
            raise ValueError(f"output_stride must not be set for {scope}, got {self.output_stride}: its fused convolutions do not dilate")

    def _block(self, features: KerasTensor, block: Block, stride: Stride, *, prefix: str) -> tuple[KerasTensor, KerasTensor | None]:
        """Expand, depthwise, squeeze and excite, project, and the shortcut; also returns the expansion, if there is one."""
        margin = block.kernel_size // 2 * stride.dilation
        if self.use_explicit_padding and margin:
            features = tf_keras.layers.ZeroPadding2D(margin, name=f"{prefix}/pad")(features)
        shortcut, expanded = features, None
        expanded_depth = make_divisible(features.shape[-1] * block.expansion)
        if expanded_depth > features.shape[-1]:
            kernel_size, expand_stride = (block.kernel_size, stride) if block.fused else (1, _UNIT)
            features = expanded = self._convolved(
                features, expanded_depth, kernel_size, stride=expand_stride, activation=block.activation, name=f"{prefix}/expand"
            )
        if not block.fused:
            features = self._depthwise(features, block, stride, name=f"{prefix}/depthwise")
        if block.squeeze_excite:
            features = squeeze_excite(
                features,
                make_divisible(features.shape[-1] / SQUEEZE_FACTOR),
                hyperparams=self.hyperparams,
                inner="relu",
                gate="slim_hard_sigmoid",
                name=f"{prefix}/squeeze_excite",
            )
        features = self._convolved(features, self._depth(block.depth), 1, name=f"{prefix}/project")
        if block.residual and stride.stride == 1 and features.shape[-1] == shortcut.shape[-1]:
            features = tf_keras.layers.Add(name=f"{prefix}/add")([features, shortcut])
        return features, expanded

    def _convolved(
        self,
        features: KerasTensor,
        depth: int,
        kernel_size: int,
        *,
        name: str,
        stride: Stride = _UNIT,
        activation: ActivationName | None = None,
    ) -> KerasTensor:
        features = conv2d(
            features,
            depth,
            kernel_size,
            stride=stride.stride,
            dilation=stride.dilation,
            hyperparams=self.hyperparams,
            use_bias=False,
            use_explicit_padding=self.use_explicit_padding,
            name=name,
        )
        return self._activated(features, activation, name=name)

    def _depthwise(self, features: KerasTensor, block: Block, stride: Stride, *, name: str) -> KerasTensor:
        features = depthwise_conv2d(
            features,
            block.kernel_size,
            stride=stride.stride,
            dilation=stride.dilation,
            hyperparams=self.hyperparams if self.hyperparams.regularize_depthwise else replace(self.hyperparams, regularizer=None),
            use_bias=False,
            in_backbone=True,
            name=name,
        )
        return self._activated(features, block.activation, name=name)

    def _activated(self, features: KerasTensor, activation: ActivationName | None, *, name: str) -> KerasTensor:
        features = self.hyperparams.normalize(features, name=f"{name}/BatchNorm")
        return activate(features, activation, name=f"{name}/{activation}") if activation else features

    def _depth(self, depth: int) -> int:
        return make_divisible(depth * self.depth_multiplier, minimum=self.min_depth)
