"""EfficientNet-B0 to B7: inverted residuals with squeeze-and-excitation, scaled in depth and width.

Tan and Le 2019, https://arxiv.org/abs/1905.11946; squeeze-and-excitation: Hu et al. 2018; stochastic depth: Huang et al. 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import tf_keras

from object_detection_ext.models.backbones.mobilenet_v2 import make_divisible
from object_detection_ext.models.initializers import VarianceScaling
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, KerasTensor, Regularizer, conv2d, depthwise_conv2d


class Stack(NamedTuple):
    """One row of the paper's table 1."""

    expansion: int
    depth: int
    kernel_size: int
    num_blocks: int
    stride: int  # of the first block


STACKS = (
    Stack(1, 16, 3, 1, 1),
    Stack(6, 24, 3, 2, 2),
    Stack(6, 40, 5, 2, 2),
    Stack(6, 80, 3, 3, 2),
    Stack(6, 112, 5, 3, 1),
    Stack(6, 192, 5, 4, 2),
    Stack(6, 320, 3, 1, 1),
)
STEM_DEPTH = 32
SQUEEZE_RATIO = 0.25  # of a block's input depth
LAST_DROP_RATE = 0.2  # stochastic depth: what the rate would be behind the last block; it grows linearly from 0


class Scaling(NamedTuple):
    """What a variant multiplies."""

    width: float  # channels
    depth: float  # blocks per stack


VARIANTS = (
    Scaling(1.0, 1.0),
    Scaling(1.0, 1.1),
    Scaling(1.1, 1.2),
    Scaling(1.2, 1.4),
    Scaling(1.4, 1.8),
    Scaling(1.6, 2.2),
    Scaling(1.8, 2.6),
    Scaling(2.0, 3.1),
)

# What Model Garden builds it with. Depthwise kernels are not regularised, the biases of squeeze-and-excitation are.
EFFICIENTNET_DEFAULTS = ConvHyperparams(
    initializer=VarianceScaling(2.0, "fan_out"),
    regularizer=Regularizer("l2", 0.00001),
    activation="swish",
    batch_norm=BatchNorm(decay=0.99, epsilon=0.001, scale=True),
)


@dataclass(frozen=True)
class EfficientNet:
    """Adds an EfficientNet without its classifier and the convolution before it to a functional graph.

    Layers have the names that Model Garden gives them (`stack_1/block_0/expand_conv2d`).

    Attributes:
        variant: 0 to 7, for B0 to B7.
        last_block: nothing is added behind it; None for all.
        hyperparams: of all convolutions.
    """

    variant: int = 0
    last_block: str | None = None
    hyperparams: ConvHyperparams = EFFICIENTNET_DEFAULTS

    def __post_init__(self) -> None:
        if not 0 <= self.variant < len(VARIANTS):
            raise ValueError(f"variant must be between 0 and {len(VARIANTS) - 1}, got {self.variant}")
        if self.last_block is not None and self.last_block not in self.blocks:
            raise ValueError(f"last_block must be one of {', '.join(self.blocks)}, got {self.last_block!r}")

    @property
    def blocks(self) -> dict[str, Stack]:
        """The name of every block of the whole network, in order, and its stack."""
        depth = VARIANTS[self.variant].depth
        return {
            f"stack_{index}/block_{block}": stack
            for index, stack in enumerate(STACKS)
            for block in range(math.ceil(stack.num_blocks * depth))
        }

    def __call__(self, image: KerasTensor) -> dict[str, KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, 3] float32, normalised by ImageNet's mean and deviation, H and W static.

        Returns:
            The output of every block by name, from `stack_0/block_0` on: [B, h, w, channels].
        """
        features = conv2d(image, self._depth(STEM_DEPTH), 3, stride=2, hyperparams=self.hyperparams, use_bias=False, name="stem_conv2d")
        features = self._activated(features, name="stem")
        endpoints: dict[str, KerasTensor] = {}
        for name, stack in self.blocks.items():
            stride = stack.stride if name.endswith("/block_0") else 1
            drop_rate = LAST_DROP_RATE * len(endpoints) / len(self.blocks)
            endpoints[name] = features = self._block(features, stack, stride, drop_rate=drop_rate, name=name)
            if name == self.last_block:
                break
        return endpoints

    def _block(self, features: KerasTensor, stack: Stack, stride: int, *, drop_rate: float, name: str) -> KerasTensor:
        """Expand, depthwise, squeeze and excite, project; and the shortcut where shapes allow it."""
        shortcut, in_depth, out_depth = features, features.shape[-1], self._depth(stack.depth)
        if stack.expansion > 1:
            depth = stack.expansion * in_depth
            features = conv2d(features, depth, 1, hyperparams=self.hyperparams, use_bias=False, name=f"{name}/expand_conv2d")
            features = self._activated(features, name=f"{name}/expand")
        features = depthwise_conv2d(
            features,
            stack.kernel_size,
            stride=stride,
            hyperparams=replace(self.hyperparams, regularizer=None),
            use_bias=False,
            in_backbone=True,
            name=f"{name}/depthwise_conv2d",
        )
        features = self._activated(features, name=f"{name}/depthwise")
        features = self._squeeze_and_excite(features, max(1, int(in_depth * SQUEEZE_RATIO)), name=name)
        features = conv2d(features, out_depth, 1, hyperparams=self.hyperparams, use_bias=False, name=f"{name}/project_conv2d")
        features = self.hyperparams.normalize(features, name=f"{name}/project_bn")
        if stride > 1 or in_depth != out_depth:
            return features
        if drop_rate > 0:  # drops the block of a whole image in training
            features = tf_keras.layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}/drop")(features)
        return tf_keras.layers.Add(name=f"{name}/add")([features, shortcut])

    def _squeeze_and_excite(self, features: KerasTensor, squeezed: int, *, name: str) -> KerasTensor:
        """Scales each channel by a number in (0, 1), made of the means of all channels."""
        depth = features.shape[-1]
        gate = tf_keras.layers.GlobalAveragePooling2D(name=f"{name}/se_squeeze")(features)
        gate = tf_keras.layers.Reshape((1, 1, depth), name=f"{name}/se_reshape")(gate)
        gate = self._conv_with_bias(gate, squeezed, name=f"{name}/se_reduce_conv2d")
        gate = self.hyperparams.activate(gate, name=f"{name}/se_reduce_activation")
        gate = self._conv_with_bias(gate, depth, name=f"{name}/se_expand_conv2d")
        gate = tf_keras.layers.Activation("sigmoid", name=f"{name}/se_expand_activation")(gate)
        return tf_keras.layers.Multiply(name=f"{name}/se_excite")([features, gate])

    def _conv_with_bias(self, features: KerasTensor, depth: int, *, name: str) -> KerasTensor:
        return tf_keras.layers.Conv2D(
            depth,
            1,
            kernel_initializer=self.hyperparams.new_initializer(),
            kernel_regularizer=self.hyperparams.new_regularizer(),
            bias_regularizer=self.hyperparams.new_regularizer(),
            name=name,
        )(features)

    def _activated(self, features: KerasTensor, *, name: str) -> KerasTensor:
        return self.hyperparams.activate(self.hyperparams.normalize(features, name=f"{name}_bn"), name=f"{name}_activation")

    def _depth(self, depth: int) -> int:
        return make_divisible(depth * VARIANTS[self.variant].width)
