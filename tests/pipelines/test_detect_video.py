"""`pipelines.detect` on a video made here, and what is said where there is no video or camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from object_detection_ext.command_line import run
from pipelines.detect import main
from pipelines.detect_video import draw_frame_rate

cv2 = pytest.importorskip("cv2")

NUM_FRAMES, RATE, HEIGHT, WIDTH = 5, 12.0, 120, 160


def command(*arguments: object) -> int:
    return run(lambda: main([str(argument) for argument in arguments]))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """clip.avi: the upper left quarter is red in the frames 0, 2 and 4; else all is black."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (WIDTH, HEIGHT))
    for index in range(NUM_FRAMES):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if index % 2 == 0:
            frame[: HEIGHT // 2, : WIDTH // 2, 2] = 255  # OpenCV's order is blue, green, red
        writer.write(frame)
    writer.release()
    return path


def read(path: Path) -> tuple[list[np.ndarray], float]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (answer := capture.read())[0]:
        frames.append(answer[1][..., ::-1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_every_frame_has_its_boxes_and_the_rate(toy_models: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    code = command(
        *("--model", toy_models / "float32.tflite", "--video", video, "--output_dir", tmp_path / "out", "--json", results),
        *("--score_threshold", "0.4"),
    )
    assert code == 0
    found = json.loads(results.read_text())
    assert [(entry["image_id"], entry["category_id"]) for entry in found] == [(0, 1), (2, 1), (4, 1)]
    assert all(entry["bbox"] == [0, 0, WIDTH / 2, HEIGHT / 2] for entry in found)
    assert "5 frames, " in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]
    frames, rate = read(tmp_path / "out" / "clip.mp4")
    assert (len(frames), rate, frames[0].shape) == (NUM_FRAMES, RATE, (HEIGHT, WIDTH, 3))
    assert frames[1][:15, :40].max() > 150  # the rate, white on black, in a frame that is black elsewhere
    assert frames[1][20:, 60:].max() < 60
    assert frames[0][30, 40, 0] > 180  # red


def test_max_frames(toy_models: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--model", toy_models / "float32.tflite", "--output_dir", tmp_path / "out", "--max_frames", 2)
    assert command(*arguments, "--video", video) == 0
    assert "2 frames, " in capsys.readouterr().out
    assert command(*arguments, "--images", video) == 1
    assert "--max_frames goes with --video or --camera" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--video", "missing.mp4"], 1, "error: --video missing.mp4 does not exist"),
        (["--video", "text.mp4"], 1, "error: --video text.mp4: not a video, or of a format that OpenCV does not read"),
        (["--camera", "97"], 1, "error: --camera 97: there is no such camera, or another program has it"),
        (["--camera", "-1"], 2, "must be a whole number from 0"),
        (["--camera", "0", "--video", "text.mp4"], 2, "not allowed with argument"),
        ([], 2, "one of the arguments --images --video --camera is required"),
    ],
    ids=["missing", "no video", "no camera", "negative", "both", "neither"],
)
def test_one_line_for_a_mistake(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    try:
        result = command("--model", "m.tflite", "--output_dir", "out", *arguments)
    except SystemExit as stopped:
        result = stopped.code
    assert result == code
    printed = capfd.readouterr().err
    assert message in printed
    assert code == 2 or printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_video_is_never_overwritten(toy_models: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--model", toy_models / "float32.tflite", "--video", video, "--output_dir", tmp_path / "o") == 0
    written = tmp_path / "o" / "clip.mp4"
    before = written.read_bytes()
    assert command("--model", toy_models / "float32.tflite", "--video", written, "--output_dir", tmp_path / "o") == 1
    assert "clip.mp4 would overwrite the video" in capsys.readouterr().err
    assert written.read_bytes() == before


def test_the_rate_stands_in_the_corner() -> None:
    image = np.full((100, 200, 3), 128, np.uint8)
    picture = draw_frame_rate(image, 23.46)
    changed = np.argwhere((picture != image).any(axis=-1))
    assert (image == 128).all()
    assert changed.min(axis=0).tolist() == [0, 0] and (changed.max(axis=0) < [20, 80]).all()
