"""Image files: finding, reading and writing them. No TensorFlow."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    ImageSource = str | os.PathLike[str] | np.ndarray | Image.Image

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def find_images(patterns: Sequence[str]) -> list[Path]:
    """The image files that files, folders and globs (`**` for all subfolders) mean, each once, in order.

    Raises:
        InputError: one of them matches no image.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file())
            if not matches:
                raise InputError(
                    f"no images in folder {pattern} (looked for {' '.join(IMAGE_SUFFIXES)}; for subfolders give '{pattern}/**/*.jpg')"
                )
        else:
            matches = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file())
            if not matches:
                raise InputError(f"no image matches {pattern}: give a file, a folder or a glob")
        found |= dict.fromkeys(matches)
    return list(found)


def read_image(source: ImageSource) -> np.ndarray:
    """An image as RGB pixels, upright: EXIF orientation is applied, transparency is dropped, of an animation the first frame counts.

    Args:
        source: a file, a Pillow image, or pixels `[H, W, 3]` uint8.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        InputError: it is no image that can be read; names the file.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[-1] != 3 or not source.size:
            raise InputError(f"an image must be [height, width, 3] uint8 RGB, got {list(source.shape)} {source.dtype}")
        return source
    if isinstance(source, Image.Image):
        return _pixels(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large or oddly tagged files that it reads well
            with Image.open(source) as image:
                return _pixels(image)
    except UnidentifiedImageError:
        raise InputError(f"{os.fspath(source)}: not an image, or of a format that Pillow does not read") from None
    except FileNotFoundError:
        raise InputError(f"{os.fspath(source)}: no such file") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise InputError(f"{os.fspath(source)}: broken image ({error or type(error).__name__})") from error


def _pixels(image: Image.Image) -> np.ndarray:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel; convert() would cut off all above 255
        values = np.asarray(image)
        image = Image.fromarray(
            (np.clip(values, 0, 65535) // 256).astype(np.uint8) if values.max(initial=0) > 255 else values.astype(np.uint8)
        )
    return np.array(image.convert("RGB"))


def save_picture(pixels: np.ndarray, path: Path) -> None:
    """Writes `[H, W, 3]` uint8, PNG or JPEG by the suffix, whole or not at all."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    settings: Mapping[str, Any] = {"quality": 92} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    try:
        Image.fromarray(pixels).save(temporary, **settings)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
