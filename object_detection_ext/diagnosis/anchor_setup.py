"""From a config to what anchor coverage needs: grids, input size, and the frame in which anchors meet boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tf_keras

from object_detection_ext.builders.anchor_generator import AnchorGenerator, build_anchor_generator
from object_detection_ext.builders.detector import FIELD
from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.builders.image_resizer import build_image_resizer
from object_detection_ext.builders.matcher import build_matcher
from object_detection_ext.config import Config
from object_detection_ext.data.resize import ImageResizer, KeepAspectRatioResizer
from object_detection_ext.diagnosis.anchor_coverage import AnchorCoverage, measure_coverage
from object_detection_ext.diagnosis.anchor_grid import AnchorGrid, anchor_grids
from object_detection_ext.errors import InputError

ANCHORS_FIELD = f"{FIELD}.anchor_generator"
USUAL_THRESHOLD = 0.5  # IoU; where the matcher has none, or does not compare by IoU


@dataclass(frozen=True)
class AnchorSetup:
    """A detector's anchors without its network."""

    generator: AnchorGenerator
    feature_map_shapes: tuple[tuple[int, int], ...]  # height and width, finest first
    input_shape: tuple[int, int]  # height and width in pixels
    resizer: ImageResizer
    threshold: float
    is_forced: bool

    def grids_of(self, generator: AnchorGenerator) -> tuple[AnchorGrid, ...]:
        """The anchors that a generator makes for this detector."""
        return anchor_grids(generator, self.feature_map_shapes, image_shape=self.input_shape)

    def measure(
        self, boxes: np.ndarray, class_ids: np.ndarray, *, class_names: Mapping[int, str], generator: AnchorGenerator | None = None
    ) -> AnchorCoverage:
        """How well the anchors, or those of another generator, fit objects in the frame of `to_network`."""
        return measure_coverage(
            boxes,
            class_ids,
            grids=self.grids_of(generator or self.generator),
            input_shape=self.input_shape,
            class_names=class_names,
            threshold=self.threshold,
            is_forced=self.is_forced,
        )

    def to_network(self, boxes: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
        """Boxes normalised to their images, [N, 4], normalised to the padded network input; `image_sizes`: [N, 2] height, width."""
        if not isinstance(self.resizer, KeepAspectRatioResizer):
            return boxes  # stretched with the image
        share = content_shapes(self.resizer, image_sizes) / np.asarray(self.input_shape, np.float32)
        return boxes * np.tile(share, 2)


def build_anchor_setup(config: Config) -> AnchorSetup:
    """Builds the feature extractor, because only it knows how large its feature maps are; no heads, no weights from files.

    Raises:
        InputError: a field is wrong; names file and line.
    """
    ssd = config.proto.model.ssd
    with config.locate_errors():
        resizer = build_image_resizer(ssd.image_resizer)
        if resizer.output_shape is None:
            raise InputError(f"{FIELD}.image_resizer gives images of different sizes: there is no one set of anchors")
        generator, matcher = build_anchor_generator(ssd.anchor_generator), build_matcher(ssd.matcher)
        extractor = build_feature_extractor(ssd.feature_extractor)
        if min(resizer.output_shape) < extractor.min_image_size:
            least = extractor.min_image_size
            raise InputError(f"{FIELD}.image_resizer must give at least {least}x{least}, got {'x'.join(map(str, resizer.output_shape))}")
        maps = extractor(tf_keras.Input((*resizer.output_shape, resizer.num_channels)))
        if len(maps) != len(generator.num_anchors_per_location):
            raise InputError(f"{ANCHORS_FIELD} must have {len(maps)} layers, got {len(generator.num_anchors_per_location)}")
    by_iou = ssd.similarity_calculator.WhichOneof("region_similarity") == "iou_similarity"
    return AnchorSetup(
        generator=generator,
        feature_map_shapes=tuple((features.shape[1], features.shape[2]) for features in maps),
        input_shape=resizer.output_shape,
        resizer=resizer,
        threshold=matcher.matched_threshold if by_iou and matcher.matched_threshold else USUAL_THRESHOLD,
        is_forced=matcher.force_match_for_each_row,
    )


def content_shapes(resizer: KeepAspectRatioResizer, image_sizes: np.ndarray) -> np.ndarray:
    """[N, 2] heights and widths of images -> [N, 2] float32, what they cover of the network's input in pixels; the resizer's arithmetic."""
    sizes = np.asarray(image_sizes, np.float32)
    is_tall = sizes[:, :1] >= sizes[:, 1:]
    limits = np.where(is_tall, [[resizer.max_dimension, resizer.min_dimension]], [[resizer.min_dimension, resizer.max_dimension]])
    scale = np.min(limits.astype(np.float32) / sizes, axis=1, keepdims=True)
    return np.round(scale * sizes)
