"""MediaPipe Tasks' ObjectDetector reads our files and finds what our own detector finds.

MediaPipe has an environment of its own, named by DETECTION_TEST_MEDIAPIPE (its Python) or made by `make test-extra`; skips without one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.model import TrainedModel
from export.tflite_export import TfliteOptions, export_tflite
from object_detection_ext.data.bilinear import resize_bilinear
from object_detection_ext.models.normalization import PixelScaling
from pipelines.image_files import read_image
from pipelines.model_runners import TfliteRunner

pytest_plugins = ["tests.export.conftest"]

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("DETECTION_TEST_MEDIAPIPE", ROOT / "build" / "mediapipe" / "bin" / "python"))
NAMES = ("cat", "class_2", "bird")

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=f"no environment with MediaPipe: {PYTHON} (`make test-extra` makes one)")


def run_mediapipe(model: Path, images: Sequence[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Writes what MediaPipe finds to `found.json`."""
    script = Path(__file__).with_name("mediapipe_detections.py")
    command = [str(PYTHON), str(script), str(model), str(folder / "found.json"), *map(str, images)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def mediapipe_rows(model: Path, images: Sequence[Path], folder: Path) -> list[list[list]]:
    done = run_mediapipe(model, images, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "found.json").read_text())


def as_mediapipe_says(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Normalised boxes [M, 4] as left, top, right, bottom in pixels.

    MediaPipe does not clip a box to the image: its corner is moved into the image, its width and height are cut to the image's.
    """
    top, left, bottom, right = boxes.astype(np.float64).T * np.array([[height], [width], [height], [width]])
    x, y = np.maximum(left, 0), np.maximum(top, 0)
    return np.stack([x, y, x + np.minimum(right - left, width), y + np.minimum(bottom - top, height)], axis=1)


def expected_rows(model: Path, image: Path) -> list[list]:
    """Our detections, as MediaPipe says them but not rounded to whole pixels."""
    pixels = read_image(image)
    raw = TfliteRunner(model)(pixels)
    boxes = as_mediapipe_says(raw.boxes, *pixels.shape[:2])
    return [[*box, float(score), NAMES[class_id - 1]] for box, score, class_id in zip(boxes, raw.scores, raw.class_ids, strict=True)]


@pytest.fixture(scope="module")
def files(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small detector of tests/export; random weights: what it finds is no object, but any difference in its input shows."""
    options = TfliteOptions(types=("float32", "fp16", "int8"), max_detections=40, num_parity_images=0)
    return export_tflite(model, tmp_path_factory.mktemp("mediapipe") / "out", options).files


@pytest.fixture(scope="module")
def photos(example_image: Callable[..., np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of the size of the network's input: nothing is resized."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(4):
        pixels = np.rint(resize_bilinear(example_image(index, seed=5), (96, 128))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", ["float32", "fp16", "int8"])
def test_the_same_boxes_scores_and_names(files: dict[str, Path], photos: list[Path], tmp_path: Path, kind: str) -> None:
    for photo, found in zip(photos, mediapipe_rows(files[kind], photos, tmp_path), strict=True):
        missing = found
        for *box, score, name in expected_rows(files[kind], photo):
            # Random weights magnify the rounding of another runtime; with trained ones the scores are equal to 1e-5.
            near = [other for other in missing if other[5] == name and abs(other[4] - score) < 2e-3]
            same = [other for other in near if np.abs(np.subtract(other[:4], box)).max() < 2]
            assert same, f"{photo.name}: MediaPipe does not find {name} {score} {box}; with its score: {near}"
            missing.remove(min(same, key=lambda other: abs(other[4] - score)))
        assert missing == []


def test_the_same_scores_where_mediapipe_resizes(files: dict[str, Path], tmp_path: Path) -> None:
    """A flat photo is the same after any resize."""
    photo = tmp_path / "flat.png"
    Image.fromarray(np.full((300, 500, 3), (200, 60, 120), np.uint8)).save(photo)
    (found,) = mediapipe_rows(files["float32"], [photo], tmp_path)
    expected = expected_rows(files["float32"], photo)
    assert sorted(row[4] for row in found) == pytest.approx(sorted(row[4] for row in expected), abs=1e-4)


def test_raw_files_are_decoded_by_the_anchors_in_them(model: TrainedModel, photos: list[Path], tmp_path: Path) -> None:
    """MediaPipe suppresses after its own fashion; all that it keeps must be a box of ours with its anchor's best class."""
    options = TfliteOptions(types=("float32",), flavours=("raw",), num_parity_images=0)
    raw = export_tflite(model, tmp_path / "raw", options).files["raw_float32"]
    detector = model.detector
    for photo, found in zip(photos, mediapipe_rows(raw, photos, tmp_path), strict=True):
        assert found
        inputs, _ = detector.preprocess(read_image(photo)[np.newaxis])
        predictions = detector.predict(inputs)
        boxes = as_mediapipe_says(detector.decode(predictions.box_encodings).numpy()[0], 96, 128)  # [A, 4]
        scores = detector.postprocessing.convert_scores(predictions.class_logits).numpy()[0, :, -len(NAMES) :]  # [A, K]
        for *box, score, name in found:
            is_same = (np.abs(scores.max(axis=1) - score) < 1e-4) & (np.abs(boxes - box).max(axis=1) < 2)
            assert name in {NAMES[index] for index in scores[is_same].argmax(axis=1)}


def test_channels_of_their_own_are_refused_by_mediapipe(model: TrainedModel, photos: list[Path], tmp_path: Path) -> None:
    """ResNet and EfficientNet: the file says how they are normalised, but MediaPipe has nothing for it."""
    detector = dataclasses.replace(model.detector, normalize=PixelScaling(1.0, (-123.68, -116.779, -103.939)))
    options = TfliteOptions(types=("float32",), num_parity_images=0)
    exported = export_tflite(model._replace(detector=detector), tmp_path / "resnet", options)
    done = run_mediapipe(exported.files["float32"], photos, tmp_path)
    assert done.returncode != 0
    assert "Per-channel image normalization is not available" in done.stderr
