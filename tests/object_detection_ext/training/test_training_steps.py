"""Three of the original API's own training steps with frozen batch norm: every variable's change, for each optimizer and with clipping.

Batch statistics, which test_reference_steps.py has, multiply rounding; without them the steps agree to 1e-4 of each variable's change
(measured: 1e-5). Two changes are equal where their lengths are, and their projections on a direction that follows from the variable's name.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.builders.optimizer import build_optimizer
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.training.detection import DetectionTask
from object_detection_ext.training.trainer import Trainer
from object_detection_ext.types import Batch, GroundTruth

TAGS = [f"Loss/{name}_loss" for name in ("classification", "localization", "regularization", "total")]
RTOL = 1e-4


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As in make_training_steps_golden.py, like the two below."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_kernel") else np.prod(shape[:-1])), shape)


def direction(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(b"direction " + name.encode())).normal(size=shape)


def batch(size: int) -> tuple[np.ndarray, GroundTruth]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    boxes = np.sort(rng.uniform(0, 1, (2, 4, 2, 2)), axis=2).reshape(2, 4, 4).astype(np.float32)
    classes = rng.integers(0, 3, (2, 4)).astype(np.int32)
    counts = np.array([4, 2], np.int32)
    real = (np.arange(4) < counts[:, None]).astype(np.float32)
    no = np.zeros((2, 4), bool)
    return images, GroundTruth(boxes, classes, real, no, no, np.ones((2, 4), np.float32), counts)


@pytest.fixture(scope="module", params=["momentum_clipped", "adam"])
def steps(request: pytest.FixtureRequest, golden) -> dict[str, Any]:
    """The original's numbers, and ours of the same steps."""
    with np.load(golden("training_steps.npz")) as stored:
        size, num_steps = int(stored["size"]), int(stored["num_steps"])
        wanted = {key.partition("/")[2]: stored[key] for key in stored.files if key.startswith(f"{request.param}/")}
    pipeline = text_format.Parse(golden("ssdlite_v2_dm0.35_160.config").read_text(), pipeline_pb2.TrainEvalPipelineConfig())
    pipeline.model.ssd.freeze_batchnorm = True
    resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = size
    text_format.Parse(str(wanted["optimizer"]), pipeline.train_config.optimizer)
    detector = build_detector(pipeline.model.ssd)
    for variable in detector.network.variables:
        variable.assign(value(variable.name.removesuffix(":0"), variable.shape))
    images, truth = batch(size)
    inputs, shapes = detector.preprocess(images)
    data = tf.nest.map_structure(tf.constant, Batch(inputs, shapes, truth, shapes, np.array([b"", b""])))
    task = DetectionTask(
        detector=detector,
        loss=build_detection_loss(pipeline.model.ssd),
        make_train_dataset=lambda start: tf.data.Dataset.from_tensors(data).repeat(),
        make_eval_dataset=None,
        categories={1: "a", 2: "b", 3: "c"},
        train_batch_size=2,
        check_input=lambda: None,
    )
    trainer = Trainer(task, build_optimizer(pipeline.train_config.optimizer), clip_norm=float(wanted["clip_norm"]))
    variables = {variable.name.removesuffix(":0"): variable for variable in detector.network.trainable_variables}
    before = {name: variable.numpy() for name, variable in variables.items()}
    losses = [trainer.train(tf.constant(1)) for _ in range(num_steps)]
    return wanted | {"our_losses": losses, "changes": {name: variable.numpy() - before[name] for name, variable in variables.items()}}


def test_losses(steps: dict[str, Any]) -> None:
    found = [[losses[tag] for tag in TAGS] for losses in steps["our_losses"]]
    np.testing.assert_allclose(found, steps["losses"], rtol=1e-5)


def test_every_variable(steps: dict[str, Any]) -> None:
    names = [str(name) for name in steps["names"]]
    assert sorted(names) == sorted(steps["changes"])
    changes = [steps["changes"][name] for name in names]
    lengths = np.array([np.linalg.norm(change) for change in changes])
    projections = np.array([np.sum(change * direction(name, change.shape)) for name, change in zip(names, changes, strict=True)])
    assert _worst(names, (lengths - steps["lengths"]) / steps["lengths"]) < RTOL
    # A difference of length `RTOL * length` has a projection with that standard deviation.
    assert _worst(names, (projections - steps["projections"]) / steps["lengths"]) < 4 * RTOL


def _worst(names: list[str], errors: np.ndarray) -> float:
    """The largest error; a failing test shows the variables beside it."""
    for index in np.argsort(-np.abs(errors))[:5]:
        print(f"{names[index]}: {errors[index]:.1e}")
    return float(np.abs(errors).max())
