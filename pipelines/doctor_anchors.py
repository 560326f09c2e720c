"""The doctor's look at a config's anchors: what they miss of the objects to train on, and better ones as a patch.

TensorFlow is imported inside: only the feature extractor knows how large its feature maps are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_tools.checks.summary import ReaderSummary
from export.quiet import quiet_tensorflow
from object_detection_ext.config import Config
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, FindingCollector, Severity

if TYPE_CHECKING:
    from object_detection_ext.diagnosis.anchor_coverage import AnchorCoverage
    from object_detection_ext.diagnosis.anchor_setup import AnchorSetup

NETWORK_NOT_BUILT = Check(
    "network_not_built", Severity.ERROR, "a config from which no network with anchors can be built", "mend the field that it names"
)


class Objects(NamedTuple):
    """What there is to train on; crowds and broken boxes left out."""

    boxes: np.ndarray  # [N, 4] float32, normalised to the network's input
    class_ids: np.ndarray  # [N] int32, label-map ids


class Anchors(NamedTuple):
    """A config's anchors and how they fit the training set."""

    shapes: np.ndarray  # [S, 2] height and width in pixels of the network's input
    coverage: AnchorCoverage


@dataclass(frozen=True, eq=False)
class AnchorLook:
    """One look at a config's anchors."""

    config: Config
    setup: AnchorSetup
    class_names: Mapping[int, str]
    objects: Objects
    anchors: Anchors


def look_at_anchors(config: Config, reader: ReaderSummary | None, findings: FindingCollector) -> AnchorLook | None:
    """Builds the anchors and adds what they miss to the findings; None where there is nothing to train on, or no anchors."""
    if reader is None or not reader.is_sound.any():
        return None
    quiet_tensorflow()
    from object_detection_ext.diagnosis.anchor_coverage import find_missed_objects
    from object_detection_ext.diagnosis.anchor_setup import ANCHORS_FIELD, build_anchor_setup

    try:
        setup = build_anchor_setup(config)
    except InputError as error:
        findings.add([NETWORK_NOT_BUILT(config.path, str(error))])
        return None
    objects = training_objects(reader, setup)
    coverage = setup.measure(*objects, class_names=reader.class_names)
    shapes = np.concatenate([grid.shapes for grid in setup.grids_of(setup.generator)]) * setup.input_shape
    findings.add(find_missed_objects(coverage, config.where(ANCHORS_FIELD)))
    return AnchorLook(config, setup, reader.class_names, objects, Anchors(shapes, coverage))


def training_objects(reader: ReaderSummary, setup: AnchorSetup) -> Objects:
    """The objects of a set whose image has a known size, in the frame of the anchors."""
    sizes = reader.image_sizes[reader.box_images]
    known = reader.is_sound & ~reader.is_crowd & (sizes.min(axis=1) > 0)
    return Objects(setup.to_network(reader.boxes[known].clip(0, 1), sizes[known]), reader.class_ids[known])


def write_patch(look: AnchorLook, path: Path, *, anchors_per_location: int | None = None) -> str:
    """Searches better anchors, writes them as a config patch, and returns what to tell; writes nothing where there are none.

    Raises:
        InputError: there are too few objects, or that number of anchors is impossible.
    """
    from object_detection_ext.diagnosis.anchor_coverage import format_coverage
    from object_detection_ext.diagnosis.anchor_patch import propose_anchors, save_patch

    patch = propose_anchors(look.config, look.setup, *look.objects, class_names=look.class_names, anchors_per_location=anchors_per_location)
    if patch is None:
        return f"{format_coverage(look.anchors.coverage)}\n\nno better anchors were found; {path} is not written"
    save_patch(patch, path)
    heads = "the heads keep their shapes" if patch.keeps_heads else "the heads change their shapes: those of a checkpoint do not fit"
    return f'{format_coverage(patch.before, patch.after)}\n\nwrote {path}; {heads}. Use it: --config_override "$(cat {path})"'
