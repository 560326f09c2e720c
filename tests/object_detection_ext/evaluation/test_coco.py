"""COCO metrics against the original API, the published values of pycocotools' demo, and by hand."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from object_detection_ext.evaluation.coco import (
    CATEGORY_PREFIX,
    METRIC_NAMES,
    CocoEvaluator,
    ImageDetections,
    ImageGroundTruth,
    network_to_pixels,
)
from object_detection_ext.types import Batch, Detections, GroundTruth

# cocodataset/cocoapi, PythonAPI/pycocoEvalDemo.ipynb, bbox. The data at hand are an edition without crowds: only these four are the same.
PUBLISHED = {
    "DetectionBoxes_Precision/mAP@.50IOU": 0.697,
    "DetectionBoxes_Recall/AR@1": 0.387,
    "DetectionBoxes_Recall/AR@10": 0.594,
    "DetectionBoxes_Recall/AR@100": 0.595,
}


@pytest.fixture(scope="module")
def reference(golden: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(golden("coco_metrics.json").read_text())


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def truth(*rows: tuple[float, float, float, float], class_id: int = 1, **kwargs: Any) -> ImageGroundTruth:
    return ImageGroundTruth(boxes(*rows), np.full(len(rows), class_id), **kwargs)


def found(*rows: tuple[float, float, float, float], class_id: int = 1, scores: tuple[float, ...] | None = None) -> ImageDetections:
    return ImageDetections(boxes(*rows), np.full(len(rows), class_id), np.array(scores or [0.9] * len(rows), np.float32))


def pad(rows: list[Any], size: int, width: int = 0) -> np.ndarray:
    padded = np.zeros((size, width) if width else (size,), np.float32)
    if rows:
        padded[: len(rows)] = rows
    return padded


def as_batch(images: list[dict[str, Any]], padded_shape: list[int], source_ids: list[bytes]) -> tuple[Batch, Detections]:
    n, m = 7, 10

    def stack(key: str, size: int, width: int = 0) -> np.ndarray:
        return np.stack([pad(image[key], size, width) for image in images])

    ground_truth = GroundTruth(
        boxes=stack("boxes", n, 4),
        classes=stack("class_ids", n).astype(np.int32) - 1,
        weights=stack("class_ids", n),
        is_crowd=stack("is_crowd", n).astype(bool),
        difficult=np.zeros((len(images), n), bool),
        area=stack("area", n),
        num_boxes=np.array([len(image["boxes"]) for image in images]),
    )
    batch = Batch(
        images=np.zeros((len(images), *padded_shape, 3), np.float32),
        true_shapes=np.array([image["true_shape"] for image in images]),
        ground_truth=ground_truth,
        original_shapes=np.array([image["image_shape"] for image in images]),
        source_ids=np.array(source_ids, object),
    )
    detections = Detections(
        boxes=stack("detection_boxes", m, 4),
        scores=stack("detection_scores", m),
        classes=stack("detection_class_ids", m).astype(np.int32) - 1,
        num_detections=np.array([len(image["detection_boxes"]) for image in images]),
    )
    return batch, detections


def source_ids_in_order(count: int) -> list[bytes]:
    """Source ids whose hashes, which are the API's image ids, rise: the reference numbered its images."""
    ids = [f"{number:03d}".encode() for number in range(count)]
    return sorted(ids, key=lambda source_id: int(tf.strings.to_hash_bucket_fast(source_id, 2**31)))


def reference_evaluator(reference: dict[str, Any], source_id: Callable[[int], bytes]) -> CocoEvaluator:
    evaluator = CocoEvaluator({int(class_id): name for class_id, name in reference["categories"].items()})
    images = reference["images"]
    for start in range(0, len(images), 5):  # the last batch is filled up with an image that must not count
        part = images[start : start + 5]
        filled = part + [images[0]] * (5 - len(part))
        batch, detections = as_batch(filled, reference["padded_shape"], [source_id(start + i) for i in range(5)])
        evaluator.update(batch, detections, num_valid=len(part))
    return evaluator


def test_equals_the_api(reference: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    evaluator = reference_evaluator(reference, source_ids_in_order(25).__getitem__)
    with caplog.at_level(logging.WARNING):
        metrics = evaluator.compute()
    assert {name: metrics[name] for name in METRIC_NAMES} == pytest.approx(reference["metrics"], abs=1e-9)
    assert metrics[CATEGORY_PREFIX + "fish"] == -1  # never annotated
    present = [metrics[CATEGORY_PREFIX + name] for name in ("cat", "dog", "bird")]
    assert np.mean(present) == pytest.approx(metrics["DetectionBoxes_Precision/mAP"], abs=1e-9)
    assert [record.message for record in caplog.records] == [
        "COCO metrics leave out 5 detection boxes with label ids that the label map lacks"
    ]


def test_map_alone_equals_the_api_too(reference: dict[str, Any]) -> None:
    evaluator = reference_evaluator(reference, source_ids_in_order(25).__getitem__)
    assert evaluator.compute_map() == pytest.approx([reference["metrics"][name] for name in METRIC_NAMES[:2]], abs=1e-9)
    nothing = CocoEvaluator({1: "cat"})
    assert nothing.compute_map() == (-1.0, -1.0)
    nothing.add("a", truth((0, 0, 50, 50)), found())
    assert nothing.compute_map() == (0.0, 0.0)


def test_the_order_of_the_images_does_not_matter() -> None:
    hit, miss = (("1", truth((0, 0, 50, 50)), found((0, 0, 50, 50))), ("2", truth(), found((0, 0, 50, 50))))  # of the same score
    values = []
    for images in ((hit, miss), (miss, hit)):
        evaluator = CocoEvaluator({1: "cat"})
        for image in images:
            evaluator.add(*image)
        values.append(evaluator.compute()["DetectionBoxes_Precision/mAP"])
    assert values == [pytest.approx(1.0)] * 2


def test_equal_scores_rank_by_the_hash_of_the_source_id() -> None:
    """FarmHash modulo 2^31 is 920614371 for "a", 1590227222 for "b": of two equal scores that of "a" comes first."""
    values = {}
    for names in ("ab", "ba"):
        evaluator = CocoEvaluator({1: "cat"})
        evaluator.add(names[0], truth((0, 0, 50, 50)), found((0, 0, 50, 50)))
        evaluator.add(names[1], truth(), found((0, 0, 50, 50)))
        values[names] = evaluator.compute()["DetectionBoxes_Precision/mAP"]
    assert values == {"ab": pytest.approx(1.0), "ba": pytest.approx(0.5)}


def test_pixels_equal_the_api(reference: dict[str, Any]) -> None:
    for image in reference["images"]:
        shapes = {"padded_shape": reference["padded_shape"], "true_shape": image["true_shape"], "image_shape": image["image_shape"]}
        for normalised, pixels in (("boxes", "boxes_pixels"), ("detection_boxes", "detection_boxes_pixels")):
            np.testing.assert_allclose(network_to_pixels(boxes(*image[normalised]), **shapes), boxes(*image[pixels]), rtol=1e-6, atol=1e-4)


def test_equals_pycocotools_and_its_published_demo(test_data: Path) -> None:
    ground_truth = json.loads((test_data / "coco_eval" / "gts.json").read_text())
    results = json.loads((test_data / "coco_eval" / "detections.json").read_text())["annotations"]
    evaluator = CocoEvaluator({category["id"]: category["name"] for category in ground_truth["categories"]})

    def corners(annotations: list[dict[str, Any]]) -> np.ndarray:
        xywh = np.array([annotation["bbox"] for annotation in annotations], np.float64).reshape(-1, 4)
        return np.stack([xywh[:, 1], xywh[:, 0], xywh[:, 1] + xywh[:, 3], xywh[:, 0] + xywh[:, 2]], axis=1)

    for image in ground_truth["images"]:
        truths = [annotation for annotation in ground_truth["annotations"] if annotation["image_id"] == image["id"]]
        hits = [detection for detection in results if detection["image_id"] == image["id"]]
        evaluator.add(
            image["id"],
            ImageGroundTruth(
                corners(truths),
                np.array([annotation["category_id"] for annotation in truths]),
                is_crowd=np.array([annotation["iscrowd"] for annotation in truths], bool),
                area=np.array([annotation["area"] for annotation in truths]),
            ),
            ImageDetections(corners(hits), np.array([hit["category_id"] for hit in hits]), np.array([hit["score"] for hit in hits])),
        )
    metrics = evaluator.compute()
    assert {name: round(metrics[name], 3) for name in PUBLISHED} == PUBLISHED

    with contextlib.redirect_stdout(io.StringIO()):  # the same by pycocotools alone, from file to table
        coco = COCO(str(test_data / "coco_eval" / "gts.json"))
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert [metrics[name] for name in METRIC_NAMES] == pytest.approx(evaluation.stats, abs=1e-12)


def test_prints_nothing(reference: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    reference_evaluator(reference, lambda i: f"{i:03d}".encode()).compute()
    assert capsys.readouterr().out == ""


def test_half_of_one_class_by_hand() -> None:
    evaluator = CocoEvaluator({1: "cat", 2: "dog"})
    evaluator.add("a", truth((0, 0, 50, 50), (60, 60, 110, 110)), found((0, 0, 50, 50)))
    metrics = evaluator.compute()
    # recall reaches 0.5 at precision 1: 51 of the 101 recall points
    assert metrics["DetectionBoxes_Precision/mAP"] == pytest.approx(51 / 101)
    assert metrics["DetectionBoxes_Recall/AR@100"] == pytest.approx(0.5)
    assert metrics["DetectionBoxes_Precision/mAP (small)"] == -1
    assert metrics[CATEGORY_PREFIX + "cat"] == pytest.approx(51 / 101)
    assert metrics[CATEGORY_PREFIX + "dog"] == -1


def test_no_detections_is_zero_as_in_the_api(reference: dict[str, Any]) -> None:
    evaluator = CocoEvaluator({1: "cat", 2: "dog"}, include_metrics_per_category=False)
    evaluator.add("a", truth((0, 0, 50, 50)), found())
    assert evaluator.compute() == reference["metrics_without_detections"]


def test_no_ground_truth_at_all_is_minus_one() -> None:
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add("a", truth(), found((0, 0, 50, 50)))
    assert set(evaluator.compute().values()) == {-1.0}


def test_no_image_at_all_is_minus_one() -> None:
    assert set(CocoEvaluator({1: "cat"}).compute().values()) == {-1.0}


def test_false_positives_in_an_image_without_ground_truth_cost_precision() -> None:
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add("a", truth((0, 0, 50, 50)), found((0, 0, 50, 50), scores=(0.5,)))
    evaluator.add("empty", truth(), found((0, 0, 50, 50), scores=(0.9,)))
    assert evaluator.compute()["DetectionBoxes_Precision/mAP"] == pytest.approx(0.5)


def test_a_crowd_is_neither_hit_nor_miss() -> None:
    crowd = ImageGroundTruth(boxes((0, 0, 50, 50), (60, 0, 160, 100)), np.array([1, 1]), is_crowd=np.array([False, True]))
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add("a", crowd, found((0, 0, 50, 50), (60, 0, 110, 50), (70, 10, 120, 60), scores=(0.3, 0.9, 0.8)))
    assert evaluator.compute()["DetectionBoxes_Precision/mAP"] == pytest.approx(1.0)


def test_area_of_the_record_decides_the_size_where_it_is_given() -> None:
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add("mask", truth((0, 0, 50, 50), area=np.array([500.0], np.float32)), found((0, 0, 50, 50)))
    metrics = evaluator.compute()
    assert (metrics["DetectionBoxes_Precision/mAP (small)"], metrics["DetectionBoxes_Precision/mAP (medium)"]) == (pytest.approx(1.0), -1.0)
    evaluator.clear()
    evaluator.add("no area", truth((0, 0, 50, 50), area=np.array([0.0], np.float32)), found((0, 0, 50, 50)))
    metrics = evaluator.compute()
    assert (metrics["DetectionBoxes_Precision/mAP (small)"], metrics["DetectionBoxes_Precision/mAP (medium)"]) == (-1.0, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("source_id", "warning"),
    [
        (b"same", "1 source ids occur more than once among 24 evaluated images ('same': 24 times)"),
        (b"", "24 of 24 evaluated images have no source id"),
    ],
    ids=["doubled", "empty"],
)
def test_source_ids_never_collide(reference: dict[str, Any], caplog: pytest.LogCaptureFixture, source_id: bytes, warning: str) -> None:
    evaluator = reference_evaluator(reference, lambda _: source_id)
    with caplog.at_level(logging.WARNING):
        metrics = evaluator.compute()
    assert metrics["DetectionBoxes_Precision/mAP"] == pytest.approx(reference["metrics"]["DetectionBoxes_Precision/mAP"], abs=1e-9)
    assert any(record.message.startswith(warning) for record in caplog.records)


def test_nan_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add(
        "a", truth((0, 0, 50, 50)), found((0, 0, 50, 50), (0, 0, float("nan"), 50), (0, 0, 9, 9), scores=(0.9, 0.99, float("nan")))
    )
    with caplog.at_level(logging.WARNING):
        metrics = evaluator.compute()
    assert metrics["DetectionBoxes_Precision/mAP"] == pytest.approx(1.0)
    assert "leave out 2 detection boxes with NaN or infinite numbers" in caplog.text


def test_classes_of_the_same_name_stay_apart() -> None:
    evaluator = CocoEvaluator({1: "cat", 2: "cat"})
    evaluator.add("a", truth((0, 0, 50, 50), class_id=2), found((0, 0, 50, 50), class_id=2))
    metrics = evaluator.compute()
    assert (metrics[CATEGORY_PREFIX + "cat (1)"], metrics[CATEGORY_PREFIX + "cat (2)"]) == (-1.0, pytest.approx(1.0))


def test_compute_twice_and_after_more_images() -> None:
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add("a", truth((0, 0, 50, 50)), found((0, 0, 50, 50)))
    assert evaluator.compute() == evaluator.compute()
    evaluator.add("b", truth((0, 0, 50, 50)), found())
    assert evaluator.compute()["DetectionBoxes_Recall/AR@100"] == pytest.approx(0.5)


def test_needs_categories() -> None:
    with pytest.raises(ValueError, match="at least one label id"):
        CocoEvaluator({})
