from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.box_predictor import box_encodings_clip_range, build_box_predictor
from object_detection_ext.errors import InputError
from object_detection_ext.models.box_predictor import BoxPredictor
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams
from object_detection_ext.models.predictor import ConvolutionalBoxPredictor
from object_detection_ext.models.weight_shared_predictor import WeightSharedConvolutionalBoxPredictor
from object_detection_ext.protos import box_predictor_pb2


def _config(text: str) -> box_predictor_pb2.BoxPredictor:
    return text_format.Parse(text, box_predictor_pb2.BoxPredictor())


def _build(text: str, **settings) -> BoxPredictor:
    return build_box_predictor(_config(text), **settings)


def test_everything():
    built = _build(
        """convolutional_box_predictor {
          conv_hyperparams { activation: NONE batch_norm { decay: 0.5 epsilon: 0.25 } }
          min_depth: 8 max_depth: 16 num_layers_before_predictor: 2
          use_dropout: true dropout_keep_probability: 0.75 kernel_size: 3
          box_code_size: 5 class_prediction_bias_init: -4.5 use_depthwise: true
        }""",
        freeze_batchnorm=True,
    )
    assert built == ConvolutionalBoxPredictor(
        hyperparams=ConvHyperparams(activation="none", batch_norm=BatchNorm(decay=0.5, epsilon=0.25, frozen=True)),
        kernel_size=3,
        use_depthwise=True,
        num_layers_before_predictor=2,
        min_depth=8,
        max_depth=16,
        dropout_keep_probability=0.75,
        box_code_size=5,
        class_prediction_bias_init=-4.5,
    )


def test_the_api_defaults():
    built = _build("convolutional_box_predictor {}")
    assert built.dropout_keep_probability == pytest.approx(0.8)  # the API's heads drop out unless the config says no
    assert (built.kernel_size, built.box_code_size, built.use_depthwise) == (1, 4, False)
    assert _build("convolutional_box_predictor { use_dropout: false }").dropout_keep_probability is None


def test_everything_of_the_weight_shared_one():
    built = _build(
        """weight_shared_convolutional_box_predictor {
          conv_hyperparams { activation: NONE batch_norm { decay: 0.5 epsilon: 0.25 } }
          apply_conv_hyperparams_to_heads: true apply_conv_hyperparams_pointwise: true
          num_layers_before_predictor: 2 depth: 16 kernel_size: 5 box_code_size: 7 class_prediction_bias_init: -4.5
          use_dropout: true dropout_keep_probability: 0.75 share_prediction_tower: true use_depthwise: true
        }""",
        freeze_batchnorm=True,
    )
    assert built == WeightSharedConvolutionalBoxPredictor(
        hyperparams=ConvHyperparams(activation="none", batch_norm=BatchNorm(decay=0.5, epsilon=0.25, frozen=True)),
        depth=16,
        kernel_size=5,
        num_layers_before_predictor=2,
        share_prediction_tower=True,
        use_depthwise=True,
        apply_conv_hyperparams_pointwise=True,
        apply_conv_hyperparams_to_heads=True,
        dropout_keep_probability=0.75,
        box_code_size=7,
        class_prediction_bias_init=-4.5,
    )


def test_the_api_defaults_of_the_weight_shared_one():
    assert _build("weight_shared_convolutional_box_predictor {}") == WeightSharedConvolutionalBoxPredictor(ConvHyperparams())


@pytest.mark.parametrize("kind", ["convolutional_box_predictor", "weight_shared_convolutional_box_predictor"])
def test_clip_range(kind: str):
    assert box_encodings_clip_range(_config(f"{kind} {{}}")) is None
    assert box_encodings_clip_range(_config(f"{kind} {{ box_encodings_clip_range {{ min: -1 max: 0.5 }} }}")) == (-1.0, 0.5)
    with pytest.raises(InputError, match=rf"^model.ssd.box_predictor.{kind}.box_encodings_clip_range.min must be < max \(0\), got 0$"):
        box_encodings_clip_range(_config(f"{kind} {{ box_encodings_clip_range {{}} }}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " must hold one of convolutional_box_predictor, weight_shared_convolutional_box_predictor"),
        (
            "weight_shared_convolutional_box_predictor { num_layers_before_predictor: 4 }",
            ".weight_shared_convolutional_box_predictor.depth must be >= 1 with num_layers_before_predictor > 0, got 0",
        ),
        ("mask_rcnn_box_predictor {}", ".mask_rcnn_box_predictor is not supported"),
        (
            "convolutional_box_predictor { apply_sigmoid_to_scores: true }",
            ".convolutional_box_predictor.apply_sigmoid_to_scores is not",
        ),
        ("convolutional_box_predictor { use_depthwise: true }", ".convolutional_box_predictor.kernel_size must be > 1 with use_depthwise"),
        ("convolutional_box_predictor { conv_hyperparams { op: FC } }", ".convolutional_box_predictor.conv_hyperparams.op must be CONV"),
    ],
)
def test_errors_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.box_predictor{message}"):
        _build(text)
