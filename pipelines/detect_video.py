"""Finds objects in each frame of a video or camera, and writes a video with the boxes and the frame rate on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_tools.progress import progress
from export.quiet import native_output_hidden
from object_detection_ext.errors import InputError
from pipelines.detect import DetectOptions, coco_results, draw_detections, write_json
from pipelines.detector import Detector

if TYPE_CHECKING:
    import cv2

_USUAL_RATE = 30.0  # frames a second of a video or camera that does not say
_SMOOTHING = 0.9  # of the frame rate shown: what the past keeps with every frame


def detect_video(options: DetectOptions) -> int:
    """Runs `pipelines.detect` on a video or camera and returns its exit code.

    Raises:
        InputError: no such video or camera, no model, no OpenCV, or no frame could be read.
    """
    source, name = _source(options)
    output = Path(options.output_dir) / f"{name}.mp4"
    if isinstance(source, Path) and output.resolve() == source.resolve():
        raise InputError(f"--output_dir {options.output_dir}: {output.name} would overwrite the video; choose another folder")
    with _opened(source) as capture:
        detector = Detector.load(options.model, pipeline_config_path=options.pipeline_config_path, label_map=options.label_map)
        if not detector.names:
            print("no class names found for this model: classes are shown as class_<id> (give --label_map)", file=sys.stderr)
        output.parent.mkdir(parents=True, exist_ok=True)
        results, rate = _run(detector, capture, output, options=options)
    if options.json:
        write_json([entry for frame in results for entry in frame], Path(options.json))
    shown = sum(entry["score"] >= options.score_threshold for frame in results for entry in frame)
    print(f"{len(results)} frames, {rate:.1f} a second, {shown} objects with a score of {options.score_threshold:g} or more: {output}")
    return 0


def draw_frame_rate(image: np.ndarray, frames_per_second: float) -> np.ndarray:
    """A copy of the image, `[H, W, 3]` uint8, with the rate on a dark plate in its upper left corner."""
    picture = Image.fromarray(image)
    canvas, text = ImageDraw.Draw(picture), f"{frames_per_second:.1f} fps"
    font = ImageFont.load_default(max(10, round(max(picture.size) / 36)))
    left, _, right, bottom = canvas.textbbox((4, 2), text, font)
    canvas.rectangle((0, 0, right + left, bottom + 2), fill="black")
    canvas.text((left, 2), text, fill="white", font=font)
    return np.array(picture)


def _run(
    detector: Detector, capture: cv2.VideoCapture, output: Path, *, options: DetectOptions
) -> tuple[list[list[dict[str, Any]]], float]:
    """The detections of each frame and the frames a second, all that is done for one included; Ctrl-C ends it early."""
    results: list[list[dict[str, Any]]] = []
    shown_rate, start = 0.0, time.perf_counter()
    last = start
    with _writer(output, capture) as write:
        try:
            for frame in _frames(capture, options.max_frames):
                detections = detector(frame, max_detections=options.max_detections)
                results.append(coco_results(detections, len(results)))
                now = time.perf_counter()
                rate, last = 1 / max(now - last, 1e-9), now
                shown_rate = rate if not shown_rate else _SMOOTHING * shown_rate + (1 - _SMOOTHING) * rate
                write(draw_frame_rate(draw_detections(frame, detections, min_score=options.score_threshold), shown_rate))
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
        if not results:
            raise InputError(f"{options.video or f'camera {options.camera}'}: no frame could be read")
    return results, len(results) / max(time.perf_counter() - start, 1e-9)


def _source(options: DetectOptions) -> tuple[Path | int, str]:
    """What OpenCV opens, and the name of the video written."""
    if options.camera is not None:
        return options.camera, f"camera_{options.camera}"
    path = Path(options.video or "")
    if not path.is_file():
        raise InputError(f"--video {path} does not exist")
    return path, path.stem


@contextmanager
def _opened(source: Path | int) -> Iterator[cv2.VideoCapture]:
    try:
        import cv2
    except ImportError as error:
        raise InputError(f"videos and cameras need OpenCV (pip install opencv-python-headless): {error}") from error
    with native_output_hidden():  # it warns of each way in that it tries
        capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    try:
        if not capture.isOpened():
            if isinstance(source, int):
                found = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
                raise InputError(
                    f"--camera {source}: there is no such camera, or another program has it (cameras of this machine: {found})"
                )
            raise InputError(f"--video {source}: not a video, or of a format that OpenCV does not read")
        yield capture
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, max_frames: int | None) -> Iterator[np.ndarray]:
    """`[H, W, 3]` uint8 RGB each, upright."""
    import cv2

    def read() -> Iterator[np.ndarray]:
        count = 0
        while max_frames is None or count < max_frames:
            with native_output_hidden():  # decoders complain of what they mend
                is_read, frame = capture.read()
            if not is_read:
                return
            count += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    total = min(count for count in (told if told > 0 else None, max_frames, sys.maxsize) if count is not None)
    return progress(read(), total=total, label="detect", unit="frames") if total < sys.maxsize else read()


@contextmanager
def _writer(output: Path, capture: cv2.VideoCapture) -> Iterator[Any]:
    """A function that writes a frame `[H, W, 3]` uint8 RGB; the file appears at the end, whole or not at all."""
    import cv2

    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 1 <= rate <= 1000 else _USUAL_RATE  # also false for NaN
    temporary = output.with_name(f".{os.getpid()}.{output.name}")
    writer: cv2.VideoWriter | None = None

    def write(frame: np.ndarray) -> None:
        nonlocal writer
        if writer is None:
            with native_output_hidden():
                writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, (frame.shape[1], frame.shape[0]))
            if not writer.isOpened():
                raise InputError(f"{output} cannot be written: OpenCV has no encoder for it")
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    try:
        yield write
        if writer is not None:
            writer.release()
            temporary.replace(output)
    finally:
        if writer is not None:
            writer.release()
        temporary.unlink(missing_ok=True)
