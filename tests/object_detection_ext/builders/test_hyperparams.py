from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.hyperparams import build_hyperparams, frozen
from object_detection_ext.errors import InputError
from object_detection_ext.models.initializers import NamedInitializer, RandomNormal, TruncatedNormal, VarianceScaling
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, Regularizer
from object_detection_ext.protos import hyperparams_pb2


def _build(text: str, **settings) -> ConvHyperparams:
    return build_hyperparams(text_format.Parse(text, hyperparams_pb2.Hyperparams()), field="head.conv_hyperparams", **settings)


def test_everything():
    built = _build(
        """
        regularizer { l2_regularizer { weight: 0.25 } } initializer { truncated_normal_initializer { mean: 0.5 stddev: 0.125 } }
        activation: RELU_6 batch_norm { decay: 0.75 center: false scale: true epsilon: 0.5 } force_use_bias: true regularize_depthwise: true
        """
    )
    assert built == ConvHyperparams(
        initializer=TruncatedNormal(0.5, 0.125),
        regularizer=Regularizer("l2", 0.25),
        activation="relu6",
        batch_norm=BatchNorm(decay=0.75, epsilon=0.5, center=False, scale=True),
        force_use_bias=True,
        regularize_depthwise=True,
    )


def test_the_api_defaults():
    assert _build("") == ConvHyperparams(activation="relu")
    norm = _build("batch_norm {}").batch_norm
    assert (norm.decay, norm.epsilon, norm.center, norm.scale) == (pytest.approx(0.999), pytest.approx(0.001), True, False)


@pytest.mark.parametrize(
    ("text", "initializer"),
    [
        ("random_normal_initializer { stddev: 0.5 }", RandomNormal(0.0, 0.5)),
        ("variance_scaling_initializer {}", VarianceScaling(2.0, "fan_in", "truncated_normal")),
        ("variance_scaling_initializer { factor: 1 uniform: true mode: FAN_AVG }", VarianceScaling(1.0, "fan_avg", "uniform")),
        ("variance_scaling_initializer { mode: FAN_OUT }", VarianceScaling(2.0, "fan_out", "truncated_normal")),
        ("keras_initializer_by_name: 'he_normal'", NamedInitializer("he_normal")),
    ],
)
def test_initializers(text: str, initializer):
    assert _build(f"initializer {{ {text} }}").initializer == initializer


@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU_6", "SWISH"])
def test_activations(activation: str):
    assert _build(f"activation: {activation}").activation == activation.lower().replace("_", "")


def test_batch_norm_is_frozen_by_either_setting():
    assert _build("batch_norm {}", freeze_batchnorm=True).batch_norm.frozen
    assert _build("batch_norm { train: false }").batch_norm.frozen
    assert not _build("batch_norm {}").batch_norm.frozen
    assert frozen(_build("batch_norm {}")).batch_norm.frozen and frozen(_build("")).batch_norm is None


def test_sync_batch_norm_and_l1():
    built = _build("sync_batch_norm { decay: 0.5 } regularizer { l1_regularizer { weight: 0.5 } }")
    assert built.batch_norm.synchronized and built.batch_norm.decay == 0.5
    assert built.regularizer == Regularizer("l1", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op: FC", "head.conv_hyperparams.op must be CONV, got FC"),
        ("group_norm {}", "head.conv_hyperparams.group_norm is not supported"),
        ("batch_norm { decay: 2 }", "head.conv_hyperparams.batch_norm.decay must be in"),
        ("sync_batch_norm { epsilon: 0 }", "head.conv_hyperparams.sync_batch_norm.epsilon must be > 0"),
        ("regularizer { l2_regularizer { weight: -1 } }", "head.conv_hyperparams.regularizer.l2_regularizer.weight must be >= 0"),
        (
            "initializer { random_normal_initializer { stddev: -1 } }",
            "head.conv_hyperparams.initializer.random_normal_initializer.stddev must be >= 0",
        ),
        ("initializer { keras_initializer_by_name: 'x' }", "head.conv_hyperparams.initializer.keras_initializer_by_name must name"),
    ],
)
def test_errors_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^{message}"):
        _build(text)
