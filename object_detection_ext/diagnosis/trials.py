"""Predictions of a checkpoint, judged as they are and turned around in every way that a wrong pipeline turns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from object_detection_ext.diagnosis.image_scores import Found, Score, Truth, score_images
from object_detection_ext.diagnosis.stage import Outcome, Stage

AS_THEY_ARE = "as they are"
CLASSES_IGNORED = "classes ignored"

LEARNT = 0.1  # mAP@.5 from which a checkpoint has learnt something
_CLEARLY_BETTER = 2.0  # times as good as the predictions as they are

_MATCH_IOU = 0.5
_MAX_PAIRS = 50  # detections of an image that say how classes are confused


class Trial(NamedTuple):
    """One way to read the predictions, and what it scores."""

    name: str
    score: Score
    advice: str = ""  # what to do, if this trial is the one that works; empty for trials that only describe


class _Turn(NamedTuple):
    name: str
    advice: str
    apply: Callable[[Found], Found]


def run_trials(truths: Sequence[Truth], found: Sequence[Found], categories: Mapping[int, str]) -> list[Trial]:
    """Trials on final detections, the first of them "as they are": class ids moved and permuted, boxes turned around."""
    trials = [Trial(AS_THEY_ARE, score_images(truths, found, categories))]
    for turn in (*_class_turns(truths, found, categories), *_BOX_TURNS):
        turned = [turn.apply(each) for each in found]
        trials.append(Trial(turn.name, score_images(truths, turned, categories), turn.advice))
    trials.append(Trial(CLASSES_IGNORED, _ignoring_classes(truths, found)))
    return trials


def explaining_trial(trials: Sequence[Trial]) -> Trial | None:
    """The reading that is clearly better than the config's own, the first of `trials`; None where there is none."""
    own = trials[0].score.map_50
    best = max((trial for trial in trials[1:] if trial.advice), key=lambda trial: trial.score.map_50)
    return best if best.score.map_50 >= max(_CLEARLY_BETTER * own, own + LEARNT) else None


def prediction_stage(trials: Sequence[Trial]) -> Stage:
    """What the trials say: one reading is clearly better than the config's own, or none is."""
    own, best = trials[0].score, explaining_trial(trials)
    if best is not None:
        message = f"mAP {own.map:.3f} {AS_THEY_ARE}, {best.score.map:.3f} with {best.name}"
        return Stage("predictions", Outcome.BROKEN, message, best.advice)
    message = f"mAP {own.map:.3f}, mAP@.5 {own.map_50:.3f} {AS_THEY_ARE}, and no other reading is clearly better"
    if own.map_50 >= LEARNT:
        return Stage("predictions", Outcome.OK, message)
    ignored = next(trial.score for trial in trials if trial.name == CLASSES_IGNORED)
    if ignored.map_50 >= own.map_50 + LEARNT:
        advice = "boxes are found, their classes are not: look at the labels in the records, and whether the classes can be told apart"
        return Stage("predictions", Outcome.BROKEN, f"{message}; mAP@.5 {ignored.map_50:.3f} with {CLASSES_IGNORED}", advice)
    advice = "the network has not learnt yet: look at the loss over the steps, the learning rate, and what it started from"
    return Stage("predictions", Outcome.BROKEN, message, advice)


def format_trials(trials: Sequence[Trial]) -> str:
    """A small table; empty without trials."""
    if not trials:
        return ""
    width = max(len(trial.name) for trial in trials)
    rows = [f"{'trial':<{width}}     mAP  mAP@.5"]
    return "\n".join(rows + [f"{trial.name:<{width}}{_number(trial.score.map)}{_number(trial.score.map_50)}" for trial in trials])


def best_class_mapping(truths: Sequence[Truth], found: Sequence[Found], categories: Mapping[int, str]) -> dict[int, int]:
    """Detected class id -> class of the ground truth, each used once, that agree best of all pairings; ids without any overlap stay out.

    A pair counts the scores of its detections with an IoU of 0.5 or more, and the sum over all pairs is as large as can be: pairing the
    largest first gives way where two classes are often taken for the same third one.
    """
    from scipy.optimize import linear_sum_assignment  # half a second, only for an autopsy

    confusion = np.zeros((_num_ids(found, categories),) * 2)  # detected, true
    for truth, each in zip(truths, found, strict=True):
        if not len(truth.boxes) or not len(each.boxes):
            continue
        ious = _iou(each.boxes[:_MAX_PAIRS], truth.boxes)
        best = ious.argmax(axis=1)
        fits = (ious.max(axis=1) >= _MATCH_IOU) & ~truth.is_crowd[best]
        np.add.at(confusion, (each.class_ids[:_MAX_PAIRS][fits], truth.class_ids[best[fits]]), each.scores[:_MAX_PAIRS][fits])
    pairs = zip(*linear_sum_assignment(confusion, maximize=True), strict=True)
    return {int(detected): int(true) for detected, true in pairs if confusion[detected, true] > 0}


def _class_turns(truths: Sequence[Truth], found: Sequence[Found], categories: Mapping[int, str]) -> list[_Turn]:
    turns = [
        _Turn("class ids + 1", _SHIFTED.format("too low", "below"), lambda each: each._replace(class_ids=each.class_ids + 1)),
        _Turn("class ids - 1", _SHIFTED.format("too high", "above"), lambda each: each._replace(class_ids=each.class_ids - 1)),
    ]
    mapping = best_class_mapping(truths, found, categories)
    if any(detected != true for detected, true in mapping.items()):
        table = np.array([mapping.get(class_id, -1) for class_id in range(_num_ids(found, categories))])
        named = [f"{categories.get(a, a)} is called {categories.get(b, b)}" for b, a in sorted(mapping.items()) if a != b]
        advice = f"the label map of training had another order ({', '.join(named[:4])}): train again, or use that label map here"
        turns.append(_Turn("class ids permuted", advice, lambda each: each._replace(class_ids=table[each.class_ids])))
    return turns


def _num_ids(found: Sequence[Found], categories: Mapping[int, str]) -> int:
    """One more than the highest class id there is."""
    return max([*categories, *(int(each.class_ids.max(initial=0)) for each in found)]) + 1


def _ignoring_classes(truths: Sequence[Truth], found: Sequence[Found]) -> Score:
    one = [truth._replace(class_ids=np.ones_like(truth.class_ids)) for truth in truths]
    return score_images(one, [each._replace(class_ids=np.ones_like(each.class_ids)) for each in found], {1: "object"})


def _boxes(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Found], Found]:
    return lambda each: each._replace(boxes=change(each.boxes))


def _number(value: float) -> str:
    return f"{value:>8.3f}"


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`[M, 4], [N, 4] -> [M, N]`."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    overlap = np.maximum(high - low, 0.0).prod(axis=-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=-1) for each in (boxes, others)]
    return overlap / np.maximum(areas[0][:, np.newaxis] + areas[1] - overlap, 1e-12)


_SHIFTED = "predicted class ids are {} by one: in training the label map numbered the classes one {} this one; use one map for both"
_MIRRORED = "ground truth and images are mirrored against each other: a flip moved only one of them (EXIF orientation, or augmentation)"
_SWAPPED = "the records hold x where y belongs: write ymin, xmin, ymax, xmax"


def _flipped(boxes: np.ndarray, *, rows: bool = False, columns: bool = False) -> np.ndarray:
    y_min, x_min, y_max, x_max = boxes.T
    y_min, y_max = (1 - y_max, 1 - y_min) if rows else (y_min, y_max)
    x_min, x_max = (1 - x_max, 1 - x_min) if columns else (x_min, x_max)
    return np.stack([y_min, x_min, y_max, x_max], axis=1)


_BOX_TURNS = (
    _Turn("x and y swapped", _SWAPPED, _boxes(lambda boxes: boxes[:, [1, 0, 3, 2]])),
    _Turn("mirrored left-right", _MIRRORED, _boxes(lambda boxes: _flipped(boxes, columns=True))),
    _Turn("mirrored up-down", _MIRRORED, _boxes(lambda boxes: _flipped(boxes, rows=True))),
    _Turn("turned by 180 degrees", _MIRRORED, _boxes(lambda boxes: _flipped(boxes, rows=True, columns=True))),
)
