"""`Hyperparams` -> `ConvHyperparams`."""

from __future__ import annotations

from dataclasses import replace

from object_detection_ext.builders.fields import errors_at
from object_detection_ext.errors import InputError
from object_detection_ext.models.initializers import FanMode, Initializer, NamedInitializer, RandomNormal, TruncatedNormal, VarianceScaling
from object_detection_ext.models.layers import Activation, BatchNorm, ConvHyperparams, Regularizer
from object_detection_ext.protos import hyperparams_pb2

_ACTIVATIONS: dict[int, Activation] = {
    hyperparams_pb2.Hyperparams.NONE: "none",
    hyperparams_pb2.Hyperparams.RELU: "relu",
    hyperparams_pb2.Hyperparams.RELU_6: "relu6",
    hyperparams_pb2.Hyperparams.SWISH: "swish",
}

_FAN_MODES: dict[int, FanMode] = {
    hyperparams_pb2.VarianceScalingInitializer.FAN_IN: "fan_in",
    hyperparams_pb2.VarianceScalingInitializer.FAN_OUT: "fan_out",
    hyperparams_pb2.VarianceScalingInitializer.FAN_AVG: "fan_avg",
}


def build_hyperparams(config: hyperparams_pb2.Hyperparams, *, freeze_batchnorm: bool = False, field: str) -> ConvHyperparams:
    """What `config` says about convolutions.

    Args:
        freeze_batchnorm: `ssd.freeze_batchnorm`: batch norm keeps its moving statistics.
        field: path of `config`, for errors.

    Raises:
        InputError: names the field.
    """
    if config.op == hyperparams_pb2.Hyperparams.FC:
        raise InputError(f"{field}.op must be CONV, got FC: an SSD has no fully connected layers")
    return ConvHyperparams(
        initializer=_initializer(config.initializer, f"{field}.initializer"),
        regularizer=_regularizer(config.regularizer, f"{field}.regularizer"),
        activation=_ACTIVATIONS[config.activation],
        batch_norm=_batch_norm(config, freeze_batchnorm, field),
        force_use_bias=config.force_use_bias,
        regularize_depthwise=config.regularize_depthwise,
    )


def frozen(hyperparams: ConvHyperparams) -> ConvHyperparams:
    """The same with batch norm that keeps its moving statistics."""
    if hyperparams.batch_norm is None:
        return hyperparams
    return replace(hyperparams, batch_norm=replace(hyperparams.batch_norm, frozen=True))


def _initializer(config: hyperparams_pb2.Initializer, field: str) -> Initializer | None:
    kind = config.WhichOneof("initializer_oneof")
    if kind is None:
        return None
    with errors_at(f"{field}.{kind}"):
        if kind == "truncated_normal_initializer":
            return TruncatedNormal(config.truncated_normal_initializer.mean, config.truncated_normal_initializer.stddev)
        if kind == "random_normal_initializer":
            return RandomNormal(config.random_normal_initializer.mean, config.random_normal_initializer.stddev)
        if kind == "variance_scaling_initializer":
            scaling = config.variance_scaling_initializer
            return VarianceScaling(scaling.factor, _FAN_MODES[scaling.mode], "uniform" if scaling.uniform else "truncated_normal")
    with errors_at(field):
        return NamedInitializer(config.keras_initializer_by_name)


def _regularizer(config: hyperparams_pb2.Regularizer, field: str) -> Regularizer | None:
    kind = config.WhichOneof("regularizer_oneof")
    if kind is None:
        return None
    with errors_at(f"{field}.{kind}"):
        return Regularizer("l1" if kind == "l1_regularizer" else "l2", getattr(config, kind).weight)


def _batch_norm(config: hyperparams_pb2.Hyperparams, freeze_batchnorm: bool, field: str) -> BatchNorm | None:
    kind = config.WhichOneof("normalizer_oneof")
    if kind is None:
        return None
    if kind == "group_norm":
        raise InputError(f"{field}.group_norm is not supported; use batch_norm or sync_batch_norm")
    norm = getattr(config, kind)
    with errors_at(f"{field}.{kind}"):
        return BatchNorm(
            decay=norm.decay,
            epsilon=norm.epsilon,
            center=norm.center,
            scale=norm.scale,
            frozen=freeze_batchnorm or not norm.train,
            synchronized=kind == "sync_batch_norm",
        )
