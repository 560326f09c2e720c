"""COCO detection metrics: `pycocotools` does the counting, this file brings boxes into its frame and names the numbers.

Frame: pixels of the stored image, `[y_min, x_min, y_max, x_max]`, label ids (1-based). Metric definitions: Lin et al., "Microsoft COCO" and
https://cocodataset.org/#detection-eval. A metric without any ground truth to measure (no small objects, say) is -1, as in pycocotools.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from object_detection_ext.types import Batch, Detections

_log = logging.getLogger(__name__)

METRIC_NAMES = (  # in the order of COCOeval.stats
    "DetectionBoxes_Precision/mAP",
    "DetectionBoxes_Precision/mAP@.50IOU",
    "DetectionBoxes_Precision/mAP@.75IOU",
    "DetectionBoxes_Precision/mAP (small)",
    "DetectionBoxes_Precision/mAP (medium)",
    "DetectionBoxes_Precision/mAP (large)",
    "DetectionBoxes_Recall/AR@1",
    "DetectionBoxes_Recall/AR@10",
    "DetectionBoxes_Recall/AR@100",
    "DetectionBoxes_Recall/AR@100 (small)",
    "DetectionBoxes_Recall/AR@100 (medium)",
    "DetectionBoxes_Recall/AR@100 (large)",
)
CATEGORY_PREFIX = "DetectionBoxes_PerformanceByCategory/mAP/"
_NUM_HASHES = 2**31  # FarmHash of the source id, to a positive int32


class ImageGroundTruth(NamedTuple):
    """What was annotated in one image."""

    boxes: np.ndarray  # [N, 4] float32, pixels
    class_ids: np.ndarray  # [N] int, label ids
    is_crowd: np.ndarray | None = None  # [N] bool; None: no crowds
    area: np.ndarray | None = None  # [N] float32, pixels; None or a value <= 0: the box's own area


class ImageDetections(NamedTuple):
    """What was found in one image."""

    boxes: np.ndarray  # [M, 4] float32, pixels
    class_ids: np.ndarray  # [M] int, label ids
    scores: np.ndarray  # [M] float32


class CocoEvaluator:
    """Collects images and computes the twelve COCO numbers and AP per class.

    Args:
        categories: label id to name. Boxes of other ids are left out, ground truth and detections alike.
        include_metrics_per_category: also AP per class, as `DetectionBoxes_PerformanceByCategory/mAP/<name>`.
    """

    def __init__(self, categories: Mapping[int, str], *, include_metrics_per_category: bool = True) -> None:
        if not categories:
            raise ValueError("categories must hold at least one label id, got none")
        self.categories = dict(sorted(categories.items()))
        self.include_metrics_per_category = include_metrics_per_category
        self.clear()

    def clear(self) -> None:
        """Forgets all images."""
        self.num_images = 0
        self.ground_truths: list[dict[str, Any]] = []  # COCO annotations; image_id is the image's number from 1
        self.detections: list[dict[str, Any]] = []
        self._source_ids: list[str | int] = []
        self._num_left_out: Counter[str] = Counter()

    def update(self, batch: Batch, detections: Detections, *, num_valid: int | None = None) -> None:
        """Adds a batch; both arguments hold numpy arrays (of `batch.images` only the shape is read).

        Args:
            batch: as the input pipeline yields it; ground truth in the padded input frame.
            detections: in the padded input frame, classes 0-based.
            num_valid: images of the batch that count; the rest fill up a last, incomplete batch.
        """
        padded_shape = tuple(batch.images.shape)[1:3]
        ground_truth = batch.ground_truth
        source_ids: list[bytes] = np.asarray(batch.source_ids).tolist()
        for i in range(len(source_ids) if num_valid is None else num_valid):
            to_pixels = {"padded_shape": padded_shape, "true_shape": batch.true_shapes[i], "image_shape": batch.original_shapes[i]}
            n, m = int(ground_truth.num_boxes[i]), int(detections.num_detections[i])
            self.add(
                source_ids[i],
                ImageGroundTruth(
                    boxes=network_to_pixels(np.asarray(ground_truth.boxes[i][:n]), **to_pixels),
                    class_ids=np.asarray(ground_truth.classes[i][:n]) + 1,
                    is_crowd=np.asarray(ground_truth.is_crowd[i][:n]),
                    area=np.asarray(ground_truth.area[i][:n]),
                ),
                ImageDetections(
                    boxes=network_to_pixels(np.asarray(detections.boxes[i][:m]), **to_pixels),
                    class_ids=np.asarray(detections.classes[i][:m]) + 1,
                    scores=np.asarray(detections.scores[i][:m]),
                ),
            )

    def add(self, source_id: str | bytes | int, ground_truth: ImageGroundTruth, detections: ImageDetections) -> None:
        """Adds one image, in pixels. Every call is an image of its own, whatever its `source_id`; doubled ids are warned about.

        A number is taken as COCO's image id.
        """
        self.num_images += 1
        self._source_ids.append(source_id.decode(errors="replace") if isinstance(source_id, bytes) else source_id)
        self._add_ground_truth(ground_truth)
        self._add_detections(detections)

    def compute(self) -> dict[str, float]:
        """The metrics of all images so far, by the API's names; -1 where there is nothing to measure.

        pycocotools ranks equal scores of different images by image id. The API's image id is a hash of the source id, and so it is here: a
        network that has learnt little gives many equal scores, and their order moves an AP by some 1e-4.
        """
        evaluation = self._coco_evaluation()
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress and a table
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        metrics = {name: float(value) for name, value in zip(METRIC_NAMES, evaluation.stats, strict=True)}
        if self.include_metrics_per_category:
            metrics |= self._metrics_per_category(evaluation.eval["precision"])
        return metrics

    def compute_map(self) -> tuple[float, float]:
        """mAP and mAP@.50IOU alone, the first two of `compute`: a quarter of the work, without the sizes."""
        evaluation = self._coco_evaluation()
        params = evaluation.params
        params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], params.maxDets[-1:]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
        precision = evaluation.eval["precision"]  # [thresholds, recalls, K, 1, 1]
        means = [values[values > -1].mean() if (values > -1).any() else -1.0 for values in (precision, precision[0])]
        return float(means[0]), float(means[1])

    def _coco_evaluation(self) -> COCOeval:
        self._warn()
        rank = self._ranks()
        ground_truths = [{**annotation, "image_id": rank[annotation["image_id"] - 1]} for annotation in self.ground_truths]
        detections = [
            {**detection, "id": n, "image_id": rank[detection["image_id"] - 1], "iscrowd": 0}
            for n, detection in enumerate(self.detections, start=1)
        ]
        images = [{"id": image_id} for image_id in range(1, self.num_images + 1)]
        categories = [{"id": class_id, "name": name} for class_id, name in self.categories.items()]
        with contextlib.redirect_stdout(io.StringIO()):
            return COCOeval(_coco(images, categories, ground_truths), _coco(images, categories, detections), iouType="bbox")

    def _add_ground_truth(self, ground_truth: ImageGroundTruth) -> None:
        boxes = _coco_boxes(ground_truth.boxes)
        given = np.zeros(len(boxes)) if ground_truth.area is None else np.asarray(ground_truth.area)
        is_crowd = np.zeros(len(boxes), bool) if ground_truth.is_crowd is None else np.asarray(ground_truth.is_crowd)
        area = np.where(given > 0, given, boxes[:, 2] * boxes[:, 3])
        for i in self._kept("ground truth", np.asarray(ground_truth.class_ids), np.column_stack([boxes, area])):
            self.ground_truths.append(
                {
                    "id": len(self.ground_truths) + 1,  # pycocotools takes id 0 for "no match"
                    "image_id": self.num_images,
                    "category_id": int(ground_truth.class_ids[i]),
                    "bbox": boxes[i].tolist(),
                    "area": float(area[i]),
                    "iscrowd": int(is_crowd[i]),
                }
            )

    def _add_detections(self, detections: ImageDetections) -> None:
        boxes = _coco_boxes(detections.boxes).astype(np.float64)
        class_ids, scores = np.asarray(detections.class_ids), np.asarray(detections.scores, np.float64)
        kept = self._kept("detection", class_ids, np.column_stack([boxes, scores]))
        areas = boxes[:, 2] * boxes[:, 3]
        columns = (class_ids[kept].tolist(), boxes[kept].tolist(), scores[kept].tolist(), areas[kept].tolist())
        for class_id, box, score, area in zip(*columns, strict=True):
            self.detections.append({"image_id": self.num_images, "category_id": int(class_id), "bbox": box, "score": score, "area": area})

    def _kept(self, kind: str, class_ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Indices of the boxes that can be counted; the others are remembered for a warning. `numbers`: [N, any] per box."""
        is_known = np.isin(class_ids, list(self.categories))
        is_finite = np.isfinite(numbers).all(axis=1)
        self._num_left_out[f"{kind} boxes with label ids that the label map lacks"] += int((~is_known).sum())
        self._num_left_out[f"{kind} boxes with NaN or infinite numbers"] += int((is_known & ~is_finite).sum())
        return np.flatnonzero(is_known & is_finite)

    def _warn(self) -> None:
        doubled = {source_id: count for source_id, count in Counter(self._source_ids).items() if count > 1}
        if "" in doubled:
            _log.warning("%d of %d evaluated images have no source id", doubled.pop(""), self.num_images)
        if doubled:
            source_id, count = max(doubled.items(), key=lambda item: item[1])
            _log.warning(
                "%d source ids occur more than once among %d evaluated images (%r: %d times); each counts as an image of its own",
                *(len(doubled), self.num_images, source_id, count),
            )
        for what, count in self._num_left_out.items():
            if count:
                _log.warning("COCO metrics leave out %d %s", count, what)

    def _ranks(self) -> list[int]:
        """Per image its place, from 1, in the order of the API's image ids."""
        import tensorflow as tf  # the rest of this file counts without it

        texts = tf.constant([source_id for source_id in self._source_ids if isinstance(source_id, str)], tf.string)
        hashes = iter(tf.strings.to_hash_bucket_fast(texts, _NUM_HASHES).numpy().tolist())
        keys = [next(hashes) if isinstance(source_id, str) else source_id for source_id in self._source_ids]
        ranks = [0] * len(keys)
        for rank, index in enumerate(sorted(range(len(keys)), key=lambda i: keys[i]), start=1):
            ranks[index] = rank
        return ranks

    def _metrics_per_category(self, precision: np.ndarray) -> dict[str, float]:
        """AP over all IoU thresholds, all areas and 100 detections; precision: [thresholds, recalls, K, areas, max detections]."""
        num_of_name = Counter(self.categories.values())
        metrics: dict[str, float] = {}
        for k, (class_id, name) in enumerate(self.categories.items()):
            values = precision[:, :, k, 0, -1]
            values = values[values > -1]
            unique_name = name if num_of_name[name] == 1 else f"{name} ({class_id})"
            metrics[CATEGORY_PREFIX + unique_name] = float(values.mean()) if values.size else -1.0
        return metrics


def network_to_pixels(
    boxes: np.ndarray,
    *,
    padded_shape: Sequence[int] | np.ndarray,
    true_shape: Sequence[int] | np.ndarray,
    image_shape: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """Boxes of the padded network input, normalised, in pixels of the stored image.

    The content lies at the top left of the padded input. Steps and float32 rounding are the API's (`change_coordinate_frame`, then
    `to_absolute_coordinates`), so that areas at the bounds of small, medium and large fall on the same side.

    Args:
        boxes: `[..., 4]` float32.
        padded_shape: height and width of the network input.
        true_shape: height and width of the content inside it.
        image_shape: height and width of the stored image.

    Returns:
        `[..., 4]` float32.
    """
    window = np.asarray(true_shape, np.float32)[:2] / np.asarray(padded_shape, np.float32)[:2]
    to_content = np.tile(np.float32(1.0) / window, 2)
    return boxes.astype(np.float32) * to_content * np.tile(np.asarray(image_shape, np.float32)[:2], 2)


def _coco_boxes(boxes: np.ndarray) -> np.ndarray:
    """`[N, 4]` `[y_min, x_min, y_max, x_max]` to `[x, y, width, height]`, in the dtype given."""
    boxes = np.asarray(boxes).reshape(-1, 4)
    y_min, x_min, y_max, x_max = boxes.T
    return np.stack([x_min, y_min, x_max - x_min, y_max - y_min], axis=1)


def _coco(images: list[Any], categories: list[Any], annotations: list[Any]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
