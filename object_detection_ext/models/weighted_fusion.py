"""The one layer of ours: a sum of feature maps with learned weights. Nothing in `tf_keras` has such variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import tensorflow as tf
import tf_keras

WeightedMethod = Literal["weighted_sum", "attention", "fast_attention"]

EPSILON = 0.0001  # Tan et al. 2020, section 3.3


@tf_keras.utils.register_keras_serializable("object_detection_ext")
class WeightedFusion(tf_keras.layers.Layer):
    """`sum(w_i x_i)` of feature maps x_i with one shape, one weight each (Tan et al. 2020, https://arxiv.org/abs/1911.09070, section 3.3).

    `fast_attention`: `w = relu(v) / (sum(relu(v)) + 0.0001)` of the variables v, which begin at 1. `weighted_sum`: `w = v`.
    `attention`: `w = 1`: the paper has a softmax here, the API takes it over an axis of length 1, and its checkpoints are made for that.
    """

    def __init__(self, method: WeightedMethod, **settings: Any) -> None:
        """settings: of every layer: name, dtype, trainable."""
        super().__init__(**settings)
        self.method = method

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        self.bifpn_combine_weights = self.add_weight(name="bifpn_combine_weights", shape=(len(input_shape), 1), initializer="ones")
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """inputs: [B, H, W, C] each -> [B, H, W, C]."""
        weights = tf.unstack(self._weights(), num=len(inputs))
        return tf.add_n([weight * features for weight, features in zip(weights, inputs, strict=True)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "method": self.method}

    def _weights(self) -> tf.Tensor:
        variables = self.bifpn_combine_weights  # [inputs, 1]
        if self.method == "fast_attention":
            positive = tf.nn.relu(variables)
            return positive / (tf.reduce_sum(positive) + EPSILON)
        return tf.nn.softmax(variables) if self.method == "attention" else tf.convert_to_tensor(variables)
