"""The policies of AutoAugment for object detection, as the TF Object Detection API publishes them; v0 is the one that the paper reports.

Zoph et al. 2019, "Learning Data Augmentation Strategies for Object Detection", arXiv:1906.11172.
"""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """One operation of a sub-policy."""

    name: str
    probability: float
    magnitude: int  # 0 to 10


SubPolicy = tuple[Operation, ...]
"""Operations, applied in order."""

Policy = tuple[SubPolicy, ...]
"""Sub-policies; each image draws one of them."""


def _policy(text: str) -> Policy:
    """A sub-policy a line, its operations as `name probability magnitude`, with commas between them."""
    return tuple(tuple(_operation(words) for words in line.split(",")) for line in text.strip().splitlines())


def _operation(words: str) -> Operation:
    name, probability, magnitude = words.split()
    return Operation(name, float(probability), int(magnitude))


_V0 = """
TranslateX_BBox 0.6 4, Equalize 0.8 10
TranslateY_Only_BBoxes 0.2 2, Cutout 0.8 8
Sharpness 0.0 8, ShearX_BBox 0.4 0
ShearY_BBox 1.0 2, TranslateY_Only_BBoxes 0.6 6
Rotate_BBox 0.6 10, Color 1.0 6
"""

_V1 = (
    _V0
    + """Color 0.0 0, ShearX_Only_BBoxes 0.8 4
ShearY_Only_BBoxes 0.8 2, Flip_Only_BBoxes 0.0 10
Equalize 0.6 10, TranslateX_BBox 0.2 2
Color 1.0 10, TranslateY_Only_BBoxes 0.4 6
Rotate_BBox 0.8 10, Contrast 0.0 10
Cutout 0.2 2, Brightness 0.8 10
Color 1.0 6, Equalize 1.0 2
Cutout_Only_BBoxes 0.4 6, TranslateY_Only_BBoxes 0.8 2
Color 0.2 8, Rotate_BBox 0.8 10
Sharpness 0.4 4, TranslateY_Only_BBoxes 0.0 4
Sharpness 1.0 4, SolarizeAdd 0.4 4
Rotate_BBox 1.0 8, Sharpness 0.2 8
ShearY_BBox 0.6 10, Equalize_Only_BBoxes 0.6 8
ShearX_BBox 0.2 6, TranslateY_Only_BBoxes 0.2 10
SolarizeAdd 0.6 8, Brightness 0.8 10
"""
)

_V2 = """
Color 0.0 6, Cutout 0.6 8, Sharpness 0.4 8
Rotate_BBox 0.4 8, Sharpness 0.4 2, Rotate_BBox 0.8 10
TranslateY_BBox 1.0 8, AutoContrast 0.8 2
AutoContrast 0.4 6, ShearX_BBox 0.8 8, Brightness 0.0 10
SolarizeAdd 0.2 6, Contrast 0.0 10, AutoContrast 0.6 0
Cutout 0.2 0, Solarize 0.8 8, Color 1.0 4
TranslateY_BBox 0.0 4, Equalize 0.6 8, Solarize 0.0 10
TranslateY_BBox 0.2 2, ShearY_BBox 0.8 8, Rotate_BBox 0.8 8
Cutout 0.8 8, Brightness 0.8 8, Cutout 0.2 2
Color 0.8 4, TranslateY_BBox 1.0 6, Rotate_BBox 0.6 6
Rotate_BBox 0.6 10, BBox_Cutout 1.0 4, Cutout 0.2 8
Rotate_BBox 0.0 0, Equalize 0.6 6, ShearY_BBox 0.6 8
Brightness 0.8 8, AutoContrast 0.4 2, Brightness 0.2 2
TranslateY_BBox 0.4 8, Solarize 0.4 6, SolarizeAdd 0.2 10
Contrast 1.0 10, SolarizeAdd 0.2 8, Equalize 0.2 4
"""

_V3 = """
Posterize 0.8 2, TranslateX_BBox 1.0 8
BBox_Cutout 0.2 10, Sharpness 1.0 8
Rotate_BBox 0.6 8, Rotate_BBox 0.8 10
Equalize 0.8 10, AutoContrast 0.2 10
SolarizeAdd 0.2 2, TranslateY_BBox 0.2 8
Sharpness 0.0 2, Color 0.4 8
Equalize 1.0 8, TranslateY_BBox 1.0 8
Posterize 0.6 2, Rotate_BBox 0.0 10
AutoContrast 0.6 0, Rotate_BBox 1.0 6
Equalize 0.0 4, Cutout 0.8 10
Brightness 1.0 2, TranslateY_BBox 1.0 6
Contrast 0.0 2, ShearY_BBox 0.8 0
AutoContrast 0.8 10, Contrast 0.2 10
Rotate_BBox 1.0 10, Cutout 1.0 10
SolarizeAdd 0.8 6, Equalize 0.8 8
"""

POLICIES: dict[str, Policy] = {
    "v0": _policy(_V0),
    "v1": _policy(_V1),
    "v2": _policy(_V2),
    "v3": _policy(_V3),
    "test": _policy("TranslateX_BBox 1.0 4, Equalize 1.0 10"),
}
