"""`Detector.load(path)(image)`: the same call for a checkpoint, a SavedModel and a `.tflite`.

detector = Detector.load("runs/quickstart/model_int8.tflite")
for detection in detector("photo.jpg", score_threshold=0.5):
    print(detection.label, detection.score, detection.box)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from export.quiet import quiet_tensorflow
from object_detection_ext.errors import InputError
from pipelines.image_files import read_image
from pipelines.model_labels import find_names
from pipelines.model_runners import Runner, TfliteRunner, checkpoint_runner, saved_model_runner

if TYPE_CHECKING:
    from pipelines.image_files import ImageSource

    PathLike = str | os.PathLike[str]


class Detection(NamedTuple):
    """One object found."""

    box: tuple[float, float, float, float]  # y_min, x_min, y_max, x_max in pixels of the upright image, inside of it
    class_id: int  # label id, from 1
    label: str
    score: float  # 0 to 1


@dataclass(frozen=True)
class Detector:
    """A loaded model.

    Attributes:
        runner: the model itself.
        names: label id to name; an id without a name is called `class_<id>`.
    """

    runner: Runner
    names: Mapping[int, str] = field(default_factory=dict)

    @staticmethod
    def load(path: PathLike, *, pipeline_config_path: PathLike | None = None, label_map: PathLike | None = None) -> Detector:
        """Loads a model of any of the three kinds.

        Args:
            path: a `.tflite`; a SavedModel folder, or the output folder of `exporter_main_v2.py` around it; a folder of checkpoints
                (the newest counts) or a checkpoint's prefix such as `model_dir/ckpt-1200`, ours or the API's; a frozen graph of the API.
            pipeline_config_path: for a checkpoint or frozen graph, if there is no `pipeline.config` beside it or in the folder above.
            label_map: label map or text file with one name a line; needed only where the model's own is not found.

        Raises:
            InputError: there is no such model, or it is not a detector; says what was found.
        """
        given_config = None if pipeline_config_path is None else Path(pipeline_config_path)
        if given_config is not None and not given_config.is_file():
            raise InputError(f"pipeline config {given_config} does not exist")
        given_map = None if label_map is None else Path(label_map)
        model = _locate(Path(path))
        config = given_config or _config_near(model)
        names = find_names(model, config=config, label_map=given_map)
        if model.suffix == ".tflite":
            return Detector(TfliteRunner(model, config), names)
        quiet_tensorflow()
        if (model / "saved_model.pb").is_file():
            return Detector(saved_model_runner(model), names)
        return Detector(_load_checkpoint(model, config), names)

    def __call__(self, image: ImageSource, *, score_threshold: float = 0.0, max_detections: int = 100) -> list[Detection]:
        """Finds objects.

        Args:
            image: a file, a Pillow image, or pixels `[H, W, 3]` uint8 RGB.
            score_threshold: detections with a lower score are left out.
            max_detections: at most so many, the best.

        Returns:
            Best first.

        Raises:
            InputError: the image cannot be read.
        """
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        raw = self.runner(pixels)
        boxes = np.clip(raw.boxes.astype(np.float64), 0.0, 1.0) * [height, width, height, width]
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # false for NaN
        kept = np.flatnonzero(has_area & (raw.scores >= score_threshold))
        best = kept[np.argsort(-raw.scores[kept], kind="stable")][:max_detections]
        return [_detection(boxes[i], int(raw.class_ids[i]), self.names, score=float(raw.scores[i])) for i in best]


def _detection(box: np.ndarray, class_id: int, names: Mapping[int, str], *, score: float) -> Detection:
    y_min, x_min, y_max, x_max = box.tolist()
    return Detection((y_min, x_min, y_max, x_max), class_id, names.get(class_id, f"class_{class_id}"), score)


def _locate(path: Path) -> Path:
    """The `.tflite` file, the folder of saved_model.pb, the folder of checkpoints or the prefix that `path` means."""
    if path.is_file():
        if path.suffix == ".tflite":
            return path
        if path.name == "saved_model.pb":
            return path.parent
        if path.suffix == ".pb":  # a frozen graph, whose weights go into the config's network
            return path
        if path.suffix == ".index":
            return path.with_suffix("")
        if path.name == "checkpoint":
            return path.parent
        raise InputError(f"{path} is not a model that can be run here: expected a .tflite file, a SavedModel folder or a checkpoint")
    if path.is_dir():
        for folder in (path, path / "saved_model"):
            if (folder / "saved_model.pb").is_file():
                return folder
        for folder in (path, path / "checkpoint"):
            if any(folder.glob("*.index")):
                return folder
        raise InputError(
            f"no model in folder {path}: {_contents(path)} (expected saved_model.pb or checkpoints; a .tflite is given by its name)"
        )
    if Path(f"{path}.index").is_file():
        return path
    raise InputError(
        f"model {path} does not exist (expected a .tflite file, a SavedModel folder, a folder of checkpoints or model_dir/ckpt-<step>)"
    )


def _contents(folder: Path, limit: int = 6) -> str:
    entries = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    if not entries:
        return "it is empty"
    return f"it holds {', '.join(entries[:limit])}" + (f" and {len(entries) - limit} more" if len(entries) > limit else "")


def _config_near(model: Path) -> Path | None:
    """The pipeline.config in the model's folder or in the one above."""
    folder = model if model.is_dir() else model.parent
    return next((path for path in (folder / "pipeline.config", folder.parent / "pipeline.config") if path.is_file()), None)


def _load_checkpoint(model: Path, config: Path | None) -> Runner:
    if config is None:
        raise InputError(f"{model}: no pipeline.config beside this checkpoint; give --pipeline_config_path")
    from export.model import load_trained_model

    return checkpoint_runner(load_trained_model(config, model).detector)
