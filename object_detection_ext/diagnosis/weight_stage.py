"""What stored weights tell without an image: numbers that are none, heads and statistics that training never touched, dead channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from object_detection_ext.diagnosis.stage import Outcome, Stage

_DEAD_VARIANCE = 1e-12  # of a channel before normalisation: it is the same everywhere
_MANY_DEAD = 0.5
_SOME_DEAD = 0.05
_HUGE_VARIANCE = 1e9
_FEW_STEPS = 100


def weight_stage(weights: Mapping[str, np.ndarray], *, step: int, initial_class_bias: float, num_steps: int = 0) -> Stage:
    """Looks at a network's weights.

    Args:
        weights: name, as `BoxPredictor/ConvolutionalClassHead_0/ClassPredictor/bias`, and value of every variable.
        step: training steps that they have seen.
        initial_class_bias: what the class heads' biases start from.
        num_steps: that the config asks for; 0 for not known.
    """
    told = f"{step:,} steps" + (f" of {num_steps:,}" if num_steps else "")
    broken = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if broken:
        advice = "training diverged: lower the learning rate, add gradient_clipping_by_norm, and start again from an earlier checkpoint"
        return _broken(f"{told}; {len(broken)} variables hold NaN or infinite numbers, the first {broken[0]}", advice)
    statistics = _statistics_problem(weights)
    if statistics:
        return _broken(f"{told}; {statistics}", "set freeze_batchnorm: false, or start from trained weights")
    if _are_class_biases_initial(weights, initial_class_bias):
        advice = "the heads were never trained: look at freeze_variables, update_trainable_variables, and at the checkpoint given"
        return _broken(f"{told}; all biases of the class heads are {initial_class_bias:g}, as they start", advice)
    dead, channels = _dead_channels(weights)
    note = f"; {dead:,} of {channels:,} batch-norm channels are constant" if dead > _SOME_DEAD * channels else ""
    if dead > _MANY_DEAD * channels:
        return _broken(told + note, "most of the network is dead: lower the learning rate, lengthen the warm-up, start again")
    early = f"; fewer than {_FEW_STEPS}: nothing can be expected yet" if step < _FEW_STEPS else ""
    return Stage("weights", Outcome.NOTE if note or early else Outcome.OK, told + note + early)


def _broken(message: str, advice: str) -> Stage:
    return Stage("weights", Outcome.BROKEN, message, advice)


def _statistics_problem(weights: Mapping[str, np.ndarray]) -> str:
    variances = _ending(weights, "moving_variance")
    means = _ending(weights, "moving_mean")
    negative = [name for name, value in variances.items() if value.min() < 0]
    if negative:
        return f"{len(negative)} moving variances are negative, the first {negative[0]}"
    huge = [name for name, value in variances.items() if np.median(value) > _HUGE_VARIANCE]
    if huge:
        return f"{len(huge)} moving variances are above {_HUGE_VARIANCE:.0e}, the first {huge[0]}"
    if variances and all((value == 1).all() for value in variances.values()) and all((value == 0).all() for value in means.values()):
        return f"the moving statistics of all {len(variances)} batch norms are as they start, mean 0 and variance 1"
    return ""


def _dead_channels(weights: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Channels that batch norm gives one value, whatever the image: their input does not vary, or it is scaled by 0."""
    dead = channels = 0
    for name, variance in _ending(weights, "moving_variance").items():
        gamma = weights.get(name.replace("moving_variance", "gamma"), np.ones_like(variance))
        dead += int(((variance < _DEAD_VARIANCE) | (gamma == 0)).sum())
        channels += variance.size
    return dead, channels


def _are_class_biases_initial(weights: Mapping[str, np.ndarray], initial: float) -> bool:
    biases = [value for name, value in _ending(weights, "bias").items() if name.split("/")[-2].startswith("ClassPredictor")]
    return bool(biases) and all((value == np.float32(initial)).all() for value in biases)


def _ending(weights: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in weights.items() if key.split("/")[-1] == name}
