"""`train_config.update_trainable_variables` and `freeze_variables` -> the variables that train."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from object_detection_ext.builders.fields import errors_at
from object_detection_ext.protos import train_pb2
from object_detection_ext.training.trainable import TrainablePatterns


def build_trained_variables(train_config: train_pb2.TrainConfig, network: tf_keras.Model) -> list[tf.Variable]:
    """The variables of `network` that the config lets train, in the network's order.

    Raises:
        InputError: a pattern is no regular expression or matches nothing, or nothing is left to train.
    """
    with errors_at("train_config"):
        patterns = TrainablePatterns(
            update_trainable_variables=tuple(train_config.update_trainable_variables),
            freeze_variables=tuple(train_config.freeze_variables),
        )
        return patterns(network)
