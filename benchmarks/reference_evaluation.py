"""Evaluates a checkpoint with the original API's own evaluator; runs in the original's environment.

    REFENV/bin/python -P benchmarks/reference_evaluation.py CONFIG CHECKPOINT OUT.json

CHECKPOINT is a prefix such as model/ckpt-3. OUT.json takes the metrics by their TensorBoard tags.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from pathlib import Path
from typing import Any


def main(config: str, checkpoint: str, out: str) -> None:
    """Writes the metrics of one checkpoint."""
    library: Any = importlib.import_module("object_detection.model_lib_v2")
    evaluate, metrics = library.eager_eval_loop, {}

    def keep_metrics(*args: object, **kwargs: object) -> dict[str, float]:
        metrics.update({tag: float(value) for tag, value in evaluate(*args, **kwargs).items()})
        return metrics

    library.eager_eval_loop = keep_metrics
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "checkpoint").write_text(f'model_checkpoint_path: "{checkpoint}"\n')
        library.eval_continuously(
            config, model_dir=folder, checkpoint_dir=folder, wait_interval=0, timeout=1, sample_1_of_n_eval_examples=None
        )
    Path(out).write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="pipeline.config")
    parser.add_argument("checkpoint", help="prefix such as model/ckpt-3")
    parser.add_argument("out", help=".json to write")
    main(**vars(parser.parse_args()))
