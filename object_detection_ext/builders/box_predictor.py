"""`BoxPredictor` -> a box predictor."""

from __future__ import annotations

from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.builders.hyperparams import build_hyperparams
from object_detection_ext.errors import InputError
from object_detection_ext.models.predictor import ConvolutionalBoxPredictor
from object_detection_ext.protos import box_predictor_pb2

FIELD = "model.ssd.box_predictor"


def build_box_predictor(config: box_predictor_pb2.BoxPredictor, *, freeze_batchnorm: bool = False) -> ConvolutionalBoxPredictor:
    """The predictor that `config` describes. `box_encodings_clip_range` is not part of it; the detector clips.

    Raises:
        InputError: names the field.
    """
    kind = chosen(config, FIELD, allowed=("convolutional_box_predictor",))
    field, predictor = f"{FIELD}.{kind}", config.convolutional_box_predictor
    if predictor.apply_sigmoid_to_scores:
        raise InputError(f"{field}.apply_sigmoid_to_scores is not supported; set post_processing.score_converter: SIGMOID instead")
    with errors_at(field):
        return ConvolutionalBoxPredictor(
            hyperparams=build_hyperparams(predictor.conv_hyperparams, freeze_batchnorm=freeze_batchnorm, field=f"{field}.conv_hyperparams"),
            kernel_size=predictor.kernel_size,
            use_depthwise=predictor.use_depthwise,
            num_layers_before_predictor=predictor.num_layers_before_predictor,
            min_depth=predictor.min_depth,
            max_depth=predictor.max_depth,
            dropout_keep_probability=predictor.dropout_keep_probability if predictor.use_dropout else None,
            box_code_size=predictor.box_code_size,
            class_prediction_bias_init=predictor.class_prediction_bias_init,
        )
