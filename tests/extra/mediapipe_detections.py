"""Runs in an environment with MediaPipe and without this project: `python mediapipe_detections.py MODEL OUT.json IMAGE...`.

Writes a list of `[left, top, right, bottom, score, name]`, boxes in whole pixels, for each image.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mediapipe
from mediapipe.tasks.python import BaseOptions, vision


def main(model: str, output: str, *images: str) -> None:
    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=model))
    with vision.ObjectDetector.create_from_options(options) as detector:
        results = [detector.detect(mediapipe.Image.create_from_file(image)).detections for image in images]
    Path(output).write_text(json.dumps([[row for detection in result for row in _rows(detection)] for result in results]))


def _rows(detection: Any) -> Iterator[list[float | str]]:
    """MediaPipe gives one detection of several categories where boxes are equal."""
    box = detection.bounding_box
    corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
    return ([*corners, category.score, category.category_name] for category in detection.categories)


if __name__ == "__main__":
    main(*sys.argv[1:])
