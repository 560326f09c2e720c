"""The stages of an autopsy that need no network: records, classes, resizing, target assignment, evaluation, NMS, box codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.diagnosis.image_scores import Found, Score, Truth, found_of, score_images, truths_of
from object_detection_ext.diagnosis.stage import Outcome, Stage
from object_detection_ext.diagnosis.truth_probe import ProbedBatch, TruthProbe
from object_detection_ext.types import Batch, Detections

_LARGEST_SHARE = 2.0  # a coordinate above it is no share of an image any more
_ALMOST_ONE = 0.9999
_USABLE = 0.5  # below it, a share or an mAP of perfect predictions means that training cannot work
_TINY = 4.0  # pixels of the network's input


@dataclass
class TruthTally:
    """What the ground truth of a few images goes through, batch by batch; everything numpy, images excepted in sums only."""

    probe: TruthProbe
    truths: list[Truth] = field(default_factory=list)
    carried: list[np.ndarray] = field(default_factory=list)  # [N] bool an image
    survives: list[np.ndarray] = field(default_factory=list)
    after_nms: list[Found] = field(default_factory=list)
    decoded: list[Found] = field(default_factory=list)
    all_together: list[Found] = field(default_factory=list)
    sides: list[np.ndarray] = field(default_factory=list)  # [N] pixels of the network's input
    num_positives: int = 0
    lowest: float = np.inf  # of the network's input
    highest: float = -np.inf
    is_finite: bool = True

    def add(self, batch: Batch) -> None:
        """Adds a batch of tensors."""
        arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), batch)
        probed, truths = self.probe(batch), truths_of(arrays)
        self._add_inputs(arrays)
        self.num_positives += int(probed.num_positives.sum())
        self.after_nms += found_of(arrays, probed.after_nms)
        self.all_together += [_certain(found) for found in found_of(arrays, probed.all_together)]
        self.decoded += self._decoded(arrays, probed)
        counts = arrays.ground_truth.num_boxes
        self.carried += [flags[:count] for flags, count in zip(probed.is_carried, counts, strict=True)]
        self.survives += [flags[:count] for flags, count in zip(probed.survives_nms, counts, strict=True)]
        self.truths += truths

    def _add_inputs(self, batch: Batch) -> None:
        self.is_finite &= bool(np.isfinite(batch.images).all())
        self.lowest, self.highest = min(self.lowest, float(batch.images.min())), max(self.highest, float(batch.images.max()))
        pixels = np.asarray(batch.images.shape[1:3], np.float32)
        for boxes, count in zip(batch.ground_truth.boxes, batch.ground_truth.num_boxes, strict=True):
            self.sides.append(np.sqrt(np.maximum((boxes[:count, 2:] - boxes[:count, :2]) * pixels, 0.0).prod(axis=1)))

    def _decoded(self, batch: Batch, probed: ProbedBatch) -> list[Found]:
        """The decoded boxes of carried objects that are no crowds, as certain detections."""
        truth = batch.ground_truth
        taken = probed.is_carried & ~truth.is_crowd
        order = np.argsort(~taken, axis=1, kind="stable")
        as_detections = Detections(
            np.take_along_axis(probed.decoded, order[..., np.newaxis], axis=1),
            np.ones(taken.shape, np.float32),
            np.take_along_axis(truth.classes, order, axis=1),
            taken.sum(axis=1),
        )
        return found_of(batch, as_detections)


def class_stage(truths: Sequence[Truth], categories: Mapping[int, str], *, label_map: LabelMap | None, train_map: LabelMap | None) -> Stage:
    """Whether the label map names the classes of the ground truth, and whether training calls them the same."""
    counts = np.bincount(np.concatenate([truth.class_ids for truth in truths]).astype(int))
    seen = np.flatnonzero(counts).tolist()
    unnamed = [class_id for class_id in seen if class_id not in categories]
    if unnamed:
        return Stage("classes", Outcome.BROKEN, f"the label map lacks the ids {_listed(unnamed)} of the ground truth", _SAME_MAP)
    different = _different_names(label_map, train_map)
    if different:
        return Stage("classes", Outcome.BROKEN, f"the label maps of training and evaluation differ: {different}", _SAME_MAP)
    missing = [name for class_id, name in categories.items() if class_id not in seen]
    found = ", ".join(f"{categories[class_id]} {counts[class_id]:,}" for class_id in seen[:6]) + (" ..." if len(seen) > 6 else "")
    without = f"; none of {_listed(missing)}" if missing else ""
    return Stage("classes", Outcome.NOTE if missing else Outcome.OK, f"{len(seen)} classes: {found}{without}")


def box_stage(truths: Sequence[Truth], *, num_files: int) -> Stage:
    """Whether there are boxes, and whether they are shares of the image."""
    boxes = np.concatenate([truth.boxes for truth in truths])
    name = "records"
    if not len(boxes):
        message = f"none of {len(truths)} images has a ground-truth box"
        return Stage(name, Outcome.BROKEN, message, "name records with annotations in eval_input_reader")
    large = np.abs(boxes).max(axis=1) > _LARGEST_SHARE
    if large.mean() > _USABLE:
        message = f"{large.sum():,} of {len(boxes):,} boxes reach to {np.abs(boxes).max():,.0f}: pixels, where shares of the image belong"
        return Stage(name, Outcome.BROKEN, message, "divide the boxes by the image's height and width when the records are written")
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if empty.mean() > _USABLE:
        message = f"{empty.sum():,} of {len(boxes):,} boxes have no area"
        return Stage(name, Outcome.BROKEN, message, "look at how the records were written: ymin, xmin, ymax, xmax in [0, 1]")
    without = sum(not len(truth.boxes) for truth in truths)
    negatives = f", {without:,} without objects" if without else ""
    return Stage(name, Outcome.OK, f"{len(truths):,} images of {_files(num_files)} decode{negatives}; {len(boxes):,} objects")


def resize_stage(tally: TruthTally) -> Stage:
    """Whether images and boxes arrive at the network's input."""
    sides = np.concatenate(tally.sides)
    values = f"input from {tally.lowest:.3g} to {tally.highest:.3g}"
    if not tally.is_finite:
        return Stage("resize", Outcome.BROKEN, "the network's input holds NaN or infinite numbers", "look at image_resizer and the images")
    if tally.highest - tally.lowest < 1e-6:
        return Stage("resize", Outcome.BROKEN, f"every pixel of the network's input is {tally.lowest:.3g}", "look at the images")
    tiny = float((sides < _TINY).mean())
    message = f"{values}; objects are {np.median(sides):.0f} pixels large in the median, {tiny:.1%} below {_TINY:.0f}"
    if tiny > _USABLE:
        return Stage("resize", Outcome.BROKEN, message, "make the input larger (image_resizer), or cut the images into tiles")
    return Stage("resize", Outcome.OK, message)


def assignment_stage(tally: TruthTally) -> Stage:
    """Whether ground truth finds anchors."""
    anchors = tally.probe.detector.anchors
    carried = np.concatenate(tally.carried)
    lost = int((~carried).sum())
    message = f"{tally.num_positives:,} positive anchors for {len(carried):,} objects; {lost:,} objects have none"
    if np.abs(anchors).max() > 10 * _LARGEST_SHARE:
        advice = "the anchors are in pixels, the ground truth is not: set normalize_coordinates: true in multiscale_anchor_generator"
        return Stage("assignment", Outcome.BROKEN, f"{message}; anchors reach to {np.abs(anchors).max():,.0f}", advice)
    if carried.mean() >= _USABLE:
        return Stage("assignment", Outcome.NOTE if lost else Outcome.OK, message)
    if tally.probe.assigner.matcher.force_match_for_each_row:
        advice = "look at the weights of the objects (image/object/weight): boxes of weight 0 claim no anchor"
    else:
        advice = "fit the anchors (--anchor_patch), lower matched_threshold, or set force_match_for_each_row: true"
    return Stage("assignment", Outcome.BROKEN, message, advice)


def evaluation_stage(truths: Sequence[Truth], categories: Mapping[int, str]) -> Stage:
    """Ground truth as its own detections: 1.0, or the evaluation is broken. Crowds are not predicted, as no detector is asked to."""
    score = score_images(truths, [_as_found(truth, ~truth.is_crowd) for truth in truths], categories)
    crowds = sum(int(truth.is_crowd.sum()) for truth in truths)
    left_out = f"; {crowds:,} crowds left out" if crowds else ""
    message = f"ground truth as detections scores mAP {score.map:.3f}{left_out}"
    if score.map >= _ALMOST_ONE:
        return Stage("evaluation", Outcome.OK, message)
    most = max(len(truth.boxes) for truth in truths)
    if most > 100 and score.map >= _USABLE:
        return Stage("evaluation", Outcome.NOTE, f"{message}: an image has {most} objects, and COCO counts 100 detections an image")
    advice = "look at the records: boxes without area, or class ids that the label map lacks, can never be found"
    return Stage("evaluation", Outcome.BROKEN if score.map < _USABLE else Outcome.NOTE, message, advice)


def nms_stage(tally: TruthTally, categories: Mapping[int, str]) -> Stage:
    """What non-maximum suppression and its limits take from boxes that are all right."""
    truths, post = tally.truths, tally.probe.detector.postprocessing
    lost = sum(int((~survives & ~truth.is_crowd).sum()) for survives, truth in zip(tally.survives, truths, strict=True))
    total = sum(int((~truth.is_crowd).sum()) for truth in truths)
    score = score_images(truths, [_certain(found) for found in tally.after_nms], categories)
    message = f"ground truth through NMS scores mAP {score.map:.3f}; it and its limits lose {lost:,} of {total:,} objects"
    if score.map < _USABLE:
        advice = (
            f"look at batch_non_max_suppression: score_threshold {post.score_threshold:g}, iou_threshold {post.iou_threshold:g}, "
            f"max_detections_per_class {post.max_detections_per_class}, max_total_detections {post.max_total_detections}"
        )
        return Stage("NMS", Outcome.BROKEN, message, advice)
    return Stage("NMS", Outcome.NOTE if lost else Outcome.OK, message)


def code_stage(tally: TruthTally, categories: Mapping[int, str]) -> Stage:
    """Whether a box that is encoded on its anchor comes back; objects without an anchor are not asked for."""
    asked = [_ignoring(truth, ~carried) for truth, carried in zip(tally.truths, tally.carried, strict=True)]
    score = score_images(asked, tally.decoded, categories)
    message = f"boxes encoded on their anchors and decoded score mAP {score.map:.3f}, objects without an anchor left out"
    if score.map >= 0.99:
        return Stage("box codes", Outcome.OK, message)
    advice = "look at box_coder and box_encodings_clip_range: they cannot express these boxes"
    return Stage("box codes", Outcome.BROKEN if score.map < _USABLE else Outcome.NOTE, message, advice)


def ceiling_stage(tally: TruthTally, categories: Mapping[int, str]) -> tuple[Stage, Score]:
    """Perfect predictions on all matched anchors, through everything that follows: the most that any weights can reach here."""
    score = score_images(tally.truths, tally.all_together, categories)
    message = f"perfect predictions on all matched anchors score mAP {score.map:.3f}: the most that any weights can reach"
    if score.map >= _USABLE:
        return Stage("all together", Outcome.OK if score.map >= _ALMOST_ONE else Outcome.NOTE, message), score
    return Stage("all together", Outcome.BROKEN, message, "look at score_converter, logit_scale and batch_non_max_suppression"), score


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _as_found(truth: Truth, is_taken: np.ndarray) -> Found:
    return Found(truth.boxes[is_taken], truth.class_ids[is_taken], np.ones(int(is_taken.sum()), np.float32))


def _ignoring(truth: Truth, is_ignored: np.ndarray) -> Truth:
    """The evaluator asks for no crowd, and what lies in one does not count as wrong."""
    return truth._replace(is_crowd=truth.is_crowd | is_ignored)


def _certain(found: Found) -> Found:
    """Without the anchors that say "nothing", which a low score threshold lets through."""
    kept = found.scores > 0.5
    return Found(found.boxes[kept], found.class_ids[kept], found.scores[kept])


def _different_names(label_map: LabelMap | None, train_map: LabelMap | None) -> str:
    if label_map is None or train_map is None:
        return ""
    ours, theirs = ({item.id: item.name for item in each.items} for each in (label_map, train_map))
    different = [key for key in sorted(ours.keys() & theirs.keys()) if ours[key] != theirs[key]]
    return _listed(f"id {key} is {theirs[key]} in training, {ours[key]} here" for key in different)


def _listed(items: Iterable[object], limit: int = 5) -> str:
    texts = [str(item) for item in items]
    return ", ".join(texts[:limit]) + (f" and {len(texts) - limit} more" if len(texts) > limit else "")


_SAME_MAP = "use one label map for both, and convert the records again with --label_map"
