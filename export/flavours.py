"""What a `.tflite` or ONNX file ends in, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Flavour = Literal["nms", "raw", "decoded"]

OUTPUTS: Mapping[Flavour, tuple[str, ...]] = {
    "nms": ("detection_boxes", "detection_classes", "detection_scores", "num_detections"),
    "raw": ("box_encodings", "class_scores"),  # [1, A, code size]; [1, A, K], without background
    "decoded": ("boxes", "scores"),  # [1, A, 4] y_min, x_min, y_max, x_max, normalised, not clipped; [1, A, K], without background
}


def file_stem(flavour: Flavour, kind: str = "") -> str:
    """`model_int8`, `model_raw_int8`, `model_decoded`: the flavour is named unless it is `nms`, the type where there is one."""
    return "_".join(["model", *([] if flavour == "nms" else [flavour]), *([kind] if kind else [])])
