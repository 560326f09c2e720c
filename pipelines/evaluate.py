"""Evaluates a checkpoint, or an exported model, on the config's evaluation records: a table for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from object_detection_ext.command_line import run


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluate", description=__doc__)
    parser.add_argument("--pipeline_config_path", required=True, help="the pipeline.config; its eval_input_reader names the records")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkpoint_dir", help="folder of checkpoints (the newest counts) or a prefix such as DIR/ckpt-1200")
    what.add_argument("--model", help="an exported model instead: a .tflite or a SavedModel folder")
    parser.add_argument("--model_dir", help="write TensorBoard events under MODEL_DIR/eval")
    parser.add_argument("--json", metavar="FILE", help="write the metrics under the API's names")
    parser.add_argument("--config_override", default="", help="text of a pipeline.config merged over the file")
    parser.add_argument("--sample_1_of_n_eval_examples", type=int, metavar="N", help="evaluate one of N images")
    arguments = parser.parse_args(argv)
    common = {"config_override": arguments.config_override, "sample_1_of_n": arguments.sample_1_of_n_eval_examples}
    if arguments.model:
        from pipelines.evaluate_model import evaluate_model  # heavy, as all that imports TensorFlow

        if arguments.model_dir:
            parser.error("--model_dir takes the events of checkpoints, which have a step; leave it out with --model")
        metrics = evaluate_model(arguments.pipeline_config_path, arguments.model, **common).metrics
    else:
        metrics = evaluate(arguments.pipeline_config_path, arguments.checkpoint_dir, model_dir=arguments.model_dir, **common)
    if arguments.json:
        write_json(metrics, Path(arguments.json))
    return 0


def evaluate(
    pipeline_config_path: str,
    checkpoint: str,
    *,
    model_dir: str | None = None,
    config_override: str = "",
    sample_1_of_n: int | None = None,
    quiet: bool = False,
) -> dict[str, float]:
    """The metrics of a checkpoint (folder or prefix) by the API's names.

    Raises:
      InputError: the config, its evaluation records or the checkpoint are wrong.
    """
    from object_detection_ext.builders.detection_task import TaskOptions, build_detection_task
    from object_detection_ext.config import check_paths_configured, check_supported, load_config, settings_done_otherwise
    from object_detection_ext.training import checkpoints
    from object_detection_ext.training.evaluator import Evaluator

    config = load_config(pipeline_config_path, override=config_override)
    check_paths_configured(config, for_evaluation=True)
    check_supported(config)
    for text in settings_done_otherwise(config):
        if text.startswith("eval_") and not quiet:
            print(text, file=sys.stderr)
    prefix = checkpoints.find_checkpoint(checkpoint)
    task = build_detection_task(config, TaskOptions(with_evaluation=True, sample_1_of_n=sample_1_of_n))
    checkpoints.restore_network(task.network, prefix, use_moving_averages=config.proto.eval_config.use_moving_averages)
    evaluator = Evaluator(
        task,
        summary_dir=Path(model_dir) / "eval" if model_dir else None,
        add_regularization=config.proto.train_config.add_regularization_loss,
        quiet=quiet,
    )
    return evaluator.run(checkpoints.step_of(prefix))


def write_json(metrics: Mapping[str, object], path: Path) -> None:
    """Writes `metrics` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(run(main))
