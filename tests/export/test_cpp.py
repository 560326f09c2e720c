"""The C++ program finds what the Python detector finds: a float and an int8 model, PNG and a turned JPEG."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.postprocess_op import DetectionPostProcess
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder
from pipelines.detect import coco_results
from pipelines.detector import Detector

SOURCE = Path(__file__).parents[2] / "export" / "cpp"
LIBRARY = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
SIZE = 64  # of the network's input
GRID = SIZE // 8
BOX_TOLERANCE = 0.01  # pixels of the image
SCORE_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built with this system's compiler."""
    if not shutil.which("cmake") or not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no cmake or no C++ compiler (Debian: apt install cmake g++ libjpeg-dev libpng-dev)")
    if not LIBRARY.is_file():
        pytest.skip(f"this ai-edge-litert wheel ships no {LIBRARY.name}")
    build = tmp_path_factory.mktemp("cpp")
    configured = subprocess.run(
        ["cmake", "-S", SOURCE, "-B", build, f"-DLITERT_LIBRARY={LIBRARY}"], capture_output=True, text=True, check=False
    )
    if configured.returncode and "Could NOT find" in configured.stderr:
        pytest.skip("no headers of libjpeg or libpng (Debian: apt install libjpeg-dev libpng-dev)")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", build, "--parallel", "2"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr
    return build / "detect"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with float32.tflite, int8.tflite (uint8 input), signed.tflite (int8 input), classifier.tflite and labels.txt."""
    folder = tmp_path_factory.mktemp("models")
    generator = np.random.default_rng(5)
    weights = generator.normal(0, 0.1, [8, 8, 3, 7]).astype(np.float32)  # a patch of 8 x 8 becomes a box code and three logits
    centers = (np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID), indexing="ij"), axis=-1).reshape(-1, 2) + 0.5) / GRID
    anchors = np.concatenate([centers, np.full_like(centers, 0.3)], axis=1).astype(np.float32)
    coder = FasterRcnnBoxCoder(10.0, 10.0, 5.0, 5.0)
    postprocess = DetectionPostProcess(num_classes=3, box_coder=coder, score_threshold=0.3, iou_threshold=0.5, max_detections=30)

    @tf.function(input_signature=[tf.TensorSpec([1, SIZE, SIZE, 3], tf.float32, name="image")], autograph=False)
    def detect(image: tf.Tensor) -> Any:
        values = tf.nn.conv2d(image, weights, strides=8, padding="VALID")
        values = tf.reshape(values, [1, GRID * GRID, 7])
        return tuple(postprocess(values[..., :4], tf.sigmoid(values[..., 4:]), tf.constant(anchors)))[::-1]

    @tf.function(input_signature=detect.input_signature, autograph=False)
    def classify(image: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(image, [1, 2])

    def photos() -> Iterator[list[np.ndarray]]:
        for _ in range(4):
            yield [generator.uniform(-1, 1, [1, SIZE, SIZE, 3]).astype(np.float32)]

    (folder / "float32.tflite").write_bytes(_convert(detect))
    (folder / "int8.tflite").write_bytes(_convert(detect, photos, tf.uint8))
    (folder / "signed.tflite").write_bytes(_convert(detect, photos, tf.int8))
    (folder / "classifier.tflite").write_bytes(_convert(classify))
    (folder / "labels.txt").write_text("red cell\n???\nplatelet\n")
    return folder


def _convert(function: Any, photos: Callable[[], Iterator[list[np.ndarray]]] | None = None, input_type: Any = None) -> bytes:
    module = tf.Module()
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    converter.allow_custom_ops = True
    if photos is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = photos
        converter.inference_input_type = input_type
    return converter.convert()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 000042.png, gray.png, turned_<orientation>.jpg, all of one noise picture that is not square."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((130, 90), Image.Resampling.BICUBIC)
    picture.save(folder / "000042.png")
    picture.convert("LA").save(folder / "gray.png")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(folder / f"turned_{orientation}.jpg", exif=exif, quality=95)
    return folder


def run_program(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("model", "image"),
    [("signed", "000042.png")]
    + [
        (model, image)
        for model in ("float32", "int8")
        for image in ("000042.png", "gray.png", *(f"turned_{orientation}.jpg" for orientation in range(1, 9)))
    ],
)
def test_the_same_boxes_as_python(program: Path, models: Path, images: Path, tmp_path: Path, model: str, image: str) -> None:
    results = tmp_path / "results.json"
    done = run_program(program, "--model", models / f"{model}.tflite", "--image", images / image, "--output_json", results)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(results.read_text())
    stem = Path(image).stem
    expected = coco_results(Detector.load(models / f"{model}.tflite")(images / image), int(stem) if stem.isdecimal() else stem)
    assert len(found) == len(expected) > 5
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours["image_id"], ours["category_id"]) == (theirs["image_id"], theirs["category_id"])
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=BOX_TOLERANCE)
        assert ours["score"] == pytest.approx(theirs["score"], abs=SCORE_TOLERANCE)


def test_text_and_picture(program: Path, models: Path, images: Path, tmp_path: Path) -> None:
    done = run_program(
        program, "--model", models / "float32.tflite", "--labels", models / "labels.txt", "--image", images / "000042.png",
        "--output_image", tmp_path / "boxes.png", "--threshold", "0.7",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    detections = Detector.load(models / "float32.tflite", label_map=models / "labels.txt")(images / "000042.png", score_threshold=0.7)
    lines = done.stdout.splitlines()
    assert [line.split(" [")[0] for line in lines[:-1]] == [f"{found.label} {found.score:.3f}" for found in detections]
    assert lines[-1].startswith(f"{len(detections)} objects with a score of 0.7 or more")
    before, after = (np.array(Image.open(path)) for path in (images / "000042.png", tmp_path / "boxes.png"))
    y_min, x_min, _, x_max = detections[0].box
    changed = (before != after).any(axis=-1)
    assert before.shape == after.shape
    assert changed[int(y_min), int(x_min) + 2 : int(x_max) - 2].mean() > 0.9  # the upper side of the best box
    inside = [np.s_[int(box[0]) : int(np.ceil(box[2])), int(box[1]) : int(np.ceil(box[3]))] for box in (found.box for found in detections)]
    covered = np.zeros_like(changed)
    for place in inside:
        covered[place] = True
    assert not changed[~covered].any()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--image", "{images}/000042.png"], 2, "error: --model and --image are needed"),
        (["--model", "m", "--image", "i", "--threshold", "2"], 2, "error: --threshold must be from 0 to 1, got '2'"),
        (["--model", "m", "--image", "i", "--mood"], 2, "error: --mood needs a value"),
        (["--model", "missing.tflite", "--image", "{images}/000042.png"], 1, "error: missing.tflite cannot be opened"),
        (["--model", "{images}/000042.png", "--image", "{images}/000042.png"], 1, "000042.png is not a .tflite model"),
        (
            ["--model", "{models}/classifier.tflite", "--image", "{images}/000042.png"],
            1,
            "is not a detector: it has no TFLite_Detection_PostP",
        ),
        (["--model", "{models}/int8.tflite", "--image", "{models}/labels.txt"], 1, "labels.txt is neither a JPEG nor a PNG"),
        (["--model", "{models}/int8.tflite", "--image", "{images}/cut.jpg"], 1, "cut.jpg: broken JPEG"),
        (["--model", "{models}/int8.tflite", "--image", "{images}/cut.png"], 1, "cut.png: broken PNG"),
        (
            ["--model", "{models}/int8.tflite", "--image", "{images}/000042.png", "--output_json", "no/r.json"],
            1,
            "no/r.json cannot be written",
        ),
    ],
    ids=["no model", "threshold", "no value", "missing", "no tflite", "classifier", "no image", "broken JPEG", "broken PNG", "output"],
)
def test_one_line_for_a_mistake(program: Path, models: Path, images: Path, arguments: list[str], code: int, message: str) -> None:
    (images / "cut.jpg").write_bytes((images / "turned_1.jpg").read_bytes()[:30])
    (images / "cut.png").write_bytes((images / "000042.png").read_bytes()[:60])
    done = run_program(program, *(argument.format(images=images, models=models) for argument in arguments))
    assert done.returncode == code
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]
    assert code == 2 or done.stderr.count("\n") == 1
