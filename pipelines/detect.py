"""Finds objects in photos, a video or a camera's picture and shows them: boxes, labels and scores, and a COCO results list."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from object_detection_ext.command_line import natural_int, positive_int, run
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipelines.detector import Detection, Detector


class DetectOptions(NamedTuple):
    """What the command line says."""

    model: str
    images: Sequence[str] | None  # None with a video or camera
    output_dir: str
    json: str | None = None
    pipeline_config_path: str | None = None
    label_map: str | None = None
    score_threshold: float = 0.5
    max_detections: int = 100
    video: str | None = None
    camera: int | None = None
    max_frames: int | None = None


class _Job(NamedTuple):
    image: Path
    picture: Path  # to be written
    image_id: int | str  # in the COCO results


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.detect", description=__doc__)
    parser.add_argument(
        "--model", required=True, help="a .tflite, a SavedModel folder, a folder of checkpoints or one checkpoint (DIR/ckpt-1200)"
    )
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--images", nargs="+", metavar="PATH", help="files, folders or globs ('photos/**/*.jpg')")
    sources.add_argument("--video", metavar="FILE", help="a video; the one with boxes and the frame rate is written to --output_dir")
    sources.add_argument("--camera", type=natural_int, metavar="N", help="number of a camera (0), until Ctrl-C or --max_frames")
    parser.add_argument("--max_frames", type=positive_int, metavar="N", help="of --video or --camera, no more than so many frames")
    parser.add_argument("--output_dir", required=True, help="folder for the pictures, named as the photos; not the folder of the photos")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="all detections as a COCO results list; image_id is the file name without suffix, a number if it is one, or the frame, from 0",
    )
    parser.add_argument("--pipeline_config_path", metavar="F", help="for a checkpoint without pipeline.config beside it")
    parser.add_argument("--label_map", metavar="F", help="label map, or one name a line; needed only where the model's own is not found")
    parser.add_argument(
        "--score_threshold",
        type=_share,
        default=0.5,
        metavar="S",
        help="draw detections from this score on (%(default)s); --json holds all",
    )
    parser.add_argument(
        "--max_detections", type=positive_int, default=100, metavar="N", help="at most so many per image, the best (%(default)s)"
    )
    return detect(DetectOptions(**vars(parser.parse_args(argv))))


def detect(options: DetectOptions) -> int:
    """Runs the command and returns its exit code.

    Raises:
        InputError: no image, video, camera or model, a picture would overwrite a photo, or no photo could be read.
    """
    from pipelines.detector import Detector
    from pipelines.image_files import find_images

    if options.images is None:
        from pipelines.detect_video import detect_video

        return detect_video(options)
    if options.max_frames is not None:
        raise InputError("--max_frames goes with --video or --camera")
    jobs = plan(find_images(options.images), Path(options.output_dir), json_file=Path(options.json) if options.json else None)
    detector = Detector.load(options.model, pipeline_config_path=options.pipeline_config_path, label_map=options.label_map)
    if not detector.names:
        print("no class names found for this model: classes are shown as class_<id> (give --label_map)", file=sys.stderr)
    Path(options.output_dir).mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    num_read, num_drawn = 0, 0
    for number, job in enumerate(_with_progress(jobs), start=1):
        try:
            detections, milliseconds = _detect_one(detector, job, options)
        except InputError as error:
            print(f"skipped {error}", file=sys.stderr)
            continue
        num_read += 1
        drawn = [detection for detection in detections if detection.score >= options.score_threshold]
        num_drawn += len(drawn)
        print(f"[{number}/{len(jobs)}] {job.image}: {_count(drawn)}, {milliseconds:.1f} ms", flush=True)
        results += coco_results(detections, job.image_id)
    if not num_read:
        raise InputError(f"none of the {len(jobs)} images could be read")
    if options.json:
        write_json(results, Path(options.json))
    skipped = f", {len(jobs) - num_read} skipped" if num_read < len(jobs) else ""
    print(f"{num_drawn} objects with a score of {options.score_threshold:g} or more in {num_read} images{skipped}: {options.output_dir}")
    return 0


def coco_results(detections: Iterable[Detection], image_id: int | str) -> list[dict[str, Any]]:
    """Detections of one image as entries of a COCO results list: `bbox` is [x, y, width, height] in pixels, `category_id` the label id."""
    results = []
    for detection in detections:
        y_min, x_min, y_max, x_max = detection.box
        bbox = [round(value, 3) for value in (x_min, y_min, x_max - x_min, y_max - y_min)]
        results.append({"image_id": image_id, "category_id": detection.class_id, "bbox": bbox, "score": round(detection.score, 5)})
    return results


def draw_detections(image: np.ndarray, detections: Sequence[Detection], *, min_score: float = 0.0) -> np.ndarray:
    """A copy of the image, `[H, W, 3]` uint8, with its detections."""
    import numpy as np

    from object_detection_ext.drawing import draw_boxes

    return draw_boxes(
        image,
        np.array([detection.box for detection in detections]),
        class_ids=[detection.class_id for detection in detections],
        names={detection.class_id: detection.label for detection in detections},
        scores=[detection.score for detection in detections],
        min_score=min_score,
    )


def save_detection_grid(
    detector: Detector, images: Sequence[Path], output: Path, *, columns: int = 4, score_threshold: float = 0.5, cell_size: int = 320
) -> None:
    """Writes one picture (PNG or JPEG, by its suffix) of several images with their detections.

    Raises:
        InputError: an image cannot be read.
    """
    import numpy as np
    from PIL import Image

    from object_detection_ext.drawing import picture_grid
    from pipelines.image_files import read_image, save_picture

    pictures = []
    for path in images:
        pixels = read_image(path)
        detections = detector(pixels, score_threshold=score_threshold)
        scale = cell_size / max(pixels.shape[:2])  # drawn at the final size: text of small images stays sharp
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        small = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
        y_scale, x_scale = size[1] / pixels.shape[0], size[0] / pixels.shape[1]
        scaled = [_scaled(detection, y_scale, x_scale) for detection in detections]
        pictures.append(draw_detections(np.array(small), scaled))
    output.parent.mkdir(parents=True, exist_ok=True)
    save_picture(picture_grid(pictures, columns, cell_size=cell_size), output)


def plan(images: Sequence[Path], output_dir: Path, *, json_file: Path | None = None) -> list[_Job]:
    """Where each picture goes and how its image is called in the JSON.

    Raises:
        InputError: a picture or the JSON would overwrite an image.
    """
    inputs = {image.resolve() for image in images}
    ids = [int(image.stem) if image.stem.isdecimal() else image.stem for image in images]
    num_of_id = Counter(ids)
    taken: set[Path] = set()
    jobs = []
    for image, image_id in zip(images, ids, strict=True):
        picture = _free_name(output_dir, image, taken)
        taken.add(picture)
        if picture.resolve() in inputs:
            raise InputError(f"--output_dir {output_dir}: {picture.name} would overwrite the image {image}; choose another folder")
        jobs.append(_Job(image, picture, image_id if num_of_id[image_id] == 1 else image.as_posix()))
    if json_file is not None and json_file.resolve() in inputs:
        raise InputError(f"--json {json_file} would overwrite that image")
    return jobs


def _detect_one(detector: Detector, job: _Job, options: DetectOptions) -> tuple[list[Detection], float]:
    """The detections and the milliseconds that the model took, resizing included; also writes the picture."""
    from pipelines.image_files import read_image, save_picture

    pixels = read_image(job.image)
    start = time.perf_counter()
    detections = detector(pixels, max_detections=options.max_detections)
    milliseconds = (time.perf_counter() - start) * 1000
    save_picture(draw_detections(pixels, detections, min_score=options.score_threshold), job.picture)
    return detections, milliseconds


def _with_progress(jobs: Sequence[_Job]) -> Iterator[_Job]:
    """A bar on stderr, unless the lines of the images show the progress on a terminal already."""
    from data_tools.progress import progress

    return iter(jobs) if sys.stdout.isatty() else progress(jobs, total=len(jobs), label="detect")


def _free_name(output_dir: Path, image: Path, taken: set[Path]) -> Path:
    suffix = image.suffix if image.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
    picture, number = output_dir / f"{image.stem}{suffix}", 2
    while picture in taken:
        picture, number = output_dir / f"{image.stem}-{number}{suffix}", number + 1
    return picture


def _count(detections: Sequence[Detection]) -> str:
    counts = Counter(detection.label for detection in detections)
    classes = ", ".join(f"{count} {label}" for label, count in counts.most_common())
    return f"{len(detections)} object{'' if len(detections) == 1 else 's'}" + (f" ({classes})" if classes else "")


def _scaled(detection: Detection, y_scale: float, x_scale: float) -> Detection:
    y_min, x_min, y_max, x_max = detection.box
    return detection._replace(box=(y_min * y_scale, x_min * x_scale, y_max * y_scale, x_max * x_scale))


def write_json(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes a COCO results list, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_text(json.dumps(results) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(run(main))
