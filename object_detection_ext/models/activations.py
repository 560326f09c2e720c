"""Activations by name, among them those of MobileNetV3 (Howard et al. 2019, section 5.2) that Keras does not have.

Each is one layer, `ReLU` or `Activation` with a plain function: no operation layers and no Lambda, so that a network can be cloned,
pruned and quantised layer by layer. The TFLite converter finds its HARD_SWISH in `hard_swish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import tensorflow as tf
import tf_keras

if TYPE_CHECKING:
    from object_detection_ext.models.layers import KerasTensor

ActivationName = Literal["relu", "relu6", "swish", "hard_swish", "sigmoid", "slim_hard_sigmoid"]


@tf_keras.saving.register_keras_serializable(package="object_detection_ext")
def hard_swish(features: tf.Tensor) -> tf.Tensor:
    """`x * relu6(x + 3) / 6`. [...] float32 -> [...] float32."""
    return features * tf.nn.relu6(features + 3.0) * (1.0 / 6.0)


@tf_keras.saving.register_keras_serializable(package="object_detection_ext")
def slim_hard_sigmoid(features: tf.Tensor) -> tf.Tensor:
    """`relu6(x + 3) * 0.16667`: slim's gate of MobileNetV3, one and a fiftieth of a thousandth where it is open. [...] -> [...] float32."""
    return tf.nn.relu6(features + 3.0) * 0.16667


_FUNCTIONS = {"hard_swish": hard_swish, "slim_hard_sigmoid": slim_hard_sigmoid, "sigmoid": "sigmoid", "swish": "swish"}
_CEILINGS = {"relu": None, "relu6": 6.0}


def activate(features: KerasTensor, activation: ActivationName, *, name: str) -> KerasTensor:
    """Adds the activation's layer. features: [...] float32."""
    if activation in _CEILINGS:
        return tf_keras.layers.ReLU(_CEILINGS[activation], name=name)(features)
    return tf_keras.layers.Activation(_FUNCTIONS[activation], name=name)(features)
