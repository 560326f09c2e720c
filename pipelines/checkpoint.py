"""Looks into stored weights of any kind, makes them a checkpoint of this project, and writes ours for the original API."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from object_detection_ext.command_line import run
from object_detection_ext.weights.locate import ACCEPTED, locate_weights

if TYPE_CHECKING:
    from object_detection_ext.config import Config
    from object_detection_ext.models.detector import SsdDetector
    from object_detection_ext.training.warm_start import Kind
    from object_detection_ext.weights.source import WeightSource

_PARTS = {"classification": "backbone", "detection": "backbone and feature maps", "full": "the heads too"}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "inspect":
        print(inspect(arguments.path, pipeline_config_path=arguments.pipeline_config_path, with_names=arguments.names))
    elif arguments.command == "import":
        kind = arguments.fine_tune_checkpoint_type
        print(import_weights(arguments.path, arguments.pipeline_config_path, arguments.output_dir, kind=kind))
    else:
        print(export_weights(arguments.pipeline_config_path, arguments.checkpoint_dir, arguments.output_dir))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.checkpoint", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="inspect | import | export")
    config_help = "the pipeline.config of the network"

    look = commands.add_parser("inspect", help="say what weights these are", description=f"Says what PATH is: {ACCEPTED}.")
    look.add_argument("path", metavar="PATH")
    look.add_argument("--pipeline_config_path", metavar="FILE", help=f"{config_help}: also say what of it PATH holds")
    look.add_argument("--names", action="store_true", help="list the variables with their shapes")

    take = commands.add_parser(
        "import",
        help="make a checkpoint of ours from them",
        description=f"Reads weights into a network and saves it as a checkpoint of ours. PATH: {ACCEPTED}.",
    )
    take.add_argument("path", metavar="PATH")
    take.add_argument("--pipeline_config_path", metavar="FILE", required=True, help=config_help)
    take.add_argument("--output_dir", metavar="DIR", required=True, help="ckpt-<step> and pipeline.config are written here")
    parts = "; ".join(f"{kind}: {parts}" for kind, parts in _PARTS.items())
    take.add_argument("--fine_tune_checkpoint_type", choices=_PARTS, default="full", help=f"what to read ({parts}); default full")

    back = commands.add_parser(
        "export", help="write one that the API loads", description="Writes an object-based checkpoint that the original API loads."
    )
    back.add_argument("--pipeline_config_path", metavar="FILE", required=True, help=config_help)
    back.add_argument("--checkpoint_dir", metavar="DIR", required=True, help="folder of checkpoints (the newest counts), or a prefix")
    back.add_argument("--output_dir", metavar="DIR", required=True, help="ckpt-<step> and pipeline.config are written here")
    return parser


def inspect(path: str, *, pipeline_config_path: str | None = None, with_names: bool = False) -> str:
    """What stored weights are, as text.

    Raises:
        InputError: there are no weights at `path`, or the config is wrong.
    """
    locate_weights(path)  # before TensorFlow is loaded, which takes seconds
    config = _load_config(pipeline_config_path) if pipeline_config_path else None
    detector = _build(config) if config else None
    source = _open(path, detector)
    text = _description(source)
    if with_names:
        text += "\n\n" + "\n".join(f"  {name} {list(shape)}" for name, shape in source.shapes.items())
    return f"{text}\n\n{_fit(source, detector)}" if detector else text


def import_weights(path: str, pipeline_config_path: str, output_dir: str, *, kind: Kind = "full") -> str:
    """Reads weights into the config's network and writes `ckpt-<step>` and `pipeline.config`, both or none.

    Args:
        kind: "classification", "detection" or "full": the parts to read. The others start fresh.

    Returns:
        What was restored, as a table, and what was written.

    Raises:
        InputError: there are no weights at `path`, too few of them fit, or the config is wrong.
    """
    locate_weights(path)
    config = _load_config(pipeline_config_path)
    detector = _build(config)
    from export.output_folder import complete_folder
    from object_detection_ext.training.checkpoints import save_network
    from object_detection_ext.training.warm_start import MIN_SHARE, PARTS
    from object_detection_ext.weights.restore import restore

    source = _open(path, detector)
    depth_multiplier = config.proto.model.ssd.feature_extractor.depth_multiplier
    report = restore(detector.network, source, parts=PARTS[kind], min_share=MIN_SHARE[kind], depth_multiplier=depth_multiplier)
    with complete_folder(output_dir) as folder:
        prefix = save_network(detector.network, folder, step=source.step or 0)
        config.save(folder / "pipeline.config")
    return f"{report}\nwrote {Path(output_dir) / Path(prefix).name} and pipeline.config"


def export_weights(pipeline_config_path: str, checkpoint: str, output_dir: str) -> str:
    """Writes a trained detector as the API would: `ckpt-<step>`, and a `pipeline.config` that the API reads.

    Returns:
        What was written.

    Raises:
        InputError: config or checkpoint are wrong, or the API has no such network in TF 2.
    """
    from pipelines.api_config import as_api_config

    locate_weights(checkpoint)
    converted = as_api_config(_load_config(pipeline_config_path))
    from export.model import float_model, load_trained_model
    from export.output_folder import complete_folder
    from object_detection_ext.errors import InputError
    from object_detection_ext.training.checkpoints import step_of
    from object_detection_ext.weights.write_api import write_api_checkpoint

    model = float_model(load_trained_model(pipeline_config_path, checkpoint))  # the API's TF 2 code knows no fake quantisation
    try:
        with complete_folder(output_dir) as folder:
            prefix = write_api_checkpoint(model.detector.network, folder, step=step_of(model.checkpoint))
            converted.config.save(folder / "pipeline.config")
    except ValueError as error:
        extractor = model.config.proto.model.ssd.feature_extractor.type
        raise InputError(f"{model.checkpoint} cannot be exported to the API: {error} (feature extractor {extractor})") from error
    notes = "".join(f"\nin its pipeline.config {note}" for note in converted.changes)
    return f"wrote {Path(output_dir) / Path(prefix).name} and pipeline.config for the Object Detection API{notes}"


def _load_config(path: str) -> Config:
    from object_detection_ext.config import check_supported, load_config

    config = load_config(path)
    check_supported(config)
    return config


def _build(config: Config) -> SsdDetector:
    from object_detection_ext.builders.detector import build_detector

    with config.locate_errors():
        return build_detector(config.proto.model.ssd)


def _open(path: str, detector: SsdDetector | None) -> WeightSource:
    from object_detection_ext.weights.open import open_weights

    shapes = {v.name.partition(":")[0]: tuple(v.shape) for v in detector.network.weights} if detector else None
    return open_weights(path, shapes=shapes)


def _description(source: WeightSource) -> str:
    from object_detection_ext.weights.describe import describe
    from object_detection_ext.weights.report import aligned

    found = describe(source)
    lines = {"kind": source.kind, "network": found.network}
    if found.class_scores:
        scores = found.class_scores
        lines["classes"] = f"{scores} scores an anchor: {_classes(scores - 1)} and the background, or {_classes(scores)} without"
    lines["step"] = "not stored" if source.step is None else f"{source.step}"
    lines["parameters"] = f"{found.parameters:,} in {found.variables} variables"
    head = [source.path, *(f"  {label:<10}  {text}" for label, text in lines.items())]
    rows = [["scope", "variables", "parameters"], *([row.scope, f"{row.variables}", f"{row.parameters:,}"] for row in found.rows)]
    return "\n".join([*head, "", *_indented(aligned(rows))])


def _fit(source: WeightSource, detector: SsdDetector) -> str:
    """What of the config's network the weights hold."""
    from object_detection_ext.errors import InputError
    from object_detection_ext.weights.restore import restore

    try:
        return str(restore(detector.network, source, min_share=0.0))
    except InputError as error:
        return str(error)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


if __name__ == "__main__":
    sys.exit(run(main))
