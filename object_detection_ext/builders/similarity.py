"""`model.ssd.similarity_calculator` -> a region similarity."""

from __future__ import annotations

from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.protos import region_similarity_calculator_pb2
from object_detection_ext.targets.similarity import IoaSimilarity, IouSimilarity, NegSqDistSimilarity, Similarity, ThresholdedIouSimilarity

FIELD = "model.ssd.similarity_calculator"


def build_similarity(config: region_similarity_calculator_pb2.RegionSimilarityCalculator) -> Similarity:
    """The similarity that `config` describes; raises `InputError` with the field's path where a value is impossible."""
    kind = chosen(config, FIELD, allowed=tuple(_SIMILARITIES))
    with errors_at(f"{FIELD}.{kind}"):
        return _SIMILARITIES[kind](getattr(config, kind))


_SIMILARITIES = {
    "iou_similarity": lambda m: IouSimilarity(),
    "ioa_similarity": lambda m: IoaSimilarity(),
    "neg_sq_dist_similarity": lambda m: NegSqDistSimilarity(),
    "thresholded_iou_similarity": lambda m: ThresholdedIouSimilarity(iou_threshold=m.iou_threshold),
}
