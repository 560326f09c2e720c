"""How TensorFlow uses the CPU. Everything here must happen before its first operation. All figures: two cores, batch 8."""

from __future__ import annotations

import os

import tensorflow as tf


def use_training_kernels() -> None:
    """Keeps Grappler from fusing convolution, batch norm and activation, for processes that run with oneDNN's kernels.

    oneDNN (`TF_ENABLE_ONEDNN_OPTS=1`, which `model_main_tf2.py` sets) makes a training step a third faster on an AVX2 machine (0.163 to
    0.115 s at depth 0.35 and 160 px), but its fused convolution, which only inference uses, takes ten times as long there: 195 against
    33 ms for evaluating one image.
    """
    tf.config.optimizer.set_experimental_options({"remapping": False})


def use_small_network_threads() -> bool:
    """One thread inside each operation and one operation per core; returns False where TensorFlow has started already.

    Small depthwise networks have operations too short to split: at depth 0.35 and 160 px a step takes 16 % less CPU time so, and as
    long; at 320 px, whatever the depth, the defaults are a quarter faster.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
    except RuntimeError:
        return False
    return True
