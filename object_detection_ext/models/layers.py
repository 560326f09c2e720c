"""Convolution, normalisation and activation as the settings of a config describe them.

Nothing here is a layer: the functions add plain `tf_keras` layers to a functional graph. Only layer types that quantisation-aware
training accepts are used, and batch normalisation stays 4-D so that TensorFlow's fused kernel runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import tf_keras

from object_detection_ext.models.activations import activate
from object_detection_ext.models.initializers import GLOROT_UNIFORM, Initializer, TruncatedNormal

# A symbolic tensor of a functional graph. tf_keras is not typed; the alias says what is meant.
KerasTensor = Any

Activation = Literal["none", "relu", "relu6", "swish"]


@dataclass(frozen=True)
class Regularizer:
    """L2 adds `weight * 0.5 * sum(w^2)` to the loss, L1 `weight * sum(|w|)`: the API's and slim's conventions."""

    norm: Literal["l1", "l2"]
    weight: float

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must be >= 0, got {self.weight}")

    def __call__(self) -> tf_keras.regularizers.Regularizer:
        if self.norm == "l1":
            return tf_keras.regularizers.L1(self.weight)
        return tf_keras.regularizers.L2(0.5 * self.weight)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation (Ioffe and Szegedy 2015).

    Attributes:
        decay: share of the old moving statistics that each update keeps.
        epsilon: added to the variance.
        center: whether there is a beta.
        scale: whether there is a gamma.
        frozen: normalise with the moving statistics in training too and never update them; gamma and beta still train.
        synchronized: take the statistics over all replicas. Without the fused kernel, therefore slower.
    """

    decay: float = 0.999
    epsilon: float = 0.001
    center: bool = True
    scale: bool = False
    frozen: bool = False
    synchronized: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {self.decay}")
        if self.epsilon <= 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon}")

    def __call__(self, features: KerasTensor, *, name: str) -> KerasTensor:
        """Adds the layer. features: [B, H, W, C] float32."""
        synchronized = {"synchronized": True} if self.synchronized else {}
        layer = tf_keras.layers.BatchNormalization(
            momentum=self.decay, epsilon=self.epsilon, center=self.center, scale=self.scale, name=name, **synchronized
        )
        return layer(features, training=False) if self.frozen else layer(features)


@dataclass(frozen=True)
class ConvHyperparams:
    """How the convolutions of one part of the network are built.

    Attributes:
        initializer: of the kernels; None means Glorot uniform.
        regularizer: of the kernels.
        activation: after each normalised convolution.
        batch_norm: None for none.
        force_use_bias: give convolutions a bias even where batch norm has its own (beta).
        regularize_depthwise: regularise depthwise kernels too. The API's heads and extra feature layers do not.
    """

    initializer: Initializer | None = None
    regularizer: Regularizer | None = None
    activation: Activation = "relu"
    batch_norm: BatchNorm | None = None
    force_use_bias: bool = False
    regularize_depthwise: bool = False

    @property
    def use_bias(self) -> bool:
        """Whether a convolution before normalisation has a bias: yes, unless batch norm brings one."""
        return self.force_use_bias or self.batch_norm is None or not self.batch_norm.center

    def new_initializer(self) -> tf_keras.initializers.Initializer:
        return (self.initializer or GLOROT_UNIFORM)()

    def new_regularizer(self) -> tf_keras.regularizers.Regularizer | None:
        return self.regularizer() if self.regularizer else None

    def normalize(self, features: KerasTensor, *, name: str) -> KerasTensor:
        """Adds the normalisation layer, if there is one."""
        return self.batch_norm(features, name=name) if self.batch_norm else features

    def activate(self, features: KerasTensor, *, name: str) -> KerasTensor:
        """Adds the activation layer, if there is one."""
        return features if self.activation == "none" else activate(features, self.activation, name=name)


# What a MobileNet backbone of the API is built with when the config does not override it.
BACKBONE_DEFAULTS = ConvHyperparams(
    initializer=TruncatedNormal(stddev=0.09),
    regularizer=Regularizer("l2", 0.00004),
    activation="relu6",
    batch_norm=BatchNorm(decay=0.9997, epsilon=0.001, scale=True),
)


def conv2d(
    features: KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    hyperparams: ConvHyperparams,
    name: str,
    stride: int = 1,
    dilation: int = 1,
    use_bias: bool | None = None,
    bias_init: float = 0.0,
    use_explicit_padding: bool = False,
) -> KerasTensor:
    """Adds a convolution without normalisation and activation.

    Args:
        features: [B, H, W, C] float32.
        use_bias: None for `hyperparams.use_bias`.
        use_explicit_padding: pad the same amount whatever the input size, then convolve without padding.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), filters] float32.
    """
    features, padding = _pad(features, kernel_size, dilation, name=name, use_explicit_padding=use_explicit_padding)
    return tf_keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
        use_bias=hyperparams.use_bias if use_bias is None else use_bias,
        bias_initializer=tf_keras.initializers.Constant(bias_init) if bias_init else "zeros",
        kernel_initializer=hyperparams.new_initializer(),
        kernel_regularizer=hyperparams.new_regularizer(),
        name=name,
    )(features)


def depthwise_conv2d(
    features: KerasTensor,
    kernel_size: int,
    *,
    hyperparams: ConvHyperparams,
    name: str,
    stride: int = 1,
    dilation: int = 1,
    use_bias: bool | None = None,
    in_backbone: bool = False,
    use_explicit_padding: bool = False,
) -> KerasTensor:
    """Adds a depthwise convolution without normalisation and activation.

    Only in the backbone do initialiser and regulariser of the config reach depthwise kernels. Elsewhere, as in the API, they start
    Glorot uniform, and are regularised only if `hyperparams.regularize_depthwise` says so.

    Args:
        features: [B, H, W, C] float32.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), C] float32.
    """
    features, padding = _pad(features, kernel_size, dilation, name=name, use_explicit_padding=use_explicit_padding)
    return tf_keras.layers.DepthwiseConv2D(
        kernel_size,
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
        use_bias=hyperparams.use_bias if use_bias is None else use_bias,
        depthwise_initializer=hyperparams.new_initializer() if in_backbone else GLOROT_UNIFORM(),
        depthwise_regularizer=hyperparams.new_regularizer() if in_backbone or hyperparams.regularize_depthwise else None,
        name=name,
    )(features)


def zero_pad(features: KerasTensor, multiple: int) -> KerasTensor:
    """Pads zeros at the bottom and right until height and width are multiples of `multiple`."""
    height, width = features.shape[1:3]
    bottom, right = -height % multiple, -width % multiple
    if bottom == right == 0:
        return features
    return tf_keras.layers.ZeroPadding2D(((0, bottom), (0, right)), name="pad_to_multiple")(features)


def _pad(
    features: KerasTensor, kernel_size: int, dilation: int, *, name: str, use_explicit_padding: bool
) -> tuple[KerasTensor, Literal["same", "valid"]]:
    if not use_explicit_padding or kernel_size == 1:
        return features, "same"
    total = (kernel_size - 1) * dilation
    before, after = total // 2, total - total // 2
    return tf_keras.layers.ZeroPadding2D(((before, after), (before, after)), name=f"{name}_pad")(features), "valid"
