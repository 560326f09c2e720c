"""Layers that compute with the rounding errors of 8-bit arithmetic, so that training can make up for them (Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3).

What is rounded, and how, is what TFLite's 8-bit specification asks for: kernels symmetric, a scale for every output channel; other tensors
with a scale and a zero point each, 0 among their values. `tf.quantization.fake_quant_*` does it, the operation that
tensorflow-model-optimization's quantisers call too. Its quantisers themselves are not used: they begin with the range -6 to 6 and forget it
over thousands of steps, where a short fine-tuning wants the range of the first batch; they know no delay; and depthwise kernels get one
scale for all channels.

Batch norm needs no folding here. It multiplies every output channel of a kernel by a factor, which moves the largest weight of the channel,
and with it the scale, by the same factor: rounding before or after folding gives the same integers, whatever the factor is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

RANGE_DECAY = 0.99  # share of the old range that every batch keeps; less in the first hundred, whose ranges are averaged
_BITS = 8


def round_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """Rounds to -127 to 127 steps of the largest weight of each output channel; the gradient passes as if nothing had been rounded.

    Args:
        kernel: [..., outputs] float32.
    """
    limits = tf.stop_gradient(tf.reduce_max(tf.abs(kernel), axis=list(range(kernel.shape.rank - 1))))  # [outputs]
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -limits, limits, num_bits=_BITS, narrow_range=True)


def round_depthwise_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """`round_kernel` for [height, width, inputs, multiplier], whose output channels are the last two axes."""
    height, width, inputs, multiplier = kernel.shape
    return tf.reshape(round_kernel(tf.reshape(kernel, [height, width, inputs * multiplier])), kernel.shape)


class TrainingSteps(tf_keras.layers.Layer):
    """Counts how often the network was called in training, this call included."""

    def build(self, input_shape: Any) -> None:
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Anything -> [] int64."""
        del inputs
        if training:
            self.steps.assign_add(1)
        return tf.identity(self.steps)


class FakeQuantize(tf_keras.layers.Layer):
    """Rounds a tensor to the 256 values of its range, which follows the batches of training.

    The range is the mean over the first batches' least and largest values, then their moving average. Values beyond it saturate and have no
    gradient.
    """

    def __init__(self, *, delay: int = 0, symmetric: bool = False, non_negative: bool = False, **kwargs: Any) -> None:
        """Args:
        delay: for so many steps of training only the range is followed.
        symmetric: the range reaches as far below 0 as above.
        non_negative: the values are those of a ReLU.
        """
        super().__init__(**kwargs)
        self.delay, self.symmetric, self.non_negative = delay, symmetric, non_negative

    def build(self, input_shape: Any) -> None:
        self.low, self.high = (
            self.add_weight(
                name=name,
                shape=(),
                initializer="zeros",
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for name in ("low", "high")
        )

    def call(self, inputs: tf.Tensor, steps: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[...] float32 and the count of `TrainingSteps` -> [...] float32."""
        low, high = tf.identity(self.low), tf.identity(self.high)
        if training:
            rate = tf.maximum(1.0 / tf.cast(steps, tf.float32), 1.0 - RANGE_DECAY)
            seen_low, seen_high = self._range(tf.stop_gradient(inputs))
            low, high = low + rate * (seen_low - low), high + rate * (seen_high - high)
            self.low.assign(low)
            self.high.assign(high)
        return after(
            self.delay, steps, lambda: tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=_BITS), lambda: inputs
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"delay": self.delay, "symmetric": self.symmetric, "non_negative": self.non_negative}

    def _range(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        low = tf.zeros([]) if self.non_negative else tf.minimum(tf.reduce_min(values), 0.0)
        high = tf.maximum(tf.reduce_max(values), 0.0)
        if self.symmetric:
            high = tf.maximum(-low, high)
            low = -high
        return low, high


class FakeQuantizeInput(tf_keras.layers.Layer):
    """Rounds a normalised image to 256 grey levels."""

    def __init__(self, *, low: float, high: float, delay: int = 0, **kwargs: Any) -> None:
        """Args:
        low: what pixel 0 is.
        high: what pixel 255 is.
        delay: as in `FakeQuantize`.
        """
        super().__init__(**kwargs)
        self.low, self.high, self.delay = low, high, delay

    def call(self, inputs: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        """[...] float32 and the count of `TrainingSteps` -> [...] float32."""
        return after(self.delay, steps, lambda: tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high), lambda: inputs)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"low": self.low, "high": self.high, "delay": self.delay}


class FakeQuantizedConv2D(tf_keras.layers.Conv2D):
    """A convolution, linear, with a rounded kernel."""

    def __init__(self, *args: Any, delay: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delay = delay

    def call(self, inputs: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] float32 and the count of `TrainingSteps` -> [B, h, w, filters] float32."""
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = self.convolution_op(inputs, after(self.delay, steps, lambda: round_kernel(kernel), lambda: kernel))
        return tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"delay": self.delay}


class FakeQuantizedDepthwiseConv2D(tf_keras.layers.DepthwiseConv2D):
    """A depthwise convolution, linear, with a rounded kernel."""

    def __init__(self, *args: Any, delay: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delay = delay

    def call(self, inputs: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] float32 and the count of `TrainingSteps` -> [B, h, w, C * depth_multiplier] float32."""
        kernel = tf.convert_to_tensor(self.depthwise_kernel)
        outputs = tf.nn.depthwise_conv2d(
            inputs,
            after(self.delay, steps, lambda: round_depthwise_kernel(kernel), lambda: kernel),
            strides=(1, *self.strides, 1),
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
        )
        return tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"delay": self.delay}


def after(delay: int, steps: tf.Tensor, rounded: Callable[[], tf.Tensor], exact: Callable[[], tf.Tensor]) -> tf.Tensor:
    """`rounded` once more than `delay` steps are counted, `exact` before; without delay `rounded`, and no condition in the graph."""
    return tf.cond(steps > delay, rounded, exact) if delay else rounded()
