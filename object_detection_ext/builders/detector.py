"""`Ssd`, or the whole config -> `SsdDetector`."""

from __future__ import annotations

from dataclasses import replace

from object_detection_ext.builders.anchor_generator import build_anchor_generator
from object_detection_ext.builders.box_coder import build_box_coder
from object_detection_ext.builders.box_predictor import box_encodings_clip_range, build_box_predictor, converts_scores
from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.builders.image_resizer import build_image_resizer
from object_detection_ext.builders.post_processing import build_post_processing
from object_detection_ext.builders.quantization import build_quantization, quantize_detector
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.models.network import NetworkShapeError, build_network
from object_detection_ext.postprocess import PostProcessing
from object_detection_ext.protos import pipeline_pb2, ssd_pb2

FIELD = "model.ssd"


def build_pipeline_detector(proto: pipeline_pb2.TrainEvalPipelineConfig) -> SsdDetector:
    """The detector of a whole config: that of `model.ssd`, with fake quantisation where `graph_rewriter` asks for it.

    Raises:
        InputError: names the field.
    """
    quantization = build_quantization(proto.graph_rewriter)
    detector = build_detector(proto.model.ssd)
    if quantization is None:
        return detector
    return quantize_detector(detector, quantization, feature_extractor=proto.model.ssd.feature_extractor.type)


def build_detector(ssd: ssd_pb2.Ssd) -> SsdDetector:
    """The float detector that `ssd` describes, with fresh weights drawn after `tf_keras.utils.set_random_seed`.

    Raises:
        InputError: names the field.
    """
    _check(ssd)
    box_coder = build_box_coder(ssd.box_coder)
    image_resizer = build_image_resizer(ssd.image_resizer)
    feature_extractor = build_feature_extractor(ssd.feature_extractor, freeze_batchnorm=ssd.freeze_batchnorm)
    box_predictor = build_box_predictor(ssd.box_predictor, freeze_batchnorm=ssd.freeze_batchnorm)
    anchor_generator = build_anchor_generator(ssd.anchor_generator)
    postprocessing, clip_range = _post_processing(ssd), box_encodings_clip_range(ssd.box_predictor)
    if box_predictor.box_code_size != box_coder.code_size:
        field = f"{FIELD}.box_predictor.{ssd.box_predictor.WhichOneof('box_predictor_oneof')}.box_code_size"
        raise InputError(f"{field} must be {box_coder.code_size}, as in box_coder, got {box_predictor.box_code_size}")
    if image_resizer.output_shape is None:
        raise InputError(
            f"{FIELD}.image_resizer.{ssd.image_resizer.WhichOneof('image_resizer_oneof')} gives images of different sizes; "
            "use fixed_shape_resizer, or keep_aspect_ratio_resizer with pad_to_max_dimension: true"
        )
    try:
        network = build_network(
            feature_extractor,
            box_predictor,
            image_shape=(*image_resizer.output_shape, image_resizer.num_channels),
            num_anchors_per_location=anchor_generator.num_anchors_per_location,
            num_class_slots=ssd.num_classes + ssd.add_background_class,
        )
    except NetworkShapeError as error:
        raise InputError(f"{FIELD}.{error}") from error
    return SsdDetector(
        network=network.model,
        anchors=anchor_generator(network.feature_map_shapes, image_shape=image_resizer.output_shape),
        box_coder=box_coder,
        image_resizer=image_resizer,
        normalize=feature_extractor.normalize,
        postprocessing=postprocessing,
        num_classes=ssd.num_classes,
        feature_map_shapes=network.feature_map_shapes,
        box_encodings_clip_range=clip_range,
    )


def _check(ssd: ssd_pb2.Ssd) -> None:
    if ssd.num_classes < 1:
        raise InputError(f"{FIELD}.num_classes must be >= 1, got {ssd.num_classes}")
    if ssd.explicit_background_class:
        raise InputError(f"{FIELD}.explicit_background_class is not supported; use add_background_class")
    if ssd.HasField("mask_head_config"):
        raise InputError(f"{FIELD}.mask_head_config is not supported: this project predicts no masks")
    if ssd.return_raw_detections_during_predict:
        raise InputError(f"{FIELD}.return_raw_detections_during_predict is not supported")


def _post_processing(ssd: ssd_pb2.Ssd) -> PostProcessing:
    """A sigmoid that the predictor should apply at inference is applied here instead: losses always see logits."""
    postprocessing = build_post_processing(ssd.post_processing, has_background=ssd.add_background_class)
    if not converts_scores(ssd.box_predictor):
        return postprocessing
    if (postprocessing.score_converter, postprocessing.logit_scale) != ("identity", 1.0):
        raise InputError(
            f"{FIELD}.box_predictor.weight_shared_convolutional_box_predictor.score_converter must be IDENTITY, got SIGMOID: "
            "post_processing would convert its scores again"
        )
    return replace(postprocessing, score_converter="sigmoid")
