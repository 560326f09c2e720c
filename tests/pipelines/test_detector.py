"""`Detector` on models whose answers are known by hand, and on a real network's checkpoint."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection_ext.errors import InputError
from object_detection_ext.types import Detections
from pipelines.detector import Detection, Detector
from pipelines.model_input import ModelInput
from pipelines.model_labels import find_names
from pipelines.model_runners import RawDetections, checkpoint_runner

NAMES = "red\ngreen\nblue\n"


def quarters(height: int = 60, width: int = 80) -> np.ndarray:
    """Top left red, top right green, bottom left black, bottom right half blue (a score of 0.5)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, width // 2 :, 2] = 128
    return image


@pytest.mark.parametrize("model", ["float32.tflite", "uint8.tflite", "int8.tflite", "saved_model"])
def test_the_same_answer_from_every_kind(toy_models: Path, tmp_path: Path, model: str) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text(NAMES)
    detector = Detector.load(toy_models / model, label_map=labels)
    red, green, blue = detector(quarters())
    assert (red.box, red.class_id, red.label) == ((0, 0, 30, 40), 1, "red")
    assert (green.box, green.class_id, green.label) == ((0, 40, 30, 80), 2, "green")
    assert (blue.box, blue.class_id, blue.label) == ((30, 40, 60, 80), 3, "blue")
    assert [red.score, green.score, blue.score] == pytest.approx([1.0, 1.0, 128 / 255], abs=1.1 / 255)
    assert [found.label for found in detector(quarters(), score_threshold=0.9)] == ["red", "green"]
    assert [found.label for found in detector(quarters(), max_detections=1)] == ["red"]


@pytest.mark.parametrize(
    ("dtype", "quantization", "expected"),
    [
        (np.float32, (0.0, 0), [-1, 0.6, 1]),
        (np.uint8, (2 / 255, 127), [0, 204, 255]),
        (np.int8, (2 / 255, -1), [-128, 76, 127]),
        (np.uint8, (0.0, 0), [0, 204, 255]),
        (np.uint8, (4 / 255, 100), [36, 138, 164]),  # a range of [-1.57, 2.43]
    ],
    ids=["float", "uint8", "int8", "without quantisation", "wider range"],
)
def test_pixels_as_input(dtype: type, quantization: tuple[float, int], expected: list[float]) -> None:
    values = ModelInput().values(np.array([0, 204, 255], np.float32), {"dtype": dtype, "quantization": quantization})
    assert values.dtype == dtype
    assert values.tolist() == pytest.approx(expected, abs=1e-6)


def test_an_image_is_a_file_or_pillow_or_pixels(toy_models: Path, tmp_path: Path) -> None:
    detector = Detector.load(toy_models / "float32.tflite")
    Image.fromarray(quarters()).save(tmp_path / "a.png")
    expected = detector(quarters())
    assert len(expected) == 3
    assert detector(tmp_path / "a.png") == detector(str(tmp_path / "a.png")) == detector(Image.fromarray(quarters())) == expected


def test_without_names_classes_are_numbered(toy_models: Path) -> None:
    assert [found.label for found in Detector.load(toy_models / "float32.tflite")(quarters())] == ["class_1", "class_2", "class_3"]


def test_black_has_no_objects(toy_models: Path) -> None:
    assert Detector.load(toy_models / "float32.tflite")(np.zeros((5, 7, 3), np.uint8)) == []


def test_a_tflite_needs_no_tensorflow(toy_models: Path) -> None:
    code = (
        "import sys, numpy; from pipelines.detector import Detector; "
        f"found = Detector.load({str(toy_models / 'float32.tflite')!r})(numpy.full((9, 9, 3), 255, 'uint8')); "
        "sys.exit('tensorflow' in sys.modules or not found)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_boxes_are_clipped_sorted_and_cleaned() -> None:
    raw = RawDetections(
        np.array(
            [[-0.5, 0.25, 0.5, 1.5], [0.1, 0.1, 0.2, 0.2], [2, 2, 3, 3], [0.5, 0.5, 0.5, 0.9], [np.nan, 0, 1, 1], [0, 0, 1, 1]], np.float32
        ),
        np.array([2, 1, 1, 1, 1, 1]),
        np.array([0.3, 0.9, 0.9, 0.9, 0.9, np.nan], np.float32),
    )
    best, other = Detector(lambda _: raw, {1: "cat"})(np.zeros((100, 200, 3), np.uint8))
    assert best == Detection(pytest.approx((10, 20, 20, 40)), 1, "cat", pytest.approx(0.9))
    assert other == Detection((0, 50, 50, 200), 2, "class_2", pytest.approx(0.3))


class PaddedDetector:
    """Fits every image into the left half of its input; sees one object in the whole content."""

    def preprocess(self, images):
        import tensorflow as tf

        return tf.zeros([1, 10, 20, 3]), tf.constant([[10, 10]])

    def predict(self, inputs, *, training):
        return inputs

    def postprocess(self, predictions, true_shapes):
        import tensorflow as tf

        return Detections(
            boxes=tf.constant([[[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0]]]),
            scores=tf.constant([[0.75, 0.0]]),
            classes=tf.constant([[2, 0]]),
            num_detections=tf.constant([1]),
        )


def test_padding_of_the_input_is_taken_off() -> None:
    assert Detector(checkpoint_runner(PaddedDetector()))(np.zeros((30, 40, 3), np.uint8)) == [Detection((0, 0, 30, 40), 3, "class_3", 0.75)]


def test_checkpoint_equals_the_detector_itself(golden: Callable[[str], Path], tmp_path: Path) -> None:
    import tensorflow as tf

    from object_detection_ext.builders.detector import build_detector
    from object_detection_ext.config import load_config

    config = load_config(golden("ssdlite_v2_dm0.35_160.config"))
    detector = build_detector(config.proto.model.ssd)
    tf.train.Checkpoint(model=detector.network, step=tf.Variable(7, dtype=tf.int64)).write(str(tmp_path / "ckpt-7"))
    config.save(tmp_path / "pipeline.config")
    image = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    expected = detector.detect(tf.constant(image[np.newaxis]))
    found = Detector.load(tmp_path / "ckpt-7", label_map=_written(tmp_path / "names.txt", NAMES))(image)
    assert len(found) > 0
    first = expected.boxes[0, 0].numpy() * [120, 90, 120, 90]
    assert found[0].box == pytest.approx(tuple(first), abs=1e-3)
    assert found[0].class_id == expected.classes[0, 0].numpy() + 1
    assert found[0].score == pytest.approx(float(expected.scores[0, 0]), abs=1e-6)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "classifier.tflite",
            r"classifier.tflite is not a detector: it has no TFLite_Detection_PostProcess and its outputs are .* \[1, 3\] float32",
        ),
        ("not_a_detector", "not_a_detector is not a detector: no output detection_boxes, .*; found label"),
        ("missing", r"missing does not exist \(expected a .tflite file"),
        ("broken.tflite", "broken.tflite: the TFLite runtime refuses this file"),
        ("frozen.pb", "frozen.pb: no pipeline.config beside this checkpoint; give --pipeline_config_path"),
        ("weights.bin", "weights.bin is not a model that can be run here"),
        ("photos", "no model in folder .*photos: it holds a.jpg, sub/"),
        ("empty", "no model in folder .*empty: it is empty"),
        ("lonely", "lonely: no pipeline.config beside this checkpoint; give --pipeline_config_path"),
        ("broken_saved_model", "broken_saved_model: TensorFlow cannot load this SavedModel"),
    ],
)
def test_what_is_no_detector_is_said_in_one_line(toy_models: Path, tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"not a model")
    (tmp_path / "frozen.pb").write_bytes(b"")
    (tmp_path / "weights.bin").write_bytes(b"")
    for folder in ("photos/sub", "empty", "deep/lonely", "broken_saved_model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    (tmp_path / "broken_saved_model" / "saved_model.pb").write_bytes(b"\xff\xff")
    (tmp_path / "deep" / "lonely" / "ckpt-1.index").write_bytes(b"")
    folder = toy_models if (toy_models / path).exists() else tmp_path / "deep" if path == "lonely" else tmp_path
    with pytest.raises(InputError, match=message) as caught:
        Detector.load(folder / path)
    assert "\n" not in str(caught.value)


def test_folder_around_a_saved_model(toy_models: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model").symlink_to(toy_models / "saved_model")
    _written(tmp_path / "labels.txt", NAMES)
    assert [found.label for found in Detector.load(tmp_path)(quarters())] == ["red", "green", "blue"]


class TestNames:
    """Where the names come from."""

    def test_inside_the_tflite(self, toy_models: Path, tmp_path: Path) -> None:
        model = tmp_path / "model.tflite"
        model.write_bytes((toy_models / "float32.tflite").read_bytes())
        with zipfile.ZipFile(model, "a") as archive:
            archive.writestr("labels.txt", NAMES)
        assert [found.label for found in Detector.load(model)(quarters())] == ["red", "green", "blue"]

    def test_given_wins_over_beside(self, tmp_path: Path) -> None:
        _written(tmp_path / "labels.txt", "a\nb\n")
        given = _written(tmp_path / "map.pbtxt", "item { id: 5 name: 'n05' display_name: 'five' }")
        assert find_names(tmp_path / "model.tflite", label_map=given) == {5: "five"}
        assert find_names(tmp_path / "model.tflite") == {1: "a", 2: "b"}

    def test_of_the_pipeline_config(self, tmp_path: Path) -> None:
        _written(tmp_path / "map.pbtxt", "item { id: 2 name: 'two' }")
        config = _written(tmp_path / "pipeline.config", 'model { ssd {} } train_input_reader { label_map_path: "map.pbtxt" }')
        assert find_names(tmp_path / "ckpt-1", config=config) == {2: "two"}

    @pytest.mark.parametrize(
        ("text", "names"),
        [("a\n???\nc", {1: "a", 3: "c"}), ("???\na\n???\nc\n", {1: "a", 3: "c"}), ("", {}), ("a\r\nb \r\n", {1: "a", 2: "b"})],
        ids=["gap", "background first", "empty", "windows"],
    )
    def test_text_files(self, tmp_path: Path, text: str, names: dict[int, str]) -> None:
        assert find_names(tmp_path / "m.tflite", label_map=_written(tmp_path / "l.txt", text)) == names

    def test_none(self, tmp_path: Path) -> None:
        assert find_names(tmp_path / "model.tflite") == {}

    def test_given_but_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no\.pbtxt does not exist"):
            find_names(tmp_path / "model.tflite", label_map=tmp_path / "no.pbtxt")


def test_unusable_pixels() -> None:
    with pytest.raises(InputError, match=r"must be \[height, width, 3\] uint8 RGB, got \[4, 4\] float64"):
        Detector(lambda _: pytest.fail("must not run"))(np.zeros((4, 4)))
