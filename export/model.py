"""The trained detector that is to be exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.training.checkpoints import find_checkpoint, restore_network


class TrainedModel(NamedTuple):
    """A detector with the weights of a checkpoint."""

    config: Config
    detector: SsdDetector
    checkpoint: str  # prefix, `.../ckpt-1200`


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
    detector = build_detector(config.proto.model.ssd)
    averaged = config.proto.eval_config.use_moving_averages
    checkpoint = restore_network(detector.network, prefix, use_moving_averages=averaged)
    return TrainedModel(config, detector, checkpoint)
