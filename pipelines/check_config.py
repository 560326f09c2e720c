"""Checks a pipeline.config and prints what a run would use.

    python -m pipelines.check_config --pipeline_config_path pipeline.config [--config_override 'train_config { batch_size: 4 }']
        [--build] [--variables]

Exit code 0 when nothing is wrong with it; paths still to be filled in are listed, not refused. `--build` also checks what only the builders
know: the feature extractor's name, whether the sizes fit together, and the patterns that freeze variables. `--variables` lists the
names that such patterns match.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from export.quiet import quiet_tensorflow
from object_detection_ext.builders.warm_start import build_warm_start
from object_detection_ext.command_line import run
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.config_summary import Line, format_summary, summarize


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Checks a pipeline.config and prints the settings that a run would use.")
    parser.add_argument("--pipeline_config_path", required=True, metavar="FILE")
    parser.add_argument("--config_override", default="", metavar="TEXT", help="text-format settings merged over the file")
    parser.add_argument("--build", action="store_true", help="also make network, losses, augmentation and optimizer; needs no data")
    parser.add_argument("--variables", action="store_true", help="list the network's variables: our names, the API's, and what trains")
    arguments = parser.parse_args(argv)
    config = load_config(arguments.pipeline_config_path, override=arguments.config_override)
    print(format_summary(summarize(config)), flush=True)  # before the error, which it helps to understand
    check_supported(config)
    with config.locate_errors():
        build_warm_start(config.proto)
    if arguments.build:
        print(build_report(config))
    if arguments.variables:
        print(variables_report(config))
    return 0


def build_report(config: Config) -> str:
    """Builds everything that needs no data, and says how large the network is.

    Raises:
        InputError: A builder refuses a value; names file and line.
    """
    start = time.perf_counter()
    quiet_tensorflow()  # before its import, which takes seconds
    from object_detection_ext.builders.detector import build_pipeline_detector
    from object_detection_ext.builders.losses import build_detection_loss
    from object_detection_ext.builders.optimizer import build_optimizer
    from object_detection_ext.builders.preprocessor import build_augmentation
    from object_detection_ext.builders.trainable import build_trained_variables

    imported = time.perf_counter()
    train_config = config.proto.train_config
    with config.locate_errors():
        detector = build_pipeline_detector(config.proto)
        build_detection_loss(config.proto.model.ssd)
        build_augmentation(train_config.data_augmentation_options)
        if config.proto.HasField("train_config"):
            build_optimizer(train_config.optimizer)
        trained = build_trained_variables(train_config, detector.network)
    built = time.perf_counter()
    lines = {
        "input": " x ".join(str(size) for size in detector.network.input_shape[1:]),
        "feature maps": ", ".join(f"{height} x {width}" for height, width in detector.feature_map_shapes),
        "anchors": f"{len(detector.anchors)}",
        "parameters": f"{_count(trained):,} trained, {_count(detector.network.weights) - _count(trained):,} not",
        "layers": f"{len(detector.network.layers)}",
        "seconds": f"{built - imported:.1f}, after {imported - start:.1f} for loading TensorFlow",
    }
    return format_summary([Line("built", label, text) for label, text in lines.items()])


def variables_report(config: Config) -> str:
    """Every variable of the network: our name, the TF 1 API's, the TF 2 API's, its shape, and whether it trains.

    Raises:
        InputError: A builder refuses a value, or a pattern matches nothing; names file and line.
    """
    quiet_tensorflow()
    from object_detection_ext.builders.detector import build_detector
    from object_detection_ext.builders.trainable import build_trained_variables
    from object_detection_ext.weights.variable_names import variable_names

    with config.locate_errors():
        network = build_detector(config.proto.model.ssd).network
        trained = {variable.ref() for variable in build_trained_variables(config.proto.train_config, network)}
    rows = [("variable", "TF 1", "TF 2 API", "shape", "")]
    for variable, names in zip(network.weights, variable_names([weight.name.partition(":")[0] for weight in network.weights]), strict=True):
        state = "trains" if variable.ref() in trained else "frozen" if variable.trainable else "statistics"
        shape = "x".join(str(size) for size in variable.shape)
        rows.append((names.ours, names.tf1 or "-", names.api or "-", shape, state))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows)


def _count(weights: Iterable[Any]) -> int:
    return sum(int(weight.shape.num_elements()) for weight in weights)


if __name__ == "__main__":
    sys.exit(run(main))
