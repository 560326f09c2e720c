"""A SavedModel, run on images in a process of its own: `python -m export.certificate.served FOLDER IMAGES.npy OUT.npz CLASSES`.

Nothing of the detector's code is in here: what the folder holds is all that runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.certificate.subject import Outputs
from export.quiet import quiet_tensorflow

_INPUT_NAME = "input_tensor"  # of `export.signatures`, which loads the detector
_DETECTIONS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
_BEFORE = ("raw_detection_boxes", "raw_detection_scores")


def run_saved_model(folder: Path, images: np.ndarray, *, num_classes: int) -> Outputs:
    """Runs a SavedModel of `export.saved_model`, input type `float_image_tensor`, on images [N, h, w, 3] float32 of the network's size."""
    quiet_tensorflow()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]
    rows = []
    for image in images:
        found = serve(**{_INPUT_NAME: tf.constant(image[np.newaxis])})
        boxes, classes, scores, count, raw_boxes, raw_scores = (found[name][0].numpy() for name in (*_DETECTIONS, *_BEFORE))
        classes = classes.astype(np.int64) - 1
        rows.append((boxes, classes, scores, np.asarray(round(float(count))), raw_boxes, raw_scores[:, -num_classes:]))
    return Outputs(*(np.stack(column) for column in zip(*rows, strict=True)))


def main(argv: Sequence[str]) -> int:
    """The process."""
    folder, images, output, num_classes = argv
    run_saved_model(Path(folder), np.load(images, mmap_mode="r"), num_classes=int(num_classes)).save(Path(output))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
