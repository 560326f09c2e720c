"""`train_config.fine_tune_checkpoint` and what goes with it -> `WarmStart`."""

from __future__ import annotations

from object_detection_ext.errors import InputError
from object_detection_ext.protos import pipeline_pb2, train_pb2
from object_detection_ext.training.warm_start import PARTS, Kind, WarmStart

FIELD = "train_config.fine_tune_checkpoint"
TYPE_FIELD = "train_config.fine_tune_checkpoint_type"

_MEANS = "classification (the backbone), detection (and the feature-map layers), full (and the heads)"


def build_warm_start(proto: pipeline_pb2.TrainEvalPipelineConfig) -> WarmStart | None:
    """What a run without a checkpoint of its own starts from; None for random weights. Opens nothing.

    Raises:
        InputError: the type is none of the three.
    """
    if not proto.train_config.fine_tune_checkpoint:
        return None
    return WarmStart(
        proto.train_config.fine_tune_checkpoint,
        warm_start_kind(proto.train_config),
        depth_multiplier=proto.model.ssd.feature_extractor.depth_multiplier,
    )


def warm_start_kind(train_config: train_pb2.TrainConfig) -> Kind:
    """`fine_tune_checkpoint_type`, or what TF 1's older fields say.

    As in the API, an empty type is `detection` with `from_detection_checkpoint` and else `classification`. As in TF 1, `detection` with
    `load_all_detection_checkpoint_vars` reads the heads too.

    Raises:
        InputError: the type is none of the three, or a classifier's heads are asked for.
    """
    kind = train_config.fine_tune_checkpoint_type or ("detection" if train_config.from_detection_checkpoint else "classification")
    if kind not in PARTS:
        also = "; fine_tune itself names no part" if kind == "fine_tune" else ""
        raise InputError(f"{TYPE_FIELD} must be {_MEANS}, got {kind}{also}")
    if train_config.load_all_detection_checkpoint_vars and kind == "classification":
        raise InputError(f"{TYPE_FIELD} must be detection with load_all_detection_checkpoint_vars, got classification")
    return "full" if train_config.load_all_detection_checkpoint_vars else kind
