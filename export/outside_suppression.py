"""Detections from a `.tflite` without suppression: what `postprocessing.json` beside it says is done here, with the project's own parts."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from export.flavours import OUTPUTS, Flavour
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

    from object_detection_ext.postprocess import PostProcessing
    from object_detection_ext.targets.box_coder import BoxCoder
    from object_detection_ext.types import Detections

FILE_NAME = "postprocessing.json"
_MOST = 100_000  # of any number of detections


class Suppressed(NamedTuple):
    """What is left of one image's boxes, best first."""

    boxes: np.ndarray  # [M, 4] float32, normalised to the input
    class_indices: np.ndarray  # [M] int, from 0
    scores: np.ndarray  # [M] float32


@dataclass(frozen=True)
class OutsideSuppression:
    """Decodes, where the file does not, and suppresses.

    Attributes:
        anchors: [A, 4] float32, y_min, x_min, y_max, x_max, normalised.
        box_coder: None for `decoded`.
    """

    anchors: np.ndarray
    box_coder: BoxCoder | None
    suppression: PostProcessing

    def __call__(self, boxes: np.ndarray, scores: np.ndarray) -> Suppressed:
        """[1, A, 4] box encodings or boxes, [1, A, K] scores."""
        found = self.of_batch(boxes, scores)
        count = int(found.num_detections[0])
        return Suppressed(*(rows[0, :count].numpy() for rows in (found.boxes, found.classes, found.scores)))

    def of_batch(self, boxes: np.ndarray | tf.Tensor, scores: np.ndarray | tf.Tensor) -> Detections:
        """[B, A, 4] box encodings or boxes, [B, A, K] scores."""
        import tensorflow as tf

        decoded = tf.convert_to_tensor(boxes)
        if self.box_coder is not None:
            decoded = self.box_coder.decode(decoded, tf.constant(self.anchors))
        return self.suppression(decoded, tf.convert_to_tensor(scores))


def flavour_by_names(names: list[str]) -> Flavour | None:
    """`raw` or `decoded`, if the outputs are called so."""
    return next((flavour for flavour in ("raw", "decoded") if set(OUTPUTS[flavour]) <= set(names)), None)


def load_outside_suppression(model: Path, flavour: Flavour, *, num_anchors: int) -> OutsideSuppression:
    """What the JSON beside a model says.

    Raises:
        InputError: there is none, or it is broken or of another model.
    """
    path = model.parent / FILE_NAME
    if not path.is_file():
        raise InputError(f"{model} leaves {_left(flavour)} to its user: {FILE_NAME}, which export.tflite writes, must be beside it")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        anchors, coder = _anchors(settings["anchors"]), _coder(settings["box_coder"])
        suppression = _suppression(settings["non_max_suppression"])
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not what export.tflite writes: {type(error).__name__} {str(error).splitlines()[0][:200]}") from error
    if len(anchors) != num_anchors:
        raise InputError(f"{path} has {len(anchors)} anchors, {model} gives {num_anchors} boxes: one is of another model")
    return OutsideSuppression(anchors, coder if flavour == "raw" else None, suppression)


def _left(flavour: Flavour) -> str:
    return "decoding and suppression" if flavour == "raw" else "suppression"


def _anchors(rows: Any) -> np.ndarray:
    """Centres and sizes -> corners."""
    values = np.array(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != 4 or not np.isfinite(values).all():
        raise ValueError("anchors must be rows of four finite numbers")
    centers, halves = values[:, :2], values[:, 2:] / 2.0
    return np.concatenate([centers - halves, centers + halves], axis=1).astype(np.float32)


def _coder(given: dict[str, Any]) -> BoxCoder:
    from object_detection_ext.targets import box_coder

    coders = {each.__name__: each for each in (box_coder.FasterRcnnBoxCoder, box_coder.MeanStddevBoxCoder, box_coder.SquareBoxCoder)}
    return _filled(coders[given["type"]], {name: value for name, value in given.items() if name != "type"})


def _suppression(given: dict[str, Any]) -> PostProcessing:
    from object_detection_ext.postprocess import PostProcessing

    settings = _filled(PostProcessing, given)
    if settings.score_converter != "identity":
        raise ValueError("score_converter must be identity")
    return settings


def _filled(kind: Any, given: dict[str, Any]) -> Any:
    """A dataclass whose fields have the types of their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    for name, value in given.items():
        default = defaults[name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        fits = is_number if isinstance(default, float) else type(value) is type(default)
        if not fits or (is_number and abs(value) > _MOST):
            raise ValueError(f"{name} is {value!r}")
    return kind(**given)
