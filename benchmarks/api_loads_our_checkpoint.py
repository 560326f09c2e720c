"""Proof that the original API loads what `pipelines.checkpoint export` writes: same detections, all ways of loading.

    python -m benchmarks.api_loads_our_checkpoint --reference_python REFENV/bin/python --pipeline_config_path CONFIG
        [--checkpoint API_CHECKPOINT] [--images FILE.npz]

Imports the checkpoint, if there is one, disturbs every weight, saves, exports, and lets the original detect on the images. Exit code 1
where a detection differs by more than 1e-4.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError

TOLERANCE = 1e-4  # of box coordinates and scores
STEP = 7


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.api_loads_our_checkpoint", description="Proves that the original API loads our exports."
    )
    parser.add_argument("--reference_python", required=True, type=Path, help="of an environment with the original API")
    parser.add_argument("--pipeline_config_path", required=True)
    parser.add_argument("--checkpoint", help="weights to begin with; random ones without it")
    parser.add_argument("--images", type=Path, help="a .npz with image_uint8 [B, H, W, 3]; noise without it")
    arguments = parser.parse_args(argv)
    images = np.load(arguments.images)["image_uint8"] if arguments.images else _noise()
    with tempfile.TemporaryDirectory() as folder:
        ours = _export(arguments.pipeline_config_path, arguments.checkpoint, images, Path(folder))
        theirs = _detect_with_reference(arguments.reference_python, images, Path(folder))
    differences = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in ours}
    print(", ".join(f"{name} differ by at most {value:.1e}" for name, value in differences.items()), end=" ")
    print(f"over {ours['scores'].size} detections, scores {ours['scores'].min():.3f} to {ours['scores'].max():.3f}")
    return int(max(differences.values()) > TOLERANCE)


def _noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 300, 320, 3)).astype(np.uint8)


def _export(config_path: str, checkpoint: str | None, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Writes FOLDER/exported and returns what our network detects, by the names of `benchmarks/reference_loading.py`."""
    import tf_keras

    from object_detection_ext.builders.detector import build_detector
    from object_detection_ext.config import load_config
    from object_detection_ext.training.checkpoints import restore_network, save_network
    from pipelines.checkpoint import export_weights

    tf_keras.utils.set_random_seed(0)
    detector = build_detector(load_config(config_path).proto.model.ssd)
    if checkpoint:
        restore_network(detector.network, checkpoint)
    factors = np.random.default_rng(0).uniform(0.95, 1.05, len(detector.network.weights))
    for variable, factor in zip(detector.network.weights, factors, strict=True):
        variable.assign(variable * factor)
    (folder / "trained").mkdir()
    save_network(detector.network, folder / "trained", step=STEP)
    print(export_weights(config_path, str(folder / "trained"), str(folder / "exported")))
    found = detector.detect(images)
    return {"boxes": found.boxes.numpy(), "scores": found.scores.numpy(), "classes": found.classes.numpy(), "step": np.array(STEP)}


def _detect_with_reference(python: Path, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    np.save(folder / "images.npy", images)
    script = Path(__file__).with_name("reference_loading.py")
    command = [str(python), "-P", str(script), str(folder / "exported"), str(folder / "images.npy"), str(folder / "found.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the original failed: {done.stderr.strip().splitlines()[-1]}")
    with np.load(folder / "found.npz") as found:
        return dict(found)


if __name__ == "__main__":
    sys.exit(run(main))
