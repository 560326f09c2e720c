"""What every annotation format is read into: one image with its objects, in pixels, knowing where each came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from object_detection_ext.data.label_map import LabelMapItem


class PixelBox(NamedTuple):
    """A box in pixels of the annotated image, edges as the annotation file gives them (0 to width, 0 to height)."""

    y_min: float
    x_min: float
    y_max: float
    x_max: float


class Keypoint(NamedTuple):
    """A named point of an object, in pixels of the annotated image."""

    name: str
    y: float
    x: float
    visibility: int = 2  # COCO's: 0 not labelled, 1 labelled but hidden, 2 visible


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
    is_group_of: bool = False
    weight: float = 1.0
    mask: np.ndarray | None = None  # uint8 [height, width] of 0 and 1, of the annotated image; only where masks were asked for
    keypoints: tuple[Keypoint, ...] = ()
    extras: tuple[float, ...] = ()  # one for each of `Source.extra_features`
    is_occluded: bool = False
    is_depiction: bool = False  # Open Images: a drawing or a model of the object


class AnnotatedImage(NamedTuple):
    """One image and what its annotation says."""

    path: Path  # an existing file inside the image folder; of an image inside a record file, that file
    filename: str  # as recorded: relative to the image folder
    source_id: str  # unique in the data set
    size: tuple[int, int] | None  # height, width in pixels as the annotation claims; None where it does not say
    objects: tuple[AnnotatedObject, ...]
    where: str  # the annotation file and place that names this image
    image_labels: tuple[str, ...] = ()  # classes that were looked for in the whole image
    image_label_confidences: tuple[float, ...] = ()  # one a label: 1 verified to be there, 0 verified not to be there
    encoded: bytes | None = None  # the image file's content where it does not lie in a file of its own
    has_relative_boxes: bool = False  # boxes, keypoints are given in shares of height and width instead of pixels
    notes: tuple[str, ...] = ()  # what was left out or taken another way than it stands there, one line each with its place


@dataclass(frozen=True)
class ReadOptions:
    """What a format's reader is told; a format refuses an option that it has no use for."""

    images: Path  # folder of image files
    annotations: Path  # file or folder, as the format says
    split_file: Path | None = None  # only the images listed in it
    include_masks: bool = False
    include_keypoints: bool = False
    image_labels: Path | None = None  # Open Images: CSV of image-level labels
    class_descriptions: Path | None = None  # Open Images: CSV of label code and name
    hierarchy: Path | None = None  # Open Images: JSON of classes and their parts, to expand labels to parents


@dataclass(frozen=True)
class Source:
    """An annotated data set: cheap entries, one an image and in record order, and the reader that turns one into an AnnotatedImage.

    Entries and reader can be pickled, so that worker processes share the reading.
    """

    entries: Sequence[Any]
    load: Callable[[Any], AnnotatedImage]
    object_features: tuple[str, ...]  # keys of data.schema that this format fills besides box and class
    class_ids: Mapping[str, int] | None = None  # None: the format has class names but no ids
    extra_features: tuple[str, ...] = ()  # float features of the format's own, one value an object (`AnnotatedObject.extras`)
    notes: tuple[str, ...] = ()  # what the reader wants the user to hear once, one line each
    class_keypoints: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)  # for the label map: (id from 1, name)
    class_items: Mapping[str, LabelMapItem] = field(default_factory=dict)  # of a label map that the data set has, by name: display names


@dataclass(frozen=True)
class Format:
    """An annotation format as the command offers it."""

    read: Callable[[ReadOptions], Source]
    recognise: Callable[[Path], ReadOptions | None]  # the data set in a folder, None where the folder holds another format
    has_image_folder: bool = True  # False: --images means something else than a folder of image files
    needs_annotations: bool = True  # False: `annotations` may be the same as `images`
