"""What one pass over a data set has seen, as arrays: for the checks that need all of it, for anchor coverage and for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from object_detection_ext.findings import FindingGroup, RecordPlace


@dataclass(frozen=True, eq=False)
class ReaderSummary:
    """One set of images, in the order of its files; I images, N boxes in the order of their images.

    Every box of the records is here, broken ones too: `is_sound` tells which can be learnt. A record that is no tf.Example, or whose
    coordinates differ in number, is an image without boxes.
    """

    name: str  # "train" or "eval"; "records" or "source" without a config
    paths: tuple[str, ...]  # record files; of a source folder, the image files
    is_record_set: bool  # False for a source folder: image i is the file paths[i]
    class_names: Mapping[int, str]  # label-map id -> name; empty without a label map
    file_ids: np.ndarray  # [I] int32, index into paths
    record_indices: np.ndarray  # [I] int64, number of the record in its file, from 0; 0 in a source folder
    offsets: np.ndarray  # [I] int64, byte of the file at which the record's frame starts; 0 in a source folder
    image_names: tuple[str, ...]  # I source ids, or file names where there is none; "" for neither
    image_sizes: np.ndarray  # [I, 2] int32, height and width in pixels of the encoded image; 0 where its header cannot be read
    num_boxes: np.ndarray  # [I] int32
    boxes: np.ndarray  # [N, 4] float32, ymin, xmin, ymax, xmax, normalised to the stored image, as they stand in the record
    box_images: np.ndarray  # [N] int32, index of the box's image
    class_ids: np.ndarray  # [N] int32, label-map id: the label, else the text through the label map; 0 where neither gives one
    class_texts: tuple[str, ...]  # N texts as recorded, "" where the record has none
    is_crowd: np.ndarray  # [N] bool
    is_sound: np.ndarray  # [N] bool: finite, in order and with an area inside the image

    @property
    def num_images(self) -> int:
        """I."""
        return len(self.file_ids)

    def place(self, image: int) -> RecordPlace:
        """Where image `image` lies; in a source folder the image file, as record 0 of it."""
        return RecordPlace(self.paths[self.file_ids[image]], int(self.record_indices[image]))

    @cached_property
    def object_names(self) -> tuple[str, ...]:
        """N names of classes: the one in the label map, else the text, else the id."""
        return tuple(
            self.class_names.get(class_id) or text or (f"id {class_id}" if class_id else "no class")
            for class_id, text in zip(self.class_ids.tolist(), self.class_texts, strict=True)
        )

    @cached_property
    def class_counts(self) -> Mapping[str, int]:
        """Objects by class, largest first; classes as `object_names` calls them."""
        return dict(sorted(Counter(self.object_names).items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, eq=False)
class DataSummary:
    """All sets of one scan with what the checks found in them."""

    readers: tuple[ReaderSummary, ...]
    findings: tuple[FindingGroup, ...]  # worst first
    seconds: float

    def reader(self, name: str) -> ReaderSummary | None:
        """The set of this name; None where the scan had none."""
        return next((reader for reader in self.readers if reader.name == name), None)
