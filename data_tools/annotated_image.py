"""What every annotation format is read into: one image with its objects, in pixels, knowing where each came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class PixelBox(NamedTuple):
    """A box in pixels of the annotated image, edges as the annotation file gives them (0 to width, 0 to height)."""

    y_min: float
    x_min: float
    y_max: float
    x_max: float


class AnnotatedObject(NamedTuple):
    """One object; fields after `where` count only for formats that name them in `Source.object_features`."""

    class_text: str
    box: PixelBox
    where: str  # "file:line: object 3" or the like, the start of any message about this object
    is_difficult: bool = False
    is_truncated: bool = False
    view: str = "Unspecified"  # VOC's word for a pose that nobody noted
    is_crowd: bool = False
    area: float = 0.0  # pixels


class AnnotatedImage(NamedTuple):
    """One image file and what its annotation says."""

    path: Path  # an existing file inside the image folder
    filename: str  # as recorded: relative to the image folder
    source_id: str  # unique in the data set
    size: tuple[int, int] | None  # height, width in pixels as the annotation claims; None where it does not say
    objects: tuple[AnnotatedObject, ...]
    where: str  # the annotation file and place that names this image


@dataclass(frozen=True)
class Source:
    """An annotated data set: cheap entries, one an image and in record order, and the reader that turns one into an AnnotatedImage.

    Entries and reader can be pickled, so that worker processes share the reading.
    """

    entries: Sequence[Any]
    load: Callable[[Any], AnnotatedImage]
    object_features: tuple[str, ...]  # keys of data.schema that this format fills besides box and class
    class_ids: Mapping[str, int] | None = None  # None: the format has class names but no ids
