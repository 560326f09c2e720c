"""What metadata and pipeline.config do to a `.tflite`'s input; expected values by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from export.input_metadata import KeepAspectRatio
from export.metadata import DetectorMetadata, with_metadata
from object_detection_ext.errors import InputError
from pipelines.detector import Detector
from pipelines.model_input import ModelInput, find_input
from pipelines.model_labels import find_names

PADDED = KeepAspectRatio(4, 8, (-1.0, -1.0, -1.0))  # black in [-1, 1]
PADDED_CONFIG = """model { ssd { image_resizer { keep_aspect_ratio_resizer {
  min_dimension: 4 max_dimension: 8 pad_to_max_dimension: true per_channel_pad_value: [-1, -1, -1] } } } }"""
RESNET = ModelInput((123.68, 116.779, 103.939), (1.0, 1.0, 1.0))


def written(path: Path, content: bytes, *, fitting: KeepAspectRatio | None = None, std: float = 127.5) -> Path:
    """The model with metadata."""
    path.write_bytes(with_metadata(content, DetectorMetadata("toy", ("r", "g", "b"), (8, 8, 3), (127.5,) * 3, (std,) * 3, 0.2, fitting)))
    return path


def halves() -> np.ndarray:
    """20 by 40 pixels: left half red, right half green."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :20, 0] = 255
    image[:, 20:, 1] = 255
    return image


def test_channels_normalised_by_themselves() -> None:
    pixels = np.array([[123.68, 116.779, 103.939], [0, 255, 103.939]], np.float32)
    values = RESNET.values(pixels, {"dtype": np.float32, "quantization": (0.0, 0)})
    assert values == pytest.approx(np.array([[0, 0, 0], [-123.68, 138.221, 0]]), abs=1e-4)


@pytest.mark.parametrize(
    ("model_input", "scale", "zero_point", "expected"),
    [
        (RESNET, 1.1, 112, [round(-23.68 / 1.1) + 112, round(83.221 / 1.1) + 112, round(150.061 / 1.1) + 112]),
        (RESNET, 1.0, 112, [88, 195, 255]),  # one step a grey level, but the channels begin at places of their own
        (ModelInput((127.5,), (127.5,)), 2 / 255, 127, [100, 200, 254]),
        (ModelInput((0.0,), (255.0,)), 1 / 255, 0, [100, 200, 254]),
        (ModelInput((0.0,), (255.0,)), 2 / 255, 0, [50, 100, 127]),
    ],
    ids=["channels", "a step a grey level", "pixels", "from 0 to 1", "coarser"],
)
def test_quantised_inputs(model_input: ModelInput, scale: float, zero_point: int, expected: list[int]) -> None:
    values = model_input.values(np.array([100, 200, 254], np.float32), {"dtype": np.uint8, "quantization": (scale, zero_point)})
    assert values.dtype == np.uint8
    assert values.tolist() == expected


def test_the_metadata_says_how_to_normalise(toy_models: Path, tmp_path: Path) -> None:
    plain = (toy_models / "float32.tflite").read_bytes()
    assert find_input(plain, tmp_path) == ModelInput()
    model = written(tmp_path / "halved.tflite", plain, std=255.0)  # white becomes 0.5, which the network scores with 0.75
    best = Detector.load(model)(np.full((10, 10, 3), 255, np.uint8))[0]
    assert best.score == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize("source", ["metadata", "config beside", "config given"])
@pytest.mark.parametrize("kind", ["float32", "uint8", "int8"])
def test_padding(toy_models: Path, tmp_path: Path, source: str, kind: str) -> None:
    """The photo fills the upper half of the 8x8 input: each of the upper boxes covers one half of it, the lower ones see black."""
    content = (toy_models / f"{kind}.tflite").read_bytes()
    model = tmp_path / "model.tflite"
    config = None
    if source == "metadata":
        written(model, content, fitting=PADDED)
        (tmp_path / "pipeline.config").write_text("model { ssd { image_resizer { fixed_shape_resizer { height: 8 width: 8 } } } }")
    else:
        model.write_bytes(content)
        config = tmp_path / ("pipeline.config" if source == "config beside" else "other.config")
        config.write_text(PADDED_CONFIG)
    detector = Detector.load(model, pipeline_config_path=config if source == "config given" else None)
    red, green = detector(halves())
    assert (red.class_id, green.class_id) == (1, 2)
    assert red.box == pytest.approx((0, 0, 20, 20), abs=1e-4)
    assert green.box == pytest.approx((0, 20, 20, 40), abs=1e-4)
    assert red.score == pytest.approx(1.0, abs=2 / 255)


def test_without_metadata_and_config_the_photo_is_stretched(toy_models: Path) -> None:
    assert len(Detector.load(toy_models / "float32.tflite")(halves())) == 4


def test_padding_to_another_size_than_the_input_is_refused(toy_models: Path, tmp_path: Path) -> None:
    model = written(tmp_path / "m.tflite", (toy_models / "float32.tflite").read_bytes(), fitting=KeepAspectRatio(16, 16))
    with pytest.raises(InputError, match=r"m\.tflite: images are to be padded to 16x16 .*image:0 \[1, 8, 8, 3\] float32"):
        Detector.load(model)


def test_a_config_that_cannot_be(toy_models: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.config").write_text(PADDED_CONFIG.replace("min_dimension: 4", "min_dimension: 40"))
    with pytest.raises(InputError, match=r"bad\.config: model\.ssd\.image_resizer\.keep_aspect_ratio_resizer: .*got 40, 8"):
        Detector.load(toy_models / "float32.tflite", pipeline_config_path=tmp_path / "bad.config")


class TestLabels:
    def test_those_that_the_metadata_names(self, toy_models: Path, tmp_path: Path) -> None:
        model = written(tmp_path / "m.tflite", (toy_models / "float32.tflite").read_bytes())
        with zipfile.ZipFile(model, "a") as archive:
            archive.writestr("a_readme.txt", "not\nlabels\n")
        assert find_names(model) == {1: "r", 2: "g", 3: "b"}

    def test_a_text_that_unpacks_to_a_lot_is_refused(self, toy_models: Path, tmp_path: Path) -> None:
        model = tmp_path / "m.tflite"
        model.write_bytes((toy_models / "float32.tflite").read_bytes())
        with zipfile.ZipFile(model, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("labels.txt", "a" * (5 << 20))
        with pytest.raises(InputError, match=r"m\.tflite: its labels \('labels\.txt'\) are more than 1 MiB"):
            find_names(model)

    def test_broken_ones_are_one_line(self, toy_models: Path, tmp_path: Path) -> None:
        model = written(tmp_path / "m.tflite", (toy_models / "float32.tflite").read_bytes())
        model.write_bytes(model.read_bytes().replace(b"r\ng\nb\n", b"r\xffg\nb\n"))
        with pytest.raises(InputError, match=r"m\.tflite: the labels in it cannot be read"):
            find_names(model)
