"""`model.ssd.post_processing` -> score conversion and non-maximum suppression."""

from __future__ import annotations

from object_detection_ext.builders.fields import errors_at
from object_detection_ext.errors import InputError
from object_detection_ext.postprocess import PostProcessing, ScoreConverter
from object_detection_ext.protos import post_processing_pb2

FIELD = "model.ssd.post_processing"
_NMS = f"{FIELD}.batch_non_max_suppression"


def build_post_processing(config: post_processing_pb2.PostProcessing, *, has_background: bool = True) -> PostProcessing:
    """The post-processing that `config` describes; `has_background` is the SSD's `add_background_class`.

    `use_static_shapes`, `use_partitioned_nms`, `use_cpu_nms` and `use_hard_nms` chose between kernels of one result; they change nothing.
    Neither does `change_coordinate_frame`: `Detections` are in the frame of the padded input, and whoever shows or exports them knows how
    much of it the image covers.

    Raises:
        InputError: A value is impossible or not supported; starts with the field's path.
    """
    nms = config.batch_non_max_suppression
    _refuse_unsupported(config)
    with errors_at(FIELD if config.logit_scale <= 0.0 else _NMS):
        return PostProcessing(
            score_converter=_SCORE_CONVERTERS[config.score_converter],
            score_threshold=nms.score_threshold,
            iou_threshold=nms.iou_threshold,
            max_detections_per_class=nms.max_detections_per_class,
            max_total_detections=nms.max_total_detections,
            logit_scale=config.logit_scale,
            soft_nms_sigma=nms.soft_nms_sigma,
            class_agnostic=nms.use_class_agnostic_nms,
            has_background=has_background,
        )


def _refuse_unsupported(config: post_processing_pb2.PostProcessing) -> None:
    nms = config.batch_non_max_suppression
    if nms.use_combined_nms:
        raise InputError(f"{_NMS}.use_combined_nms is not supported: it keeps boxes outside the image; remove it")
    if nms.max_classes_per_detection != 1:
        raise InputError(f"{_NMS}.max_classes_per_detection must be 1, got {nms.max_classes_per_detection}")
    if nms.use_hard_nms and nms.soft_nms_sigma != 0.0:
        raise InputError(f"{_NMS}.soft_nms_sigma must be 0 with use_hard_nms: true, got {nms.soft_nms_sigma:g}")
    if config.HasField("calibration_config"):
        raise InputError(f"{FIELD}.calibration_config is not supported; remove it")


_SCORE_CONVERTERS: dict[post_processing_pb2.PostProcessing.ScoreConverter, ScoreConverter] = {
    post_processing_pb2.PostProcessing.IDENTITY: "identity",
    post_processing_pb2.PostProcessing.SIGMOID: "sigmoid",
    post_processing_pb2.PostProcessing.SOFTMAX: "softmax",
}
