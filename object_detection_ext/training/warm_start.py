"""Where the weights of a new run come from: a checkpoint of another one, or of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from object_detection_ext.weights.locate import locate_weights
from object_detection_ext.weights.names import Part
from object_detection_ext.weights.open import open_weights
from object_detection_ext.weights.report import RestoreReport
from object_detection_ext.weights.restore import restore

if TYPE_CHECKING:
    import tf_keras

Kind = Literal["classification", "detection", "full"]

# What each kind restores, and the least share of it, by parameters, that must fit. Three quarters of a backbone allow for Keras
# applications' MobileNetV2 below depth 1.0, whose last layer is another (18 % of the backbone at 0.75). Class heads for another number
# of classes do not count.
PARTS: dict[Kind, frozenset[Part]] = {
    "classification": frozenset({"backbone"}),
    "detection": frozenset({"backbone", "feature_maps"}),
    "full": frozenset({"backbone", "feature_maps", "heads"}),
}
MIN_SHARE: dict[Kind, float] = {"classification": 0.75, "detection": 0.9, "full": 0.9}


@dataclass(frozen=True)
class WarmStart:
    """Reads stored weights into a network before its first step.

    Attributes:
        path: a checkpoint's prefix, a folder, a file, or `imagenet`: all that `weights.open.open_weights` knows.
        kind: which parts of the network are read.
        depth_multiplier: the config's, for advice.
    """

    path: str
    kind: Kind
    depth_multiplier: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in PARTS:
            raise ValueError(f"kind must be one of {', '.join(PARTS)}, got {self.kind}")

    def check_path(self) -> None:
        """Raises `InputError` where `path` is no stored weights. Reads nothing: for the time before a network is built."""
        locate_weights(self.path)

    def __call__(self, network: tf_keras.Model) -> RestoreReport:
        """Assigns what fits; the rest keeps its initial values.

        Raises:
            InputError: there are no weights at `path`, or too few of them fit; then nothing is assigned.
        """
        shapes = {variable.name.partition(":")[0]: tuple(variable.shape) for variable in network.weights}
        return restore(
            network,
            open_weights(self.path, shapes=shapes),
            parts=PARTS[self.kind],
            min_share=MIN_SHARE[self.kind],
            depth_multiplier=self.depth_multiplier,
        )
