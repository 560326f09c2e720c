"""ResNet V1: stacks of bottleneck blocks (He et al. 2015, https://arxiv.org/abs/1512.03385, table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tf_keras

from object_detection_ext.models.initializers import VarianceScaling
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, KerasTensor, Regularizer, conv2d

NumLayers = Literal[50, 101, 152]

# Bottleneck blocks per stack, by the number of layers: columns of table 1.
NUM_BLOCKS: dict[NumLayers, tuple[int, int, int, int]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM_DEPTH = 64
EXPANSION = 4  # of a block's inner depth to its output

# What the API builds a ResNet with when the config does not override it.
RESNET_DEFAULTS = ConvHyperparams(
    initializer=VarianceScaling(1.0, "fan_in"),
    regularizer=Regularizer("l2", 0.0002),
    activation="relu",
    batch_norm=BatchNorm(decay=0.997, epsilon=1e-5, scale=True),
)


@dataclass(frozen=True)
class ResNetV1:
    """Adds a ResNet V1 without its classifier to a functional graph.

    Layers have the names of Keras applications (`conv2_block1_1_conv`). As there and in the paper, the first 1x1 convolution of a stack
    carries its stride. Unlike there, no convolution has a bias, and only strided ones pad by kernel size alone (slim's rules).

    Attributes:
        num_layers: with weights, counted as the paper does.
        depth_multiplier: scales the depth of every convolution, rounded down.
        min_depth: the least depth.
        hyperparams: of all convolutions.
    """

    num_layers: NumLayers = 50
    depth_multiplier: float = 1.0
    min_depth: int = 8
    hyperparams: ConvHyperparams = RESNET_DEFAULTS

    def __post_init__(self) -> None:
        if self.num_layers not in NUM_BLOCKS:
            raise ValueError(f"num_layers must be one of {', '.join(map(str, NUM_BLOCKS))}, got {self.num_layers}")
        if self.depth_multiplier <= 0:
            raise ValueError(f"depth_multiplier must be > 0, got {self.depth_multiplier:g}")
        if self.min_depth < 0:
            raise ValueError(f"min_depth must be >= 0, got {self.min_depth}")

    def __call__(self, image: KerasTensor) -> dict[str, KerasTensor]:
        """Adds the layers.

        Args:
            image: [B, H, W, 3] float32, channel means subtracted, H and W static.

        Returns:
            The outputs of the four stacks, `block1` to `block4` as slim calls them, with strides 4 to 32: [B, h, w, channels].
        """
        features = self._conv(image, STEM_DEPTH, 7, name="conv1", stride=2)
        features = self.hyperparams.activate(features, name="conv1_relu")
        features = tf_keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1_pool")(features)
        endpoints = {}
        for stack, num_blocks in enumerate(NUM_BLOCKS[self.num_layers], start=1):
            depth = STEM_DEPTH << (stack - 1)
            for block in range(1, num_blocks + 1):
                stride = 2 if stack > 1 and block == 1 else 1
                features = self._block(features, depth, stride, is_first=block == 1, name=f"conv{stack + 1}_block{block}")
            endpoints[f"block{stack}"] = features
        return endpoints

    def _block(self, features: KerasTensor, depth: int, stride: int, *, is_first: bool, name: str) -> KerasTensor:
        """1x1, 3x3 and 1x1 convolutions beside a shortcut, which is a 1x1 convolution where the stack begins."""
        shortcut = features
        if is_first:
            shortcut = self._conv(features, EXPANSION * depth, 1, name=f"{name}_0", stride=stride)
        features = self._conv(features, depth, 1, name=f"{name}_1", stride=stride)
        features = self.hyperparams.activate(features, name=f"{name}_1_relu")
        features = self._conv(features, depth, 3, name=f"{name}_2")
        features = self.hyperparams.activate(features, name=f"{name}_2_relu")
        features = self._conv(features, EXPANSION * depth, 1, name=f"{name}_3")
        features = tf_keras.layers.Add(name=f"{name}_add")([shortcut, features])
        return self.hyperparams.activate(features, name=f"{name}_out")

    def _conv(self, features: KerasTensor, depth: int, kernel_size: int, *, name: str, stride: int = 1) -> KerasTensor:
        features = conv2d(
            features,
            max(int(depth * self.depth_multiplier), self.min_depth),
            kernel_size,
            stride=stride,
            hyperparams=self.hyperparams,
            use_bias=False,
            use_explicit_padding=stride > 1,
            name=f"{name}_conv",
        )
        return self.hyperparams.normalize(features, name=f"{name}_bn")
