"""What a `raw` or `decoded` file leaves to its user, done by `postprocessing.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.outside_suppression import flavour_by_names, load_outside_suppression
from object_detection_ext.errors import InputError

CODER = {"type": "FasterRcnnBoxCoder", "y_scale": 10.0, "x_scale": 10.0, "height_scale": 5.0, "width_scale": 5.0}
SUPPRESSION = {"score_converter": "identity", "iou_threshold": 0.5, "max_total_detections": 3, "max_detections_per_class": 3}
GIVEN = {
    "box_coder": CODER,
    "non_max_suppression": SUPPRESSION | {"score_threshold": 0.1, "has_background": False},
    "anchors": [[0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.2, 0.2]],
}


def write(folder: Path, settings: Any) -> Path:
    (folder / "postprocessing.json").write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return folder / "model_raw_int8.tflite"


def test_raw_is_decoded_and_suppressed(tmp_path: Path) -> None:
    """By hand: code 5 of y_scale 10 moves by half of 0.2; of two equal boxes the better stays."""
    suppress = load_outside_suppression(write(tmp_path, GIVEN), "raw", num_anchors=3)
    codes = np.zeros((1, 3, 4), np.float32)
    codes[0, :2, 0] = 5.0
    scores = np.array([[[0.3, 0.0], [0.9, 0.0], [0.0, 0.6]]], np.float32)
    found = suppress(codes, scores)
    np.testing.assert_allclose(found.boxes, [[0.5, 0.3, 0.7, 0.7], [0.1, 0.1, 0.3, 0.3]], atol=1e-6)
    assert found.class_indices.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.6])


def test_decoded_is_only_suppressed(tmp_path: Path) -> None:
    suppress = load_outside_suppression(write(tmp_path, GIVEN), "decoded", num_anchors=3)
    boxes = np.array([[[0.1, 0.1, 0.4, 0.4], [0.1, 0.1, 0.4, 0.41], [0.6, 0.6, 0.9, 0.9]]], np.float32)
    found = suppress(boxes, np.array([[[0.8], [0.7], [0.05]]], np.float32))
    np.testing.assert_allclose(found.boxes, [[0.1, 0.1, 0.4, 0.4]])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{", "is not what export.tflite writes"),
        ("[]", "is not what export.tflite writes"),
        ({}, "KeyError"),
        (GIVEN | {"anchors": [[0, 0, float("nan"), 1]]}, "anchors must be rows of four finite numbers"),
        (GIVEN | {"anchors": [[0, 0, 1, 1]]}, "has 1 anchors, .* gives 3 boxes"),
        (GIVEN | {"box_coder": CODER | {"type": "Other"}}, "KeyError 'Other'"),
        (GIVEN | {"box_coder": CODER | {"y_scale": "ten"}}, "y_scale is 'ten'"),
        (GIVEN | {"non_max_suppression": SUPPRESSION | {"max_total_detections": 10**9}}, "max_total_detections is 1000000000"),
        (GIVEN | {"non_max_suppression": SUPPRESSION | {"score_converter": "sigmoid"}}, "score_converter must be identity"),
        (GIVEN | {"non_max_suppression": SUPPRESSION | {"other": 1}}, "KeyError 'other'"),
    ],
)
def test_a_broken_file_is_one_line(settings: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_outside_suppression(write(tmp_path, settings), "raw", num_anchors=3)
    assert "\n" not in str(caught.value)


def test_without_the_file_it_is_said_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"leaves decoding and suppression to its user: postprocessing\.json, .* must be beside it"):
        load_outside_suppression(tmp_path / "model_raw_int8.tflite", "raw", num_anchors=3)


def test_flavours_are_known_by_their_outputs() -> None:
    assert flavour_by_names(["class_scores", "box_encodings"]) == "raw"
    assert flavour_by_names(["boxes", "scores"]) == "decoded"
    assert flavour_by_names(["detection_boxes", "scores"]) is None
