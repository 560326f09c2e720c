"""The trained detector that is to be exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import tf_keras

from object_detection_ext.builders.detector import build_detector, build_pipeline_detector
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.models.quantization_state import STEPS
from object_detection_ext.training.checkpoints import find_checkpoint, restore_network

_AT_ONCE = "graph_rewriter { quantization { delay: 0 } }"


class TrainedModel(NamedTuple):
    """A detector with the weights of a checkpoint."""

    config: Config
    detector: SsdDetector
    checkpoint: str  # prefix, `.../ckpt-1200`

    @property
    def is_fake_quantized(self) -> bool:
        """Whether it was trained with fake quantisation (`graph_rewriter`)."""
        return any(layer.name == STEPS for layer in self.detector.network.layers)


def load_trained_model(
    pipeline_config_path: str | os.PathLike[str], trained_checkpoint_dir: str | os.PathLike[str], *, config_override: str = ""
) -> TrainedModel:
    """Builds the config's detector and restores the newest checkpoint of a folder (or the one whose prefix is given).

    Raises:
        OSError: The config cannot be read.
        InputError: The config is wrong or not supported, there is no checkpoint, or it belongs to another model.
    """
    config = load_config(pipeline_config_path, override=config_override)
    check_supported(config)
    prefix = find_checkpoint(Path(trained_checkpoint_dir))  # before the network is built: a wrong path is told at once
    with config.locate_errors():
        detector = build_pipeline_detector(config.proto)
    averaged = config.proto.eval_config.use_moving_averages
    checkpoint = restore_network(detector.network, prefix, use_moving_averages=averaged)
    return TrainedModel(config, detector, checkpoint)


def float_model(model: TrainedModel) -> TrainedModel:
    """The same weights, not rounded, in a network that rounds nothing; the model itself where it was trained in float."""
    if not model.is_fake_quantized:
        return model
    detector = build_detector(model.config.proto.model.ssd)
    _copy_weights(model.detector.network, detector.network)
    return model._replace(detector=detector)


def quantized_network(model: TrainedModel) -> tf_keras.Model:
    """The network of a model that was trained with fake quantisation, rounding whether or not its `delay` was reached.

    Raises:
        InputError: It has not trained a single step, so there are no ranges.
    """
    if not int(model.detector.network.get_layer(STEPS).steps):
        raise InputError(f"{model.checkpoint} has no ranges yet: fake quantisation finds them in training (model_main_tf2.py)")
    if not model.config.proto.graph_rewriter.quantization.delay:
        return model.detector.network
    network = build_pipeline_detector(model.config.merged(_AT_ONCE, source="export").proto).network
    _copy_weights(model.detector.network, network)
    return network


def _copy_weights(source: tf_keras.Model, target: tf_keras.Model) -> None:
    values = {variable.name: variable for variable in source.weights}
    for variable in target.weights:
        variable.assign(values[variable.name])
