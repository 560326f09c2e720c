"""All that is settled before the first record is written: classes, images, splits, shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.annotated_image import Source
from data_tools.class_choice import choose_classes, derive_label_map
from data_tools.selection import Subset
from data_tools.shard_layout import ShardLayout, lay_out_shards
from data_tools.shards import label_map_path, manifest_path
from data_tools.splits import deal_out
from data_tools.survey import Survey, survey
from data_tools.tf_record import RecordEncoder
from data_tools.write_options import WriteOptions
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.errors import InputError


@dataclass(frozen=True)
class ConversionPlan:
    """Entry i, encoded, is the next record of shard `layout.shard_of[i]`; in the order of the entries, this always gives the same files."""

    entries: Sequence[Any]
    encoder: RecordEncoder
    layout: ShardLayout
    label_map: LabelMap
    label_map_target: Path | None  # where the map is to be written; None where it was given
    manifest_target: Path | None
    notes: tuple[str, ...]

    @property
    def targets(self) -> list[Path]:
        """All files to be written: the shards, the label map, the manifest."""
        return [*self.layout.shards, *(path for path in (self.label_map_target, self.manifest_target) if path is not None)]


def plan_conversion(source: Source, output: Path, options: WriteOptions) -> ConversionPlan:
    """Reads all annotations beforehand where something hangs on them: the label map, the splits, the size of shards.

    Raises:
        InputError: an annotation, the label map or an option is wrong for this data set.
    """
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; give a file name prefix such as {output / 'train.record'}")
    label_map = load_label_map(options.label_map) if options.label_map else None
    facts = survey(source, num_workers=options.num_workers) if _needs_survey(source, options) else None
    source, facts, notes = choose_classes(source, facts, options.selection)
    classes = label_map or derive_label_map(source, facts)
    indices = _choose_images(source, facts, options)
    split_of: Sequence[int] = bytes(len(indices))  # all in split 0
    if options.splits and facts:
        split_of, more_notes = deal_out(options.splits, source, facts, indices, num_workers=options.num_workers)
        notes += more_notes
    sizes = [facts.images[index].num_bytes for index in indices] if facts and options.shard_megabytes else None
    encoder = RecordEncoder(
        source.load,
        source.object_features,
        classes,
        label_map_name=str(options.label_map or "made from the annotations"),
        broken_boxes=options.broken_boxes,
        extra_features=source.extra_features,
        exif_boxes=options.exif_boxes,
        verify_images=options.verify_images,
    )
    return ConversionPlan(
        entries=source.entries if len(indices) == len(source.entries) else Subset(source.entries, indices),
        encoder=encoder,
        layout=lay_out_shards(output, split_of, options, sizes=sizes),
        label_map=classes,
        label_map_target=None if label_map else label_map_path(output),
        manifest_target=manifest_path(output) if options.writes_manifest else None,
        notes=source.notes + notes,
    )


def _needs_survey(source: Source, options: WriteOptions) -> bool:
    needs_names = source.class_ids is None and (options.label_map is None or options.selection.changes_classes)
    needs_images = options.splits is not None or options.shard_megabytes is not None or options.selection.drops_images_without_objects
    return needs_names or needs_images


def _choose_images(source: Source, facts: Survey | None, options: WriteOptions) -> Sequence[int]:
    indices: Sequence[int] = range(len(source.entries))
    if options.selection.drops_images_without_objects and facts:
        indices = [index for index in indices if facts.images[index].objects]
        if not indices:
            raise InputError(f"none of the {len(source.entries):,} images shows an object of the chosen classes")
    return options.selection.draw(indices)
