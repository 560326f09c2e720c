"""Squeeze and excite: scales channels by what the whole feature map holds (Hu et al. 2018, https://arxiv.org/abs/1709.01507, section 3)."""

from __future__ import annotations

import tf_keras

from object_detection_ext.models.activations import ActivationName, activate
from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d


def squeeze_excite(
    features: KerasTensor, squeezed_depth: int, *, hyperparams: ConvHyperparams, inner: ActivationName, gate: ActivationName, name: str
) -> KerasTensor:
    """Adds `x * gate(Conv_1(inner(Conv(mean(x)))))`, the mean over height and width; both 1x1 convolutions have a bias and no batch norm.

    Args:
        features: [B, H, W, C] float32.
        squeezed_depth: channels between the convolutions.

    Returns:
        [B, H, W, C] float32.
    """
    weights = tf_keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}/pool")(features)
    weights = conv2d(weights, squeezed_depth, 1, hyperparams=hyperparams, use_bias=True, name=f"{name}/Conv")
    weights = activate(weights, inner, name=f"{name}/Conv/{inner}")
    weights = conv2d(weights, features.shape[-1], 1, hyperparams=hyperparams, use_bias=True, name=f"{name}/Conv_1")
    weights = activate(weights, gate, name=f"{name}/Conv_1/{gate}")  # [B, 1, 1, C]
    return tf_keras.layers.Multiply(name=f"{name}/scaled")([features, weights])
