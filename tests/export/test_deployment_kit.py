"""The folder for an Android app: the templates filled, the golden boxes those that can be calculated by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.deployment_kit import cut_score, fill, kit_of_export, write_deployment_kit
from export.model import TrainedModel
from export.postprocess_op import DetectionPostProcess
from export.tflite_file import finish
from object_detection_ext.errors import InputError
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder

SIZE = 8


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.tflite and pixels.tflite (uint8 input): two boxes, the upper and lower half; class i scores the mean of channel i there."""
    folder = tmp_path_factory.mktemp("models")
    postprocess = DetectionPostProcess(2, FasterRcnnBoxCoder(), score_threshold=0.1, iou_threshold=0.5, max_detections=4)
    anchors = tf.constant([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])

    @tf.function(input_signature=[tf.TensorSpec([1, SIZE, SIZE, 3], tf.float32, name="image")], autograph=False)
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        means = tf.reshape(tf.nn.avg_pool2d(image, [SIZE // 2, SIZE], [SIZE // 2, SIZE], "VALID") * 0.5 + 0.5, [1, 2, 3])
        return postprocess(tf.concat([means * 0.0, means[..., :1] * 0.0], axis=-1), means[..., :2], anchors)._asdict()

    for name, input_type in (("model", None), ("pixels", tf.uint8)):
        module = tf.Module()
        module.detect = detect
        converter = tf.lite.TFLiteConverter.from_concrete_functions([detect.get_concrete_function()], module)
        converter.allow_custom_ops = True
        if input_type is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: iter([[np.full((1, SIZE, SIZE, 3), value, np.float32)] for value in (-1, 1)])
            converter.inference_input_type = input_type
        (folder / f"{name}.tflite").write_bytes(finish(converter.convert(), postprocess))
    other = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(lambda x: x + 1.0).get_concrete_function(tf.zeros([1, 2, 2, 3]))])
    (folder / "other.tflite").write_bytes(other.convert())
    return folder


@pytest.fixture
def golden() -> np.ndarray:
    """[20, 40, 3]: the upper half red, the lower half a green of 204."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:10, :, 0], image[10:, :, 1] = 255, 204
    return image


@pytest.mark.parametrize(("name", "tolerance"), [("model", 1e-4), ("pixels", 0.01)])
def test_everything_is_filled_in(models: Path, golden: np.ndarray, tmp_path: Path, name: str, tolerance: float) -> None:
    kit = write_deployment_kit(models / f"{name}.tflite", ["rot", "grün"], golden, tmp_path / "kit")
    files = {path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file()}
    assert files == {
        *("README.md", "interpreter/InterpreterDetector.kt", "interpreter/InterpreterGoldenTest.kt", "interpreter/build.gradle.kts"),
        *("mediapipe/MediaPipeDetector.kt", "mediapipe/build.gradle.kts"),
        *(f"assets/{name}.tflite", "assets/labels.txt", "assets/golden.png", "assets/golden.json"),
    }
    texts = {path: (kit / path).read_text(encoding="utf-8") for path in files if path.endswith((".kt", ".kts", ".md"))}
    for text in texts.values():
        assert "{{" not in text
        assert text.count("{") == text.count("}") and text.count("(") == text.count(")")
    code = texts["interpreter/InterpreterDetector.kt"]
    assert "const val HEIGHT = 8" in code and "const val ROWS = 4" in code and f'openFd("{name}.tflite")' in code
    assert ("putFloat((value - MEAN[channel]) / STD[channel])" in code) == (name == "model")
    assert ("val MEAN = floatArrayOf(127.5f, 127.5f, 127.5f)" in code) == (name == "model")
    assert f"HEIGHT * WIDTH * 3 * {4 if name == 'model' else 1})" in code
    outputs = ["0 to boxes", "1 to classes", "2 to scores", "3 to count"]
    assert re.findall(r"\d to [a-z]+", code) == outputs
    assert f'setModelAssetPath("{name}.tflite")' in texts["mediapipe/MediaPipeDetector.kt"]
    assert "rot, grün" in texts["README.md"]
    assert (kit / "assets" / "labels.txt").read_text(encoding="utf-8") == "rot\ngrün\n"
    assert (np.array(Image.open(kit / "assets" / "golden.png")) == golden).all()
    red, green = json.loads((kit / "assets" / "golden.json").read_text())["objects"]
    assert (red["label"], green["label"]) == ("rot", "grün")
    assert (red["box"], green["box"]) == ([0, 0, 10, 40], [10, 0, 20, 40])
    assert red["score"] == pytest.approx(1.0, abs=tolerance) and green["score"] == pytest.approx(0.8, abs=tolerance)


def test_another_kind_of_file(models: Path, golden: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"other\.tflite gives .*; a deployment kit is written for detection_boxes"):
        write_deployment_kit(models / "other.tflite", ["a"], golden, tmp_path / "kit")
    assert not (tmp_path / "kit").exists()


def test_fill() -> None:
    assert fill("val x = {{x}} // ${y} {{x}}", {"x": 1}) == "val x = 1 // ${y} 1"
    with pytest.raises(KeyError):
        fill("{{unknown}}", {})


@pytest.mark.parametrize(
    ("scores", "cut"),
    [([], 0.35), ([0.9, 0.1], 0.35), ([0.9, 0.45, 0.21, 0.05], 0.33), ([0.35], 0.425)],
    ids=["none", "none between", "two", "tie"],
)
def test_the_least_score_is_far_from_all(scores: list[float], cut: float) -> None:
    assert cut_score(scores) == pytest.approx(cut)


def test_of_an_export(models: Path, model: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    files = {"float32": models / "model.tflite", "int8": models / "pixels.tflite", "labels": tmp_path / "labels.txt"}
    kit = kit_of_export(model.config, files, tmp_path / "kit")
    assert (kit / "assets" / "pixels.tflite").is_file()
    assert Image.open(kit / "assets" / "golden.png").size[0] in (140, 130, 120, 110)  # one of the records' images
