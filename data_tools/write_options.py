"""How an annotated data set becomes records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_tools.tf_record import BrokenBoxes


@dataclass(frozen=True)
class WriteOptions:
    """Settings of `create_tf_record`; fields of other modules say more in theirs."""

    num_shards: int = 1
    is_numbered: bool = True  # False: one file that is named as the output says, without -00000-of-00001
    label_map: Path | None = None  # None: a map is written beside the records (`shards.label_map_path`)
    broken_boxes: BrokenBoxes = "drop"  # a box that is empty, inverted or leaves the image: drop it, clip it to the image, or stop
    num_workers: int = 1  # processes; the records do not depend on it

    def __post_init__(self) -> None:
        if self.num_shards < 1 or self.num_workers < 1:
            raise ValueError(f"num_shards and num_workers must be at least 1, got {self.num_shards} and {self.num_workers}")
        if self.num_shards > 1 and not self.is_numbered:
            raise ValueError(f"num_shards must be 1 where shards are not numbered, got {self.num_shards}")


DEFAULT_OPTIONS = WriteOptions()
