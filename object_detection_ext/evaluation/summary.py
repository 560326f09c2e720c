"""COCO metrics for people: a table, and hints when the mAP is zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask

from object_detection_ext.evaluation.coco import CATEGORY_PREFIX, METRIC_NAMES, CocoEvaluator

_ROWS = (  # title, then the metric of each column: all, small, medium, large
    ("AP  IoU .50:.95", (0, 3, 4, 5)),
    ("AP  IoU .50", (1,)),
    ("AP  IoU .75", (2,)),
    ("AR    1 detection", (6,)),
    ("AR   10 detections", (7,)),
    ("AR  100 detections", (8, 9, 10, 11)),
)
_TITLE_WIDTH, _NUMBER_WIDTH = 20, 8


def format_metrics(metrics: Mapping[str, float]) -> str:
    """A table of the twelve COCO numbers and, where given, AP per class; `-` where there is nothing to measure."""
    lines = [" " * _TITLE_WIDTH + "".join(f"{column:>{_NUMBER_WIDTH}}" for column in ("all", "small", "medium", "large"))]
    for title, indices in _ROWS:
        lines.append(f"{title:<{_TITLE_WIDTH}}" + "".join(_number(metrics[METRIC_NAMES[index]]) for index in indices))
    categories = {key.removeprefix(CATEGORY_PREFIX): value for key, value in metrics.items() if key.startswith(CATEGORY_PREFIX)}
    if categories:
        width = max(_TITLE_WIDTH, *(len(name) + 4 for name in categories))
        lines += ["", "AP  IoU .50:.95 per class"]
        lines += [f"    {name:<{width - 4}}{_number(value)}" for name, value in categories.items()]
    return "\n".join(lines)


def explain_zero(evaluator: CocoEvaluator) -> list[str]:
    """Why the mAP may be (almost) zero: one line a cause, most fundamental first; empty where no cause is seen."""
    if not evaluator.num_images:
        return ["no image was evaluated"]
    if not evaluator.ground_truths:
        return [f"the {evaluator.num_images} evaluated images have no ground-truth box of a class in the label map"]
    if not evaluator.detections:
        return [f"the model found nothing in {evaluator.num_images} images: no score above the score threshold of its post-processing"]
    hints = []
    best_score = max(detection["score"] for detection in evaluator.detections)
    if best_score < 0.1:
        hints.append(f"the best score of all detections is {best_score:.3f}: the model has hardly learnt, or its weights were not loaded")
    annotated, detected = _names(evaluator, evaluator.ground_truths), _names(evaluator, evaluator.detections)
    if not set(annotated) & set(detected):
        hints.append(f"annotated classes ({_listed(annotated)}) and detected classes ({_listed(detected)}) have nothing in common")
    same_class, any_class = _best_iou(evaluator, by_class=True), _best_iou(evaluator, by_class=False)
    if any_class < 0.5:
        hints.append(
            f"no detection overlaps a ground-truth box with IoU 0.5 (best: {any_class:.2f}): boxes or image sizes may not fit together"
        )
    elif same_class < 0.5:
        hints.append(
            f"boxes fit (best IoU {any_class:.2f}) but with the wrong classes (best IoU of the right class: {same_class:.2f}): label map?"
        )
    return hints


def _number(value: float) -> str:
    return f"{'-' if value == -1 else f'{value:.3f}':>{_NUMBER_WIDTH}}"


def _names(evaluator: CocoEvaluator, annotations: Sequence[Mapping[str, Any]]) -> list[str]:
    return [evaluator.categories[class_id] for class_id in sorted({annotation["category_id"] for annotation in annotations})]


def _listed(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _best_iou(evaluator: CocoEvaluator, *, by_class: bool) -> float:
    def key(annotation: Mapping[str, Any]) -> tuple[int, int]:
        return annotation["image_id"], annotation["category_id"] if by_class else 0

    truths = defaultdict(list)
    for annotation in evaluator.ground_truths:
        truths[key(annotation)].append(annotation)
    found = defaultdict(list)
    for detection in evaluator.detections:
        found[key(detection)].append(detection["bbox"])
    best = 0.0
    for group in truths.keys() & found.keys():
        boxes = np.array([annotation["bbox"] for annotation in truths[group]])
        best = max(best, float(np.max(mask.iou(np.array(found[group]), boxes, [a["iscrowd"] for a in truths[group]]))))
    return best
