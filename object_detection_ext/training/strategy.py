"""Which devices train: one, several of this machine, several machines, or a TPU."""

from __future__ import annotations

import tensorflow as tf

from object_detection_ext.errors import InputError


def build_strategy(*, num_workers: int = 1, use_tpu: bool = False, tpu_name: str | None = None) -> tf.distribute.Strategy:
    """The API's choice: TPUStrategy, MultiWorkerMirroredStrategy (`TF_CONFIG` tells the workers), else all GPUs of this machine.

    With at most one GPU it is TensorFlow's default strategy, which costs nothing per step.
    """
    if use_tpu:
        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu_name)
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
        except (ValueError, tf.errors.OpError) as error:
            raise InputError(f"--use_tpu: no TPU found: {str(error).splitlines()[0]}") from error
        return tf.distribute.TPUStrategy(resolver)
    if num_workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
