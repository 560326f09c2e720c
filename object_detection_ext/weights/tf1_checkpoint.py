"""Name-based checkpoints of TF 1: the Object Detection API's, and those of slim's classifiers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from object_detection_ext.errors import InputError
from object_detection_ext.weights.checkpoint_file import open_checkpoint_file
from object_detection_ext.weights.locate import checkpoint_prefix
from object_detection_ext.weights.source import Scheme, WeightSource

DETECTION_SCOPES = ("FeatureExtractor/", "BoxPredictor", "WeightSharedConvolutionalBoxPredictor/")

_AVERAGE = "/ExponentialMovingAverage"
# Sums behind moving statistics without bias (`zero_debias_moving_mean`); they stand under a scope of their own.
_DEBIASED = re.compile(r"/(biased|local_step)$")


def open_tf1_checkpoint(prefix: str | Path, *, use_moving_averages: bool = True) -> WeightSource:
    """Opens a checkpoint of `tf.train.Saver`, in either of its formats.

    Optimizer slots (`<variable>/Momentum`, `/RMSProp_1`, ...) and scalars (step counters, ranges of quantisation-aware training) are not
    weights and left out.

    Args:
        prefix: `.../model.ckpt-200000`, or one of the files that begin with it.
        use_moving_averages: where training kept exponential moving averages of the weights, read those under the variable's own name. They
            are what TF 1 evaluated and exported with `use_moving_averages: true`, and what slim's published accuracies were measured
            with. False reads the last raw weights, as TF 1 did for fine-tuning.

    Raises:
        InputError: there is no such checkpoint, it cannot be read, it is object-based (TF 2), or it holds no weights.
    """
    prefix = checkpoint_prefix(prefix)
    file = open_checkpoint_file(prefix)
    shapes = file.shapes
    if file.is_object_based:
        raise InputError(f"{prefix} is an object-based checkpoint of TF 2, not a name-based one of TF 1")
    stored = _weights(shapes, use_moving_averages=use_moving_averages)
    if not stored:
        raise InputError(f"{prefix} holds no weights (its variables are {', '.join(sorted(shapes)[:3]) or 'none'})")
    averaged = any(name.endswith(_AVERAGE) for name in stored.values())
    scheme = scheme_of(stored)
    kind = "TF 1 detection checkpoint" if scheme == "tf1" else "TF 1 checkpoint of a classifier (slim)"
    return WeightSource(
        path=prefix,
        kind=f"{kind}, moving averages" if averaged else kind,
        scheme=scheme,
        shapes={name: shapes[key] for name, key in stored.items()},
        read=lambda name: file.read(stored[name]),
        step=file.step,
    )


def scheme_of(names: Mapping[str, object]) -> Scheme:
    """Whether TF 1's names are those of a detector or of a backbone alone."""
    return "tf1" if any(name.startswith(DETECTION_SCOPES) for name in names) else "slim"


def _weights(shapes: Mapping[str, tuple[int, ...]], *, use_moving_averages: bool) -> dict[str, str]:
    """Name of each weight -> the key that its value is stored under. What stands below another variable is a slot of it."""
    candidates = [name for name, shape in shapes.items() if shape and not _DEBIASED.search(name)]
    averages = {name.removesuffix(_AVERAGE): name for name in candidates if name.endswith(_AVERAGE)}
    own = {name: name for name in candidates if not name.endswith(_AVERAGE) and name.rpartition("/")[0] not in shapes}
    merged = {**own, **averages} if use_moving_averages else {**averages, **own}
    return dict(sorted(merged.items()))
