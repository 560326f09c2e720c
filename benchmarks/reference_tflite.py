"""Converts a SavedModel of the original's export_tflite_graph_tf2 as its guides tell; runs in the original's environment.

python -P benchmarks/reference_tflite.py SAVED_MODEL IMAGES.npy OUTPUT_FOLDER

IMAGES.npy is [N, H, W, 3] float32, the network's input. Writes float32.tflite and int8.tflite (uint8 pixels in, ranges of these images).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf


def main(saved_model: str, images_path: str, folder: str) -> None:
    """Prints the seconds that each conversion takes."""
    images = np.load(images_path)

    def representative_dataset() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[np.newaxis]]

    for name in ("float32", "int8"):
        start = time.monotonic()
        converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = True
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = representative_dataset
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
            converter.inference_input_type = tf.uint8
        Path(folder, f"{name}.tflite").write_bytes(converter.convert())
        print(f"{name}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
