"""What an application has to do behind a `raw` or `decoded` file: `postprocessing.json` beside it.

Anchors are not an output of `raw`: MediaPipe takes a model without suppression only if it has exactly two outputs, and delegates run
nothing for a constant.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_ext import boxes as box_ops
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.postprocess import PostProcessing

FILE_NAME = "postprocessing.json"


def outside_suppression(postprocessing: PostProcessing) -> PostProcessing:
    """The detector's suppression for scores of `raw` and `decoded` models: they are converted already and have no background."""
    return dataclasses.replace(postprocessing, score_converter="identity", logit_scale=1.0, has_background=False)


def postprocessing_json(detector: SsdDetector) -> str:
    """Anchors (y_center, x_center, height, width, normalised), box coder, and settings of the suppression (see `PostProcessing`).

    Of `box_coder`, `type` is the class in `object_detection_ext.targets.box_coder`.
    """
    anchors = np.asarray(box_ops.corners_to_centers(tf.constant(detector.anchors)))
    settings = dataclasses.asdict(outside_suppression(detector.postprocessing))
    box_coder: Any = detector.box_coder  # a protocol; all of them are dataclasses
    coder = {"type": type(box_coder).__name__, **dataclasses.asdict(box_coder)}
    rows = [[round(float(value), 9) for value in row] for row in anchors]
    return json.dumps({"box_coder": coder, "non_max_suppression": settings, "anchors": rows}) + "\n"
