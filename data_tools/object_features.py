"""The features of a record that hold one value, or one list, an object."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from data_tools.annotated_image import AnnotatedObject, Keypoint, PixelBox
from data_tools.masks import box_to_mask
from data_tools.pixels import encode_mask
from data_tools.tf_example import Feature, bytes_feature, float_feature, int64_feature, text_feature
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

KEYPOINT_KEYS = frozenset(
    (
        schema.OBJECT_KEYPOINT_X,
        schema.OBJECT_KEYPOINT_Y,
        schema.OBJECT_KEYPOINT_NUM,
        schema.OBJECT_KEYPOINT_VISIBILITY,
        schema.OBJECT_KEYPOINT_TEXT,
    )
)


_LARGEST = 3.4028234663852886e38  # float32


class Grid(NamedTuple):
    """What an annotation's numbers are measured in; every size is (height, width)."""

    extent: tuple[float, float]  # what boxes and keypoints are divided by: `annotated`, or (1, 1) for shares
    annotated: tuple[int, int]  # pixels of the annotated image
    stored: tuple[int, int]  # pixels of the stored image, which may have been resized after annotation


def box_features(objects: Sequence[AnnotatedObject], grid: Grid) -> dict[str, Feature]:
    """Boxes and class texts, which every record has."""
    height, width = grid.extent
    y_mins, x_mins, y_maxs, x_maxs = zip(*[item.box for item in objects], strict=True) if objects else ((), (), (), ())
    return {
        schema.OBJECT_XMIN: float_feature([x_min / width for x_min in x_mins]),
        schema.OBJECT_XMAX: float_feature([x_max / width for x_max in x_maxs]),
        schema.OBJECT_YMIN: float_feature([y_min / height for y_min in y_mins]),
        schema.OBJECT_YMAX: float_feature([y_max / height for y_max in y_maxs]),
        schema.OBJECT_CLASS_TEXT: text_feature([item.class_text for item in objects]),
    }


def keypoint_features(objects: Sequence[AnnotatedObject], grid: Grid) -> dict[str, Feature]:
    """Keypoints as the API's COCO converter lays them out: all points of the first object, then all of the second.

    Every object gets the same points, as the API's decoder needs; one that lacks some has them at (0, 0), not labelled.
    """
    height, width = grid.extent
    aligned = _align_keypoints(objects)
    points = [point for each in aligned for point in each]
    return {
        schema.OBJECT_KEYPOINT_X: _numbers([point.x / width for point in points], "keypoint x", objects),
        schema.OBJECT_KEYPOINT_Y: _numbers([point.y / height for point in points], "keypoint y", objects),
        schema.OBJECT_KEYPOINT_NUM: int64_feature([sum(point.visibility > 0 for point in each) for each in aligned]),
        schema.OBJECT_KEYPOINT_VISIBILITY: int64_feature([point.visibility for point in points]),
        schema.OBJECT_KEYPOINT_TEXT: text_feature([point.name for point in points]),
    }


def extra_features(keys: Sequence[str], objects: Sequence[AnnotatedObject]) -> dict[str, Feature]:
    """Float features of the format's own."""
    return {key: _numbers([item.extras[index] for item in objects], key, objects) for index, key in enumerate(keys)}


def _areas(objects: Sequence[AnnotatedObject], grid: Grid) -> bytes:
    scale = grid.stored[0] * grid.stored[1] / (grid.annotated[0] * grid.annotated[1])
    return _numbers([item.area * scale for item in objects], "area", objects)


def count_box_masks(keys: Sequence[str], objects: Sequence[AnnotatedObject]) -> int:
    """How many objects get their filled boxes as masks, where masks are among the features `keys`."""
    return sum(item.mask is None for item in objects) if schema.OBJECT_MASK in keys else 0


def _masks(objects: Sequence[AnnotatedObject], grid: Grid) -> bytes:
    """One PNG an object; that of an object without a mask is its filled box: without the object, training would call it background."""
    masks = []
    for item in objects:
        if item.mask is None:
            rows, columns = (side / extent for side, extent in zip(grid.stored, grid.extent, strict=True))
            box = PixelBox(item.box.y_min * rows, item.box.x_min * columns, item.box.y_max * rows, item.box.x_max * columns)
            masks.append(encode_mask(box_to_mask(box, grid.stored), size=grid.stored))
            continue
        if item.mask.shape != grid.annotated:
            height, width = grid.annotated
            raise InputError(f"{item.where}: the mask is [height, width] {list(item.mask.shape)}, its image {[height, width]}")
        masks.append(encode_mask(item.mask, size=grid.stored))
    return bytes_feature(masks)


def _align_keypoints(objects: Sequence[AnnotatedObject]) -> list[tuple[Keypoint, ...]]:
    names = {tuple([point.name for point in item.keypoints]) for item in objects}
    if len(names) <= 1:
        return [item.keypoints for item in objects]
    all_names = dict.fromkeys(point.name for item in objects for point in item.keypoints)
    aligned = []
    for item in objects:
        by_name = {point.name: point for point in item.keypoints}
        if len(by_name) < len(item.keypoints):
            raise InputError(f"{item.where}: two keypoints have the same name: {', '.join(point.name for point in item.keypoints)}")
        aligned.append(tuple([by_name.get(name) or Keypoint(name, 0.0, 0.0, visibility=0) for name in all_names]))
    return aligned


def _numbers(values: Sequence[float], what: str, owners: Sequence[AnnotatedObject]) -> bytes:
    """A float feature of checked values, as many of each of the owners."""
    try:
        if math.isfinite(sum(values)):
            return float_feature(values)
    except OverflowError:  # too large for float32
        pass
    for index, value in enumerate(values):
        if not -_LARGEST <= value <= _LARGEST:
            where = owners[index * len(owners) // len(values)].where
            raise InputError(f"{where}: {what} must be a number that float32 can hold, got {value:g}")
    return float_feature(values)  # only their sum was too large


# By key of `Source.object_features`, besides the class label and keypoints.
OBJECT_FEATURES: Mapping[str, Callable[[Sequence[AnnotatedObject], Grid], bytes]] = {
    schema.OBJECT_DIFFICULT: lambda objects, _: int64_feature([item.is_difficult for item in objects]),
    schema.OBJECT_TRUNCATED: lambda objects, _: int64_feature([item.is_truncated for item in objects]),
    schema.OBJECT_OCCLUDED: lambda objects, _: int64_feature([item.is_occluded for item in objects]),
    schema.OBJECT_DEPICTION: lambda objects, _: int64_feature([item.is_depiction for item in objects]),
    schema.OBJECT_VIEW: lambda objects, _: text_feature([item.view for item in objects]),
    schema.OBJECT_IS_CROWD: lambda objects, _: int64_feature([item.is_crowd for item in objects]),
    schema.OBJECT_GROUP_OF: lambda objects, _: int64_feature([item.is_group_of for item in objects]),
    schema.OBJECT_AREA: _areas,
    schema.OBJECT_WEIGHT: lambda objects, _: _numbers([item.weight for item in objects], "weight", objects),
    schema.OBJECT_MASK: _masks,
}
