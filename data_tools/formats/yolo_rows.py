"""The rows of a YOLO label file: one object each, in shares of the image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from data_tools.annotated_image import AnnotatedObject, Keypoint, PixelBox
from data_tools.formats.yolo_description import YoloDescription
from object_detection_ext.errors import InputError

_ROUNDING = 1e-3  # of an image's side: writers keep few decimals, so a box at the edge may end a little outside
_SCORE_HINT = "; six are a detection with its score, no ground truth"


@dataclass(frozen=True)
class RowReader:
    """Turns the row of one object, in columns, into an object with its polygon in shares of the image, if it has one."""

    description: YoloDescription
    include_keypoints: bool = False

    def __call__(self, columns: Sequence[str], where: str) -> tuple[AnnotatedObject, list[float]]:
        index = _class_index(columns[0], self.description.names, where)
        name = self.description.names[index]
        where = f"{where} ({name})"
        num_keypoints, keypoint_values = self.description.num_keypoints, self.description.keypoint_values
        num_values = len(columns) - 1
        if num_keypoints and num_values != 4 + num_keypoints * keypoint_values:
            shape = f"kpt_shape [{num_keypoints}, {keypoint_values}]"
            raise InputError(f"{where}: with {shape} a row has {5 + num_keypoints * keypoint_values} columns, got {num_values + 1}")
        if not num_keypoints and num_values != 4 and (num_values < 6 or num_values % 2):
            allowed = "5 (class, x, y, width, height), or 7, 9 and so on (class, and x and y of each point of a polygon)"
            raise InputError(f"{where}: a row has {allowed}; got {num_values + 1} columns{_SCORE_HINT if num_values == 5 else ''}")
        if num_values == 4 or num_keypoints:
            y, x, height, width = (_share(columns[place], where) for place in (2, 1, 4, 3))
            box = PixelBox(_snap(y - height / 2), _snap(x - width / 2), _snap(y + height / 2), _snap(x + width / 2))
            keypoints = tuple(self._keypoints(columns[5:], where)) if self.include_keypoints else ()
            return AnnotatedObject(name, box, where, keypoints=keypoints), []
        polygon = [_snap(_share(text, where)) for text in columns[1:]]
        box = PixelBox(min(polygon[1::2]), min(polygon[::2]), max(polygon[1::2]), max(polygon[::2]))
        return AnnotatedObject(name, box, where), polygon

    def _keypoints(self, columns: Sequence[str], where: str) -> Iterator[Keypoint]:
        step = self.description.keypoint_values
        for index in range(self.description.num_keypoints):
            x, y = (_share(text, where) for text in columns[index * step : index * step + 2])
            visibility = 2 if x or y else 0
            if step == 3:
                text = columns[index * step + 2]
                if text.removesuffix(".0") not in ("0", "1", "2"):
                    raise InputError(f"{where}: keypoint {index}: visibility must be 0, 1 or 2, got {text!r}")
                visibility = int(text[0])
            yield Keypoint(str(index), y, x, visibility)


def _class_index(text: str, names: Collection[int], where: str) -> int:
    whole = text.removesuffix(".0")
    if not (whole.isascii() and whole.isdecimal() and len(whole) < 10):
        raise InputError(f"{where}: the class index must be a whole number from 0, got {text!r}")
    if int(whole) not in names:
        raise InputError(f"{where}: class index {whole} is not among the {len(names)} classes, {min(names)} to {max(names)}")
    return int(whole)


def _share(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is not a number") from None
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        hint = "; are these pixels?" if 1 < value < 1e5 else ""
        raise InputError(f"{where}: {text} is not between 0 and 1: coordinates are shares of the image's width and height{hint}")
    return value


def _snap(value: float) -> float:
    if -_ROUNDING <= value < 0:
        return 0.0
    return 1.0 if 1 < value <= 1 + _ROUNDING else value
