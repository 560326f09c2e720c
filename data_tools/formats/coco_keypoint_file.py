"""COCO's keypoints in a file of their own (`person_keypoints_*.json`), which says them for annotations of the instances file by id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_tools.annotated_image import AnnotatedImage, Keypoint, ReadOptions, Source
from data_tools.formats.coco import CocoEntry, read_coco
from data_tools.formats.coco_file import unpack
from data_tools.formats.json_stream import decode_json
from object_detection_ext.data import schema


class EntryWithKeypoints(NamedTuple):
    """An image in both files."""

    instances: CocoEntry
    keypoints: CocoEntry | None  # None where the keypoint file does not have the image


def add_keypoints(source: Source, instances: Path, options: ReadOptions) -> Source:
    """Gives every object of `source` keypoints: those of the annotation with its id, else as many that are not labelled.

    Args:
        source: what `read_coco` returned for `instances`.
        instances: the instances file.
        options: `annotations` is the keypoint file, `images` the folder of images.

    Raises:
        InputError: the keypoint file is wrong; names the entry.
    """
    points = read_coco(dataclasses.replace(options, include_keypoints=True))
    by_image = {entry.image.id: entry for entry in points.entries}
    entries = [EntryWithKeypoints(entry, by_image.get(entry.image.id)) for entry in source.entries]
    names = tuple(dict.fromkeys(name for each in points.class_keypoints.values() for _, name in each))
    reader = KeypointReader(source.load, points.load, instances, options.annotations, names)
    features = (*source.object_features, schema.OBJECT_KEYPOINT_X)
    keypoints = {name: each for name, each in points.class_keypoints.items() if name in (source.class_ids or {})}
    return dataclasses.replace(source, entries=entries, load=reader, object_features=features, class_keypoints=keypoints)


@dataclass(frozen=True)
class KeypointReader:
    """Reads an image from both files."""

    read_instances: Callable[[CocoEntry], AnnotatedImage]
    read_keypoints: Callable[[CocoEntry], AnnotatedImage]
    instances: Path
    keypoints: Path
    names: tuple[str, ...]  # of the keypoints

    def __call__(self, entry: EntryWithKeypoints) -> AnnotatedImage:
        image, points = self.read_instances(entry.instances), dict[object, tuple[Keypoint, ...]]()
        if entry.keypoints is not None:
            objects = self.read_keypoints(entry.keypoints).objects
            points = {id_: item.keypoints for id_, item in zip(_ids(self.keypoints, entry.keypoints), objects, strict=True)}
        none = tuple([Keypoint(name, 0, 0, visibility=0) for name in self.names])
        pairs = zip(_ids(self.instances, entry.instances), image.objects, strict=True)
        return image._replace(objects=tuple([item._replace(keypoints=points.get(id_, none)) for id_, item in pairs]))


def _ids(path: Path, entry: CocoEntry) -> Iterator[object]:
    """The ids of an image's annotations, which stay in the file."""
    with path.open("rb") as file:
        for annotation in unpack(entry.annotations):
            file.seek(annotation.start)
            id_ = decode_json(file.read(annotation.length)).get("id")
            yield id_ if isinstance(id_, int | str) else None
