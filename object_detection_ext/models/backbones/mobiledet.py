"""MobileDet: backbones searched for detection, one for each kind of processor (Xiong et al. 2020, https://arxiv.org/abs/2004.14525)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import tf_keras

from object_detection_ext.models.activations import ActivationName, activate
from object_detection_ext.models.backbones.mobiledet_architectures import (
    CPU,
    DEPTH_DIVISOR,
    Architecture,
    Block,
    FusedConv,
    InvertedBottleneck,
    TuckerConv,
)
from object_detection_ext.models.initializers import TruncatedNormal, VarianceScaling
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, KerasTensor, Regularizer, conv2d, depthwise_conv2d
from object_detection_ext.models.squeeze_excite import squeeze_excite

SQUEEZE_RATIO = 0.25

# What the API builds every MobileDet with; kernels start as in He et al. 2015.
MOBILEDET_DEFAULTS = ConvHyperparams(
    initializer=VarianceScaling(2.0, "fan_in", "truncated_normal"),
    regularizer=Regularizer("l2", 0.00004),
    batch_norm=BatchNorm(decay=0.99, epsilon=0.01, scale=True),
)
# A normal distribution cut at two standard deviations has this standard deviation.
_CUT_STDDEV = 0.87962566103423978


@dataclass(frozen=True)
class MobileDet:
    """Adds a MobileDet backbone to a functional graph.

    Layers have the TF 1 scopes of the API: `MobileDetCPU/IBN_3/SqueezeExcite/Conv_1`.

    Attributes:
        depth_multiplier: scales the number of channels, rounded to a multiple of 8.
        hyperparams: of all convolutions, activation and the initialiser of depthwise kernels aside.
    """

    architecture: Architecture = CPU
    depth_multiplier: float = 1.0
    hyperparams: ConvHyperparams = MOBILEDET_DEFAULTS

    def __post_init__(self) -> None:
        if self.depth_multiplier <= 0:
            raise ValueError(f"depth_multiplier must be > 0, got {self.depth_multiplier:g}")

    def __call__(self, image: KerasTensor) -> dict[str, KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, 3] float32 in [-1, 1], H and W static.

        Returns:
            The outputs of the five stages, `C1` to `C5`, with strides 2 to 32: [B, h, w, channels].
        """
        scope, stem_depth, stages, activation, _ = self.architecture
        features = self._convolved(image, self._depth(stem_depth), 3, stride=2, activation=activation, name=f"{scope}/Conv")
        endpoints, counts = {}, {}
        for stage, blocks in enumerate(stages, 1):
            for block in blocks:
                count = counts.get(block.scope, 0)
                counts[block.scope] = count + 1
                features = self._block(features, block, name=f"{scope}/{block.scope}_{count}" if count else f"{scope}/{block.scope}")
            endpoints[f"C{stage}"] = features
        return endpoints

    def _block(self, features: KerasTensor, block: Block, *, name: str) -> KerasTensor:
        shortcut = features
        match block:
            case InvertedBottleneck():
                features = self._inverted_bottleneck(features, block, name=name)
            case FusedConv():
                features = self._fused_conv(features, block, name=name)
            case TuckerConv():
                features = self._tucker_conv(features, block, name=name)
        return tf_keras.layers.Add(name=f"{name}/add")([features, shortcut]) if block.residual else features

    def _inverted_bottleneck(self, features: KerasTensor, block: InvertedBottleneck, *, name: str) -> KerasTensor:
        """Expand, depthwise, squeeze and excite, project."""
        activation, project = self.architecture.activation, f"{name}/Conv"
        if block.expansion > 1:
            depth, project = features.shape[-1] * block.expansion, f"{name}/Conv_1"
            features = self._convolved(features, depth, 1, activation=activation, name=f"{name}/Conv")
        features = self._depthwise(features, block.kernel_size, stride=block.stride, name=f"{name}/SeparableConv2d")
        if self.architecture.squeeze_excite:
            features = squeeze_excite(
                features,
                scaled_depth(features.shape[-1], SQUEEZE_RATIO),
                hyperparams=self.hyperparams,
                inner=activation,
                gate="sigmoid",
                name=f"{name}/SqueezeExcite",
            )
        return self._convolved(features, self._depth(block.depth), 1, name=project)

    def _fused_conv(self, features: KerasTensor, block: FusedConv, *, name: str) -> KerasTensor:
        """A full convolution for expansion and depthwise convolution, then project."""
        depth, activation = features.shape[-1] * block.expansion, self.architecture.activation
        features = self._convolved(features, depth, block.kernel_size, stride=block.stride, activation=activation, name=f"{name}/Conv")
        return self._convolved(features, self._depth(block.depth), 1, name=f"{name}/Conv_1")

    def _tucker_conv(self, features: KerasTensor, block: TuckerConv, *, name: str) -> KerasTensor:
        """Squeeze to a low rank, convolve to another, project: a Tucker decomposition of a full convolution."""
        depth, activation = self._depth(block.depth), self.architecture.activation
        input_rank, output_rank = scaled_depth(features.shape[-1], block.input_rank), scaled_depth(depth, block.output_rank)
        features = self._convolved(features, input_rank, 1, activation=activation, name=f"{name}/Conv")
        features = self._convolved(features, output_rank, 3, activation=activation, name=f"{name}/Conv_1")
        return self._convolved(features, depth, 1, name=f"{name}/Conv_2")

    def _convolved(
        self, features: KerasTensor, depth: int, kernel_size: int, *, name: str, stride: int = 1, activation: ActivationName | None = None
    ) -> KerasTensor:
        features = conv2d(features, depth, kernel_size, stride=stride, hyperparams=self.hyperparams, use_bias=False, name=name)
        return self._activated(features, activation, name=name)

    def _depthwise(self, features: KerasTensor, kernel_size: int, *, stride: int, name: str) -> KerasTensor:
        # He et al. count the inputs of one output: kernel_size^2 here, since a depthwise kernel sees one channel.
        initializer = TruncatedNormal(stddev=math.sqrt(2 / kernel_size**2) / _CUT_STDDEV)
        hyperparams = replace(self.hyperparams, initializer=initializer)
        features = depthwise_conv2d(
            features, kernel_size, stride=stride, hyperparams=hyperparams, use_bias=False, in_backbone=True, name=name
        )
        return self._activated(features, self.architecture.activation, name=name)

    def _activated(self, features: KerasTensor, activation: ActivationName | None, *, name: str) -> KerasTensor:
        features = self.hyperparams.normalize(features, name=f"{name}/BatchNorm")
        return activate(features, activation, name=f"{name}/{activation}") if activation else features

    def _depth(self, depth: int) -> int:
        return scaled_depth(depth, self.depth_multiplier)


def scaled_depth(depth: int, factor: float) -> int:
    """The multiple of 8 nearest to `depth * factor`, at least 8."""
    return max(int(depth * factor / DEPTH_DIVISOR + 0.5) * DEPTH_DIVISOR, DEPTH_DIVISOR)
