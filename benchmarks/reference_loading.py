"""Loads a checkpoint in every way that the original API has, and detects with it; runs in the original's environment.

    REFENV/bin/python -P benchmarks/reference_loading.py FOLDER IMAGES.npy OUT.npz

FOLDER holds the checkpoint, the file `checkpoint` and pipeline.config. OUT.npz takes boxes, scores and classes of the images.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any


def main(folder: str, images: str, out: str) -> None:
    """Fails where a way of loading leaves a variable of the model without a value."""
    import numpy as np
    import tensorflow as tf

    config_util: Any = importlib.import_module("object_detection.utils.config_util")
    model_builder: Any = importlib.import_module("object_detection.builders.model_builder")
    model_config = config_util.get_configs_from_pipeline_file(f"{folder}/pipeline.config")["model"]
    pixels = tf.cast(np.load(images), tf.float32)

    model = model_builder.build(model_config, is_training=False)  # as exporter_main_v2 does
    checkpoint = tf.train.Checkpoint(model=model)
    newest = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1).latest_checkpoint
    status = checkpoint.restore(newest).expect_partial()
    detections = _detect(model, pixels)
    status.assert_existing_objects_matched()

    for kind in ("full", "detection"):  # as fine_tune_checkpoint
        fresh = model_builder.build(model_config, is_training=True)
        _detect(fresh, pixels)  # makes the variables
        parts = fresh.restore_from_objects(fine_tune_checkpoint_type=kind)
        tf.train.Checkpoint(**parts).restore(newest).expect_partial().assert_existing_objects_matched()

    step = tf.Variable(-1, dtype=tf.int64)
    tf.train.Checkpoint(step=step).restore(newest).expect_partial()
    found = {name: detections[f"detection_{name}"].numpy() for name in ("boxes", "scores", "classes")}
    np.savez(out, step=step.numpy(), **found)


def _detect(model: Any, pixels: Any) -> Any:
    inputs, true_shapes = model.preprocess(pixels)
    return model.postprocess(model.predict(inputs, true_shapes), true_shapes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="with the checkpoint, the file `checkpoint` and pipeline.config")
    parser.add_argument("images", help=".npy, [B, H, W, 3] uint8")
    parser.add_argument("out", help=".npz to write")
    main(**vars(parser.parse_args()))
