"""Draws that `tf.random.stateless_*` does not offer."""

from __future__ import annotations

import tensorflow as tf


def uniform_integers(seed: tf.Tensor, low: tf.Tensor | int, high: tf.Tensor | int) -> tf.Tensor:
    """Integers from [low, high), one for each element of two int32 vectors of the same length; `low` where the interval is empty.

    `tf.random.stateless_uniform` takes one interval for all. As there, the modulo favours small numbers by less than 2**-30 a unit.
    """
    width = tf.maximum(high - low, 1)
    return low + tf.random.stateless_uniform(tf.shape(width), seed, 0, tf.int32.max, tf.int32) % width
