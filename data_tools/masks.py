"""Masks of objects, from polygons, run-length codes and PNG files to arrays of 0 and 1, and back to run-length codes.

A mask is uint8 [height, width]. Polygons are filled by pycocotools, so that masks are those of the COCO tools to the pixel. Run-length
codes are read here: files come from strangers, and pycocotools trusts what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_tools.annotated_image import PixelBox
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

LARGEST_MASK = 1 << 28  # pixels: 16,384 x 16,384
LARGEST_MASKS = 1 << 32  # bytes of all masks of an image

_MOST_BITS = 50  # of one number in a compressed run-length code: ten characters


def polygons_to_mask(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """The pixels inside any of the polygons, each `[x0, y0, x1, y1, ...]` in pixels with three points or more.

    Raises:
        InputError: there is no polygon, one has fewer points or an odd number of values, or a point lies further outside the image than
            that is wide or high.
    """
    height, width = check_mask_size(size)
    if not polygons:
        raise InputError("a mask needs a polygon, got none")
    for index, polygon in enumerate(polygons):
        if len(polygon) < 6 or len(polygon) % 2:
            raise InputError(f"polygon {index + 1} has {len(polygon)} values; it must be x and y of three points or more")
        # Memory grows with the way round the polygon. NaN compares as false.
        if not all(-side <= value <= 2 * side for start, side in ((0, width), (1, height)) for value in polygon[start::2]):
            raise InputError(f"polygon {index + 1} has a point far outside the image, which is {width}x{height}")
    coco_mask = _pycocotools_mask()
    rle = coco_mask.merge(coco_mask.frPyObjects([list(map(float, polygon)) for polygon in polygons], height, width))
    return rle_to_mask({"size": [height, width], "counts": rle["counts"].decode("ascii")}, size)


def box_to_mask(box: PixelBox, size: tuple[int, int]) -> np.ndarray:
    """The pixels of a filled box, in pixels of the mask; edges are rounded as in `polygons_to_mask`, but one pixel stays at least."""
    import numpy as np

    height, width = check_mask_size(size)
    mask = np.zeros((height, width), np.uint8)
    mask[_filled(box.y_min, box.y_max, height), _filled(box.x_min, box.x_max, width)] = 1
    return mask


def runs_to_pixels(runs: Sequence[int], count: int) -> np.ndarray:
    """`count` pixels as uint8 [count] from run lengths, of 0 first and of 1 and 0 in turns after.

    Raises:
        InputError: a run is negative, or they are not `count` pixels together.
    """
    import numpy as np

    if not all(0 <= run <= count for run in runs):
        raise InputError(f"the run-length code has a run that is negative or longer than the mask, which has {count:,} pixels")
    if sum(runs) != count:
        raise InputError(f"the run-length code has {sum(runs):,} pixels, the mask {count:,}")
    return np.repeat(np.arange(len(runs), dtype=np.uint8) & 1, runs)


def rle_to_mask(rle: Any, size: tuple[int, int]) -> np.ndarray:
    """COCO's run-length code `{"size": [height, width], "counts": [...] or text}`, columns first.

    Raises:
        InputError: `rle` is not such a code, or not of an image of `size`.
    """
    height, width = check_mask_size(size)
    got = rle.get("size") if isinstance(rle, dict) else rle
    if not isinstance(rle, dict) or not isinstance(got, list | tuple) or list(got) != [height, width]:
        raise InputError(f"a run-length code must have size [{height}, {width}] (height, width) and counts, got {got!r}")
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = uncompress_runs(counts)
    elif not isinstance(counts, list) or not all(type(run) is int for run in counts):
        raise InputError(f"the counts of a run-length code must be whole numbers or a text, got {str(counts)[:40]!r}")
    return runs_to_pixels(counts, height * width).reshape(width, height).T


def uncompress_runs(text: str) -> list[int]:
    """The run lengths in COCO's compressed form (pycocotools, maskApi.c: rleFrString).

    A character less 48 has five bits of a number, lowest first, and a sixth that says whether it goes on; the fifth bit of its last
    character is the sign. From the fourth number on, each is the difference to the one two before.

    Raises:
        InputError: another character, or the text ends within a number.
    """
    runs, value, shift = list[int](), 0, 0
    for character in text:
        chunk = ord(character) - 48
        if not 0 <= chunk < 64 or shift > _MOST_BITS:
            raise InputError(f"the run-length code has the character {character!r} where none such is allowed")
        value |= (chunk & 0x1F) << shift
        shift += 5
        if chunk & 0x20:
            continue
        if chunk & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise InputError("the run-length code ends within a number")
    return runs


def mask_to_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run-length code of a mask; `rle_to_mask` is the inverse."""
    import numpy as np

    rle = _pycocotools_mask().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def png_to_mask(png: bytes, *, largest: int = LARGEST_MASK) -> np.ndarray:
    """The mask in a PNG file, where all but 0 counts as 1.

    Raises:
        InputError: not a PNG of one channel, one that cannot be decoded, or one of more than `largest` pixels.
    """
    import numpy as np

    from data_tools.opened_image import opened_image

    with opened_image(png, formats=["PNG"], broken="a mask that is not a whole PNG file") as image:
        if image.width * image.height > largest:
            raise InputError(f"a mask of {image.width}x{image.height} pixels, more than the {largest:,} that are allowed")
        if len(image.getbands()) != 1:
            raise InputError(f"a mask must be a PNG with one channel, got {image.mode}")
        return (np.asarray(image) != 0).astype(np.uint8)


def check_mask_size(size: tuple[int, int]) -> tuple[int, int]:
    """`size`, height and width, if a mask may have it; raises `InputError` above `LARGEST_MASK` pixels."""
    height, width = size
    if height * width > LARGEST_MASK:
        raise InputError(f"a mask of {width}x{height} pixels, more than the {LARGEST_MASK:,} that are allowed")
    return size


def check_mask_memory(num_masks: int, size: tuple[int, int], *, where: str) -> None:
    """Raises `InputError`, naming `where`, if so many masks of an image of `size`, height and width, would not fit memory."""
    height, width = size
    if num_masks * height * width <= LARGEST_MASKS:
        return
    try:
        check_mask_size(size)  # of what is left the numbers can be printed
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    need = f"{num_masks:,} masks of {width}x{height} pixels need {num_masks * height * width / 1e9:,.0f} GB"
    raise InputError(f"{where}: {need}, more than the {LARGEST_MASKS / 1e9:.0f} that are allowed")


def _filled(start: float, end: float, side: int) -> slice:
    """The pixels of a row or column of `side` that have their centres between two edges, or else the one in which `start` lies."""
    start, end = (min(max(edge, 0.0), side) for edge in (start, end))
    first, last = math.floor(start + 0.5), math.floor(end + 0.5)
    if first < last:
        return slice(first, last)
    first = min(math.floor(start), side - 1)
    return slice(first, first + 1)


def _pycocotools_mask() -> Any:
    from pycocotools import mask  # its own types say less than it takes

    return mask
