"""`BoxPredictor` -> a box predictor, and what of it the detector does behind the network."""

from __future__ import annotations

from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.builders.hyperparams import build_hyperparams
from object_detection_ext.errors import InputError
from object_detection_ext.models.box_predictor import BoxPredictor
from object_detection_ext.models.predictor import ConvolutionalBoxPredictor
from object_detection_ext.models.weight_shared_predictor import WeightSharedConvolutionalBoxPredictor
from object_detection_ext.protos import box_predictor_pb2

FIELD = "model.ssd.box_predictor"

_Predictor = box_predictor_pb2.ConvolutionalBoxPredictor | box_predictor_pb2.WeightSharedConvolutionalBoxPredictor


def build_box_predictor(config: box_predictor_pb2.BoxPredictor, *, freeze_batchnorm: bool = False) -> BoxPredictor:
    """The predictor that `config` describes, without `box_encodings_clip_range` and `score_converter`: the detector does those.

    Raises:
        InputError: names the field.
    """
    predictor, field = _chosen(config)
    with errors_at(field):
        if isinstance(predictor, box_predictor_pb2.ConvolutionalBoxPredictor):
            return _convolutional(predictor, freeze_batchnorm, field)
        return _weight_shared(predictor, freeze_batchnorm, field)


def box_encodings_clip_range(config: box_predictor_pb2.BoxPredictor) -> tuple[float, float] | None:
    """The range that box encodings are clipped to; None for no clipping. Raises `InputError`: it is empty."""
    predictor, field = _chosen(config)
    if not predictor.HasField("box_encodings_clip_range"):
        return None
    limits = predictor.box_encodings_clip_range
    if limits.min >= limits.max:
        raise InputError(f"{field}.box_encodings_clip_range.min must be < max ({limits.max:g}), got {limits.min:g}")
    return limits.min, limits.max


def converts_scores(config: box_predictor_pb2.BoxPredictor) -> bool:
    """Whether the predictor is to apply a sigmoid to its class logits at inference."""
    shared = config.weight_shared_convolutional_box_predictor
    return shared.score_converter == box_predictor_pb2.WeightSharedConvolutionalBoxPredictor.SIGMOID


def _chosen(config: box_predictor_pb2.BoxPredictor) -> tuple[_Predictor, str]:
    """The predictor's message and its path."""
    kind = chosen(config, FIELD, allowed=("convolutional_box_predictor", "weight_shared_convolutional_box_predictor"))
    return getattr(config, kind), f"{FIELD}.{kind}"


def _convolutional(config: box_predictor_pb2.ConvolutionalBoxPredictor, freeze_batchnorm: bool, field: str) -> ConvolutionalBoxPredictor:
    if config.apply_sigmoid_to_scores:
        raise InputError(f"{field}.apply_sigmoid_to_scores is not supported; set post_processing.score_converter: SIGMOID instead")
    return ConvolutionalBoxPredictor(
        hyperparams=build_hyperparams(config.conv_hyperparams, freeze_batchnorm=freeze_batchnorm, field=f"{field}.conv_hyperparams"),
        kernel_size=config.kernel_size,
        use_depthwise=config.use_depthwise,
        num_layers_before_predictor=config.num_layers_before_predictor,
        min_depth=config.min_depth,
        max_depth=config.max_depth,
        dropout_keep_probability=config.dropout_keep_probability if config.use_dropout else None,
        box_code_size=config.box_code_size,
        class_prediction_bias_init=config.class_prediction_bias_init,
    )


def _weight_shared(
    config: box_predictor_pb2.WeightSharedConvolutionalBoxPredictor, freeze_batchnorm: bool, field: str
) -> WeightSharedConvolutionalBoxPredictor:
    return WeightSharedConvolutionalBoxPredictor(
        hyperparams=build_hyperparams(config.conv_hyperparams, freeze_batchnorm=freeze_batchnorm, field=f"{field}.conv_hyperparams"),
        depth=config.depth,
        kernel_size=config.kernel_size,
        num_layers_before_predictor=config.num_layers_before_predictor,
        share_prediction_tower=config.share_prediction_tower,
        use_depthwise=config.use_depthwise,
        apply_conv_hyperparams_pointwise=config.apply_conv_hyperparams_pointwise,
        apply_conv_hyperparams_to_heads=config.apply_conv_hyperparams_to_heads,
        dropout_keep_probability=config.dropout_keep_probability if config.use_dropout else None,
        box_code_size=config.box_code_size,
        class_prediction_bias_init=config.class_prediction_bias_init,
    )
