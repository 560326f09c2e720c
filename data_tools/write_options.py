"""How an annotated data set becomes records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.orientation import ExifBoxes
from data_tools.selection import Selection
from data_tools.splits import Splits
from data_tools.tf_record import BrokenBoxes


@dataclass(frozen=True)
class WriteOptions:
    """Settings of `create_tf_record`; the dataclasses among them say more in their own modules."""

    num_shards: int = 1  # of all splits together, each gets its share of them, at least one
    shard_megabytes: float | None = None  # about this many million bytes a shard; takes the place of `num_shards`
    allows_empty_shards: bool = False  # for names that are fixed by other people's commands; else so many shards are refused
    is_numbered: bool = True  # False: one file (a split) that is named as the output says, without -00000-of-00001
    label_map: Path | None = None  # None: a map is written beside the records (`shards.label_map_path`)
    broken_boxes: BrokenBoxes = "drop"  # a box that is empty, inverted or leaves the image: drop it, clip it to the image, or stop
    exif_boxes: ExifBoxes = "auto"  # which pixels of an image with an EXIF orientation its boxes belong to; auto: as its size tells
    verify_images: bool = False  # decode every image and stop at a broken one, instead of looking at headers and ends
    selection: Selection = field(default_factory=Selection)
    splits: Splits | None = None
    writes_manifest: bool = True  # a JSON file of counts and checksums beside the records (`shards.manifest_path`)
    resumes: bool = False  # go on where a run with the same settings was stopped, and keep what is finished if this one is
    num_workers: int = 1  # processes; the records do not depend on it
    arguments: Mapping[str, object] = field(default_factory=dict)  # of the command or script, for the manifest and to resume
    inputs: tuple[Path, ...] = ()  # annotation files and folders; `resumes` refuses to go on where one has changed

    def __post_init__(self) -> None:
        if self.num_shards < 1 or self.num_workers < 1:
            raise ValueError(f"num_shards and num_workers must be at least 1, got {self.num_shards} and {self.num_workers}")
        if self.shard_megabytes is not None and not 0 < self.shard_megabytes < float("inf"):
            raise ValueError(f"shard_megabytes must be above 0, got {self.shard_megabytes}")
        if not self.is_numbered and (self.num_shards > 1 or self.shard_megabytes is not None):
            raise ValueError("there can be one shard only where shards are not numbered")

    def settings(self) -> dict[str, object]:
        """What the records depend on."""
        return {name: value for name, value in vars(self).items() if name not in ("resumes", "num_workers", "arguments", "inputs")}


DEFAULT_OPTIONS = WriteOptions()
