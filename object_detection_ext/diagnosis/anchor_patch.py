"""A config patch with better anchors: searched, measured on all objects, written as text that merges over the config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format

from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.config import Config
from object_detection_ext.diagnosis.anchor_coverage import AnchorCoverage
from object_detection_ext.diagnosis.anchor_search import Generator, search_anchors
from object_detection_ext.diagnosis.anchor_setup import AnchorSetup
from object_detection_ext.errors import InputError
from object_detection_ext.protos import anchor_generator_pb2

MIN_OBJECTS = 20  # fewer say nothing about those to come

# Merging appends to lists and replaces one member of a oneof by another: an empty rival clears what the config had.
_RIVAL = "grid_anchor_generator { }"


@dataclass(frozen=True)
class AnchorPatch:
    """Better anchors for a config and a data set."""

    generator: Generator
    before: AnchorCoverage
    after: AnchorCoverage
    text: str  # text format with comments: for `--config_override`, or to be pasted
    keeps_heads: bool  # as many anchors per location as before, so that no shape in the network changes


def propose_anchors(
    config: Config,
    setup: AnchorSetup,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    *,
    class_names: Mapping[int, str],
    anchors_per_location: int | None = None,
) -> AnchorPatch | None:
    """A patch that leaves fewer objects without an anchor; None where the search finds nothing better.

    Args:
        config: with the anchors that `setup` was built from.
        boxes: [N, 4] float, with area, normalised to the (padded) network input (`AnchorSetup.to_network`).
        class_ids: [N] int, label-map ids.
        class_names: label-map id -> name.
        anchors_per_location: more or fewer than the config's; None keeps their number, and with it the heads of the network.

    Raises:
        InputError: there are too few objects, or that number of anchors is impossible.
    """
    if len(boxes) < MIN_OBJECTS:
        raise InputError(f"anchors can be fitted to {MIN_OBJECTS} objects or more, got {len(boxes)}")
    where = {"feature_map_shapes": setup.feature_map_shapes, "image_shape": setup.input_shape, "threshold": setup.threshold}
    try:
        generator = search_anchors(setup.generator, boxes, class_ids, anchors_per_location=anchors_per_location, **where)
    except ValueError as error:
        raise InputError(f"--{error}") from error
    before, after = (setup.measure(boxes, class_ids, class_names=class_names, generator=each) for each in (None, generator))
    if after.overall.num_missed >= before.overall.num_missed:
        return None
    keeps_heads = generator.num_anchors_per_location == setup.generator.num_anchors_per_location
    text = _comment(config, before, after, generator.num_anchors_per_location, keeps_heads) + _text(config, generator)
    return AnchorPatch(generator, before, after, text, keeps_heads)


def apply_patch(config: Config, patch: AnchorPatch, *, source: str = "anchor patch") -> Config:
    """The config with the patch's anchors in place of its own."""
    return config.merged(patch.text, source=source)


def save_patch(patch: AnchorPatch, path: str | os.PathLike[str]) -> None:
    """Writes the patch's text whole or not at all."""
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(patch.text, encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _text(config: Config, generator: Generator) -> str:
    """The whole `anchor_generator`, because merging keeps what a patch leaves out only where it does not clear it first."""
    message = anchor_generator_pb2.AnchorGenerator()
    message.CopyFrom(config.proto.model.ssd.anchor_generator)
    if isinstance(generator, SsdAnchorGenerator):
        kind, target = "ssd_anchor_generator", message.ssd_anchor_generator
        for name in ("min_scale", "max_scale", "scales"):
            target.ClearField(name)
        target.scales.extend(generator.scales)
        target.interpolated_scale_aspect_ratio = generator.interpolated_scale_aspect_ratio
        target.reduce_boxes_in_lowest_layer = generator.reduce_boxes_in_lowest_layer
        target.base_anchor_height, target.base_anchor_width = generator.base_anchor_size
    else:
        kind, target = "multiscale_anchor_generator", message.multiscale_anchor_generator
        target.anchor_scale = generator.anchor_scale
        target.scales_per_octave = generator.scales_per_octave
    target.ClearField("aspect_ratios")
    target.aspect_ratios.extend(generator.aspect_ratios)
    fields = "".join(f"        {line}\n" for line in text_format.MessageToString(target).splitlines())
    return f"model {{\n  ssd {{\n    anchor_generator {{\n      {_RIVAL}\n      {kind} {{\n{fields}      }}\n    }}\n  }}\n}}\n"


def _comment(config: Config, before: AnchorCoverage, after: AnchorCoverage, num_anchors: list[int], keeps_heads: bool) -> str:
    numbers = ", ".join(str(number) for number in num_anchors)
    if keeps_heads:
        heads = (
            f"As many anchors at each location as before ({numbers}): no shape in the network changes, checkpoints load.\n"
            "# A box head that was trained with other anchors is only a start: its offsets belong to the old ones."
        )
    else:
        heads = f"Another number of anchors at each location ({numbers}): heads of a checkpoint do not fit any more; backbones do."
    return (
        f"# Anchors for {config.path.name}, fitted to {before.overall.num_objects:,} objects.\n"
        f"# No anchor reaches IoU {before.threshold:g} with {before.overall.missed_share:.1%} of them now, "
        f"with {after.overall.missed_share:.1%} with this patch;\n"
        f"# mean best IoU {before.overall.mean_iou:.3f} and {after.overall.mean_iou:.3f}.\n"
        f"# {heads}\n"
        '# Use: --config_override "$(cat THIS_FILE)". The empty generator clears the lists of the config, to which merging would append;\n'
        "# to edit the config by hand, put the one below it in place of the config's own.\n"
    )
