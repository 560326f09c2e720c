"""The few images that have to be decoded: to be checked to the last pixel, to be turned upright, or because training cannot decode them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from PIL import Image, JpegImagePlugin

from data_tools.image_header import ImageHeader, read_header
from data_tools.image_structure import check_jpeg, check_png
from data_tools.opened_image import opened_image
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_TRANSPOSES = {  # of EXIF's orientations
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,  # counter-clockwise
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_QUALITY = 95  # above it files grow and pixels hardly change (Pillow's documentation)
_SUBSAMPLED = 2  # Pillow's number for colour at half the height and half the width; 0 keeps all of it


def check_pixels(encoded: bytes, header: ImageHeader) -> None:
    """Decodes an image to the last of its data.

    A JPEG whose data are damaged but for its markers passes, as it does in training: no decoder refuses it, and Pillow does not say what
    libjpeg thought of it. CMYK, 16 bits a channel, palettes and transparency pass too: TensorFlow makes RGB of 8 bits of all of them.

    Args:
        encoded: the image file's bytes.
        header: what `read_header` said of them.

    Raises:
        InputError: it is truncated or damaged so that Pillow or TensorFlow refuses it.
    """
    if header.format == "jpeg":
        check_jpeg(encoded)
    elif header.format == "png":
        check_png(encoded, header)
    with _opened(encoded, header) as image:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            # At an eighth of the size, in half the time: all data are read as ever, and the transform that is cut short cannot fail.
            image.draft(None, (1, 1))
        image.load()


def make_storable(encoded: bytes, header: ImageHeader) -> tuple[bytes, ImageHeader]:
    """The image that a record can hold, upright: a JPEG stays a JPEG (of quality 95), all others are PNG with the same pixels.

    TensorFlow 2 decodes BMP, GIF and WebP, but not as the API's decoder needs it: GIF and WebP come with an axis of frames, on which it
    fails, a palette in a BMP is taken for shades of gray, and for all else that reads records `image/format` is either jpeg or png.

    Raises:
        InputError: the image is broken.
    """
    with _opened(encoded, header) as image:
        image.load()
        subsampling = _subsampling(image) if header.format == "jpeg" else None
        upright = image.transpose(_TRANSPOSES[header.orientation]) if header.orientation in _TRANSPOSES else image
        upright.info.pop("exif", None)  # says to turn it once more
        buffer = io.BytesIO()
        if subsampling is not None:
            upright.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=subsampling, icc_profile=image.info.get("icc_profile"))
        else:
            upright.save(buffer, "PNG")
    stored = buffer.getvalue()
    return stored, read_header(stored)


def encode_mask(mask: np.ndarray, *, size: tuple[int, int]) -> bytes:
    """A mask [height, width] of 0 and 1 as the PNG that the API's converter writes: 8 bits, gray, 0 and 1; by nearest pixels to `size`."""
    image = Image.fromarray(mask.astype("uint8", copy=False))
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def _opened(encoded: bytes, header: ImageHeader) -> Iterator[Image.Image]:
    """The image, of an animation the first frame; whatever goes wrong while it is open is the image's fault."""
    name = header.format.upper()
    with opened_image(encoded, formats=[name], broken=f"broken {name}") as image:
        if image.size != (header.width, header.height):
            sizes = f"{header.width}x{header.height} pixels by its header, {image.width}x{image.height} when decoded"
            raise InputError(f"broken {name}: {sizes}")
        yield image


def _subsampling(image: Image.Image) -> int:
    """Half the colour where the source has no more; a source with half the colour in one direction only keeps all of it."""
    return _SUBSAMPLED if JpegImagePlugin.get_sampling(image) == _SUBSAMPLED else 0
