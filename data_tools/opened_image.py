"""Images opened with Pillow, where whatever is wrong with the bytes is one error that a user understands."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from object_detection_ext.errors import InputError

# What Pillow's readers raise for damaged bytes. Seen in half a million damaged files of ten formats: OSError (most, and truncation),
# SyntaxError (PNG, AVIF), ValueError (headers, palettes), RuntimeError (AVIF), and its own for bombs; the others stand in its sources.
# MemoryError is none of them: it says something of the machine.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@contextlib.contextmanager
def opened_image(encoded: bytes, *, formats: list[str], broken: str) -> Iterator[Image.Image]:
    """The image in an encoded file, of an animation the first frame; it is decoded when its pixels are asked for.

    Args:
        encoded: the file's bytes.
        formats: Pillow's names of the formats that it may have.
        broken: the start of the message where it is damaged.

    Raises:
        InputError: Pillow cannot read the bytes, now or within the context.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large or oddly tagged files that it reads well
            with Image.open(io.BytesIO(encoded), formats=formats) as image:
                yield image
    except InputError:
        raise
    except PILLOW_ERRORS as error:
        raise InputError(f"{broken}: {_describe(error)}") from None


def _describe(error: Exception) -> str:
    """Pillow's words, without the address of the buffer that holds the bytes."""
    return "cannot identify image file" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
