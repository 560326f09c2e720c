"""The command: pictures, JSON, and what is said about wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError
from pipelines.detect import main, plan, save_detection_grid
from pipelines.detector import Detector

ROOT = Path(__file__).parents[2]


def command(*arguments: object) -> int:
    return run(lambda: main([str(argument) for argument in arguments]))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """000012.png with a red top left quarter and a half blue bottom right one, black.jpg, broken.jpg."""
    folder = tmp_path / "photos"
    folder.mkdir()
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :40, 0], image[30:, 40:, 2] = 255, 115  # a score of 0.45: in the JSON, not drawn
    Image.fromarray(image).save(folder / "000012.png")
    Image.fromarray(image * 0).save(folder / "black.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("red\ngreen\nblue\n")
    return path


def test_pictures_json_and_lines(toy_models: Path, photos: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, results = tmp_path / "out", tmp_path / "deep" / "results.json"
    code = command(
        *("--model", toy_models / "float32.tflite", "--images", photos, "--output_dir", out, "--json", results, "--label_map", labels)
    )
    printed = capsys.readouterr()
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["000012.png", "black.jpg"]
    red, blue = json.loads(results.read_text())
    assert red == {"image_id": 12, "category_id": 1, "bbox": [0, 0, 40, 30], "score": 1.0}
    assert (blue["image_id"], blue["category_id"], blue["bbox"]) == (12, 3, [40, 30, 40, 30])
    assert blue["score"] == pytest.approx(115 / 255, abs=1e-4)
    assert "[1/3]" in printed.out
    assert "000012.png: 1 object (1 red), " in printed.out
    assert "black.jpg: 0 objects, " in printed.out
    assert "1 objects with a score of 0.5 or more in 2 images, 1 skipped" in printed.out
    assert f"skipped {photos / 'broken.jpg'}: not an image" in printed.err
    picture = np.array(Image.open(out / "000012.png"))
    assert picture.shape == (60, 80, 3)
    assert (picture[29, 20] != [255, 0, 0]).any()  # the frame around red
    assert picture[58, 60].tolist() == [0, 0, 115]  # blue is below the threshold


def test_threshold_and_max_detections(toy_models: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--model", toy_models / "uint8.tflite", "--images", photos / "000012.png", "--output_dir", tmp_path / "out")
    assert command(*arguments, "--score_threshold", "0.4") == 0
    printed = capsys.readouterr()
    assert "2 objects (1 class_1, 1 class_3)" in printed.out
    assert "no class names found" in printed.err
    assert command(*arguments, "--score_threshold", "0.4", "--max_detections", 1, "--json", tmp_path / "r.json") == 0
    assert len(json.loads((tmp_path / "r.json").read_text())) == 1


def test_no_image_can_be_read(toy_models: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = command(
        *("--model", toy_models / "float32.tflite", "--images", photos / "broken.jpg", "--output_dir", tmp_path / "out"),
        *("--json", tmp_path / "r.json"),
    )
    assert code == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: none of the 1 images could be read"
    assert not (tmp_path / "r.json").exists()


def test_photos_are_never_overwritten(toy_models: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    (tmp_path / "link").symlink_to(photos)
    for folder in (photos, tmp_path / "link"):
        assert command("--model", toy_models / "float32.tflite", "--images", photos, "--output_dir", folder) == 1
        assert "would overwrite the image" in capsys.readouterr().err
    code = command(
        *("--model", toy_models / "float32.tflite", "--images", photos, "--output_dir", tmp_path / "o", "--json", photos / "black.jpg")
    )
    assert code == 1
    assert "would overwrite that image" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--images", "x.jpg", "--output_dir", "o"], 2, "--model"),
        (["--model", "m", "--images", "x.jpg", "--output_dir", "o", "--score_threshold", "2"], 2, "must be between 0 and 1, got 2"),
        (["--model", "m", "--images", "x.jpg", "--output_dir", "o", "--max_detections", "0"], 2, "must be a whole number from 1, got '0'"),
        (["--model", "m", "--images", "x.jpg", "--output_dir", "o"], 1, "error: no image matches x.jpg"),
        (["--model", "m", "--images", __file__, "--output_dir", "o"], 1, "error: model m does not exist"),
    ],
    ids=["no model", "threshold", "max detections", "no image", "no such model"],
)
def test_wrong_arguments(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        result = command(*arguments)
    except SystemExit as stopped:
        result = stopped.code
    assert result == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


class TestPlan:
    def test_same_names_get_pictures_and_ids_of_their_own(self, tmp_path: Path) -> None:
        images = [Path("a/7.jpg"), Path("b/7.jpg"), Path("b/007.png"), Path("c/8.webp"), Path("c/cat.jpg")]
        jobs = plan(images, tmp_path)
        assert [job.picture.name for job in jobs] == ["7.jpg", "7-2.jpg", "007.png", "8.png", "cat.jpg"]
        assert [job.image_id for job in jobs] == ["a/7.jpg", "b/7.jpg", "b/007.png", 8, "cat"]

    def test_a_picture_of_another_image_s_name(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"a\.png would overwrite the image"):
            plan([tmp_path / "a.webp", tmp_path / "a.png"], tmp_path)


def test_grid(toy_models: Path, photos: Path, tmp_path: Path) -> None:
    detector = Detector.load(toy_models / "float32.tflite")
    images = [photos / "000012.png", photos / "black.jpg"]
    save_detection_grid(detector, images, tmp_path / "deep" / "grid.png", columns=2, cell_size=160)
    grid = np.array(Image.open(tmp_path / "deep" / "grid.png"))
    assert grid.shape == (6 + 120 + 6, 6 + 160 + 6 + 160 + 6, 3)
    assert grid[40, 46].tolist()[0] > 200  # red inside its frame
    assert (grid[66 - 1, 40] != grid[40, 46]).any()  # the frame's lower edge


def test_help_is_quick() -> None:
    start = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipelines.detect", "--help"],
        check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert time.perf_counter() - start < 5  # a shared machine; what is imported is the point
    assert "--score_threshold" in shown.stdout
    for module in ("numpy", "PIL", "tensorflow"):
        assert f"| {module}\n" not in shown.stderr
