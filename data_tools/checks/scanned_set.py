"""The images of one set, gathered from their observations: arrays for everyone, and what only the checks of whole sets need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_tools.checks.classes import ClassTable, class_id
from data_tools.checks.fingerprint import Fingerprint
from data_tools.checks.observation import Observation
from data_tools.checks.summary import ReaderSummary
from object_detection_ext.data.label_map import LabelMap


@dataclass(frozen=True, eq=False)
class ScannedSet:
    """One set; I images as in its summary."""

    summary: ReaderSummary
    label_map: LabelMap | None
    source_ids: tuple[str, ...]  # I, "" without one
    digests: tuple[bytes, ...]  # I SHA-256 of the encoded images, b"" where there is none or images are not read
    fingerprints: tuple[Fingerprint | None, ...]  # I
    is_readable: np.ndarray  # [I] bool: the record is not damaged
    classes: ClassTable

    def image_name(self, image: int) -> str:
        """What a person knows image `image` by: its name and where it lies."""
        name, place = self.summary.image_names[image], self.summary.place(image)
        return f"{name!r} ({place})" if name and self.summary.is_record_set else str(place) if self.summary.is_record_set else place.path


@dataclass
class SetBuilder:
    """Takes the observations of one set in order, and makes the ScannedSet."""

    name: str
    label_map: LabelMap | None
    is_record_set: bool = True
    class_names: Mapping[int, str] = field(default_factory=dict)
    classes: ClassTable = field(default_factory=ClassTable)
    _seen: list[Observation] = field(default_factory=list)

    def add(self, seen: Observation) -> None:
        """Takes one image; its findings are the caller's."""
        where = seen.object_places or (str(seen.place),) * len(seen.classes)
        self.classes.add(seen.classes, where=where, image=seen.name, record=seen.place)
        self._seen.append(seen._replace(findings=(), object_places=()))

    def build(self, paths: Sequence[str] = ()) -> ScannedSet:
        """The set; `paths` are the record files in order, also those without records."""
        places = dict.fromkeys((*paths, *(seen.place.path for seen in self._seen)))
        file_ids = {path: index for index, path in enumerate(places)}
        ids = {named: class_id(named, self.label_map) for named in self.classes.seen}
        classes = [named for seen in self._seen for named in seen.classes]
        counts = np.array([len(seen.classes) for seen in self._seen], np.int32)
        summary = ReaderSummary(
            name=self.name,
            paths=tuple(places),
            is_record_set=self.is_record_set,
            class_names=self.class_names or _names(self.label_map),
            file_ids=np.array([file_ids[seen.place.path] for seen in self._seen], np.int32),
            record_indices=np.array([seen.place.index for seen in self._seen], np.int64),
            offsets=np.array([seen.offset for seen in self._seen], np.int64),
            image_names=tuple(seen.name for seen in self._seen),
            image_sizes=np.array([seen.size for seen in self._seen], np.int32).reshape(-1, 2),
            num_boxes=counts,
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(seen.boxes for seen in self._seen)]),
            box_images=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            class_ids=np.array([ids[named] for named in classes], np.int32),
            class_texts=tuple(named.text for named in classes),
            is_crowd=np.concatenate([np.zeros(0, bool), *(seen.is_crowd for seen in self._seen)]),
            is_sound=np.concatenate([np.zeros(0, bool), *(seen.is_sound for seen in self._seen)]),
        )
        return ScannedSet(
            summary,
            self.label_map,
            source_ids=tuple(seen.source_id for seen in self._seen),
            digests=tuple(seen.digest for seen in self._seen),
            fingerprints=tuple(seen.fingerprint for seen in self._seen),
            is_readable=np.array([seen.is_readable for seen in self._seen], bool),
            classes=self.classes,
        )


def _names(label_map: LabelMap | None) -> Mapping[int, str]:
    return {item.id: item.name for item in label_map.items} if label_map else {}
