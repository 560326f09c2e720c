"""Kernel initialisers as settings: calling one gives a new `tf_keras` initialiser.

`tf_keras` draws the same values each time one unseeded initialiser object is used again, so every layer needs an object of its own.
The draws follow `tf_keras.utils.set_random_seed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tf_keras

FanMode = Literal["fan_in", "fan_out", "fan_avg"]


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal values, drawn again beyond two standard deviations."""

    mean: float = 0.0
    stddev: float = 1.0

    def __post_init__(self) -> None:
        _check_stddev(self.stddev)

    def __call__(self) -> tf_keras.initializers.Initializer:
        return tf_keras.initializers.TruncatedNormal(self.mean, self.stddev)


@dataclass(frozen=True)
class RandomNormal:
    """Normal values."""

    mean: float = 0.0
    stddev: float = 1.0

    def __post_init__(self) -> None:
        _check_stddev(self.stddev)

    def __call__(self) -> tf_keras.initializers.Initializer:
        return tf_keras.initializers.RandomNormal(self.mean, self.stddev)


@dataclass(frozen=True)
class VarianceScaling:
    """Values with variance `scale / fan`, uniform or truncated normal (He et al. 2015 with scale 2 and fan_in)."""

    scale: float = 2.0
    mode: FanMode = "fan_in"
    distribution: Literal["truncated_normal", "uniform"] = "truncated_normal"

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"factor must be > 0, got {self.scale}")

    def __call__(self) -> tf_keras.initializers.Initializer:
        return tf_keras.initializers.VarianceScaling(self.scale, self.mode, self.distribution)


@dataclass(frozen=True)
class NamedInitializer:
    """An initialiser of `tf_keras` by its name, with its own defaults."""

    name: str

    def __post_init__(self) -> None:
        try:
            tf_keras.initializers.get(self.name)
        except ValueError:
            raise ValueError(
                f"keras_initializer_by_name must name an initialiser of tf_keras, such as glorot_uniform or he_normal, got {self.name!r}"
            ) from None

    def __call__(self) -> tf_keras.initializers.Initializer:
        return tf_keras.initializers.get(self.name)


Initializer = TruncatedNormal | RandomNormal | VarianceScaling | NamedInitializer

GLOROT_UNIFORM = NamedInitializer("glorot_uniform")


def _check_stddev(stddev: float) -> None:
    if stddev < 0:
        raise ValueError(f"stddev must be >= 0, got {stddev}")
