"""Augmentation that turns one class into another: flips in a set whose class names say left and right. No TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from object_detection_ext.config import Config
from object_detection_ext.findings import Check, Finding, Severity

FLIPPED_SIDES = Check(
    "flipped_sides",
    Severity.WARNING,
    "horizontal flips, or rotations, in a set whose class names say left and right; vertical ones with up and down",
    "remove the augmentation, or merge the classes: a flipped left hand is a right hand with the wrong label",
)
CHECKS = (FLIPPED_SIDES,)

_FIELD = "train_config.data_augmentation_options"
_HORIZONTAL = ("left", "right", "lhs", "rhs", "links", "rechts")
_VERTICAL = ("up", "down", "upper", "lower", "top", "bottom", "upward", "downward", "upwards", "downwards")
_FLIPS: dict[str, tuple[str, ...]] = {
    "random_horizontal_flip": _HORIZONTAL,
    "random_vertical_flip": _VERTICAL,
    "random_rotation90": _HORIZONTAL + _VERTICAL,
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def check_flips(config: Config, class_names: Iterable[str]) -> Iterator[Finding]:
    """Yields each augmentation step that exchanges sides which class names tell apart."""
    names = list(class_names)
    for index, option in enumerate(config.proto.train_config.data_augmentation_options):
        step = option.WhichOneof("preprocessing_step")
        sides = _FLIPS.get(step or "", ())
        told = [name for name in names if any(word.lower() in sides for word in _WORD.findall(name))]
        if told:
            path = f"{_FIELD}[{index}].{step}"
            listed = ", ".join(repr(name) for name in told[:6]) + (f" and {len(told) - 6} more" if len(told) > 6 else "")
            yield FLIPPED_SIDES(config.where(path), f"{step} with the classes {listed}")
