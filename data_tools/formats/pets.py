"""Oxford-IIIT Pets: an XML file in VOC's form with the box of the face, a trimap of the whole animal (robots.ox.ac.uk/~vgg/data/pets/).

The folder of annotations has `xmls` and `trimaps`. The class is the breed in the image's name (`american_bulldog_100.jpg`), not the XML's
`dog` or `cat`. Trimap pixels are 1 in the animal, 2 in the background, 3 at the animal's edge, which counts as the animal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.annotated_image import AnnotatedImage, Format, PixelBox, ReadOptions, Source
from data_tools.formats.options import refuse_unused
from data_tools.formats.voc import read_voc
from data_tools.image_file import find_inside
from data_tools.opened_image import opened_image
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_BREED = re.compile(r"([A-Za-z_]+)_[0-9]+\.[A-Za-z]+")  # of an image's name
_BACKGROUND = 2  # in a trimap
_LARGEST_TRIMAP = 1 << 26  # pixels


def read_pets(options: ReadOptions) -> Source:
    """Lists a pets data set: an object for the face of each animal or, with masks, for the whole animal.

    Args:
        options: `images` is the folder of images, `annotations` that of `xmls` and `trimaps`; `split_file` (`trainval.txt`) lists the
            images to take, the stem first in each line; without it every XML file counts, by name. Listed images without an XML file are
            left out and counted in a note, as the data set has some: they show an animal that nobody annotated. `include_masks` takes mask
            and box from the trimap.
    """
    refuse_unused(options, "pets", "split_file", "include_masks")
    if not (options.annotations / "xmls").is_dir():
        raise InputError(f"{options.annotations} has no folder xmls; the pets format needs the folder with xmls and trimaps")
    voc = read_voc(ReadOptions(options.images, options.annotations / "xmls"))
    paths: dict[str, Path] = {path.stem: path for path in voc.entries}
    stems, notes = list(paths), ()
    if options.split_file is not None:
        listed = _listed(options.split_file)
        stems = [stem for stem in listed if stem in paths]
        if not stems:
            raise InputError(f"{options.split_file}: none of its {len(listed):,} images has an XML file in {options.annotations / 'xmls'}")
        if len(stems) < len(listed):
            notes = (f"{options.split_file}: {len(listed) - len(stems):,} of {len(listed):,} images have no XML file: left out",)
    features = voc.object_features + ((schema.OBJECT_MASK,) if options.include_masks else ())
    trimaps = (options.annotations / "trimaps").resolve() if options.include_masks else None
    return Source([paths[stem] for stem in stems], PetsReader(voc.load, trimaps), features, notes=notes)


@dataclass(frozen=True)
class PetsReader:
    """Turns one XML file, and its trimap where masks are wanted, into an AnnotatedImage."""

    read_xml: Callable[[Path], AnnotatedImage]
    trimaps: Path | None  # resolved

    def __call__(self, path: Path) -> AnnotatedImage:
        image = self.read_xml(path)
        breed = _BREED.fullmatch(image.filename)
        if breed is None:
            raise InputError(f"{path}: the image {image.filename!r} is not named BREED_NUMBER.jpg, so that its class is not known")
        objects = [item._replace(class_text=breed[1]) for item in image.objects]
        if self.trimaps is not None:
            mask = _read_trimap(self.trimaps, f"{path.stem}.png", image)
            box = _bounding_box(mask, str(self.trimaps / f"{path.stem}.png"))
            objects = [item._replace(mask=mask, box=box) for item in objects]
        return image._replace(objects=tuple(objects))


def _recognise(folder: Path) -> ReadOptions | None:
    """`images` beside `annotations` with `xmls` and `trimaps`, as the archives unpack."""
    annotations = folder / "annotations"
    folders = (folder / "images", annotations / "xmls", annotations / "trimaps")
    return ReadOptions(folder / "images", annotations) if all(path.is_dir() for path in folders) else None


def _listed(split_file: Path) -> list[str]:
    numbers: dict[str, int] = {}
    for number, line in read_split_file(split_file):
        if line.startswith("#"):  # the head of list.txt
            continue
        stem = line.split()[0]
        if stem in numbers:
            raise InputError(f"{split_file}:{number}: {stem!r} is listed twice, first in line {numbers[stem]}")
        numbers[stem] = number
    return list(numbers)


def _read_trimap(folder: Path, name: str, image: AnnotatedImage) -> np.ndarray:
    """The mask, [height, width] uint8 of 0 and 1."""
    import numpy as np

    path = find_inside(folder, name)
    if path is None:
        raise InputError(f"{image.where}: no trimap {name} in {folder}")
    with opened_image(path.read_bytes(), formats=["PNG"], broken=f"{path}: not a PNG that can be read") as trimap:
        width, height = trimap.size
        if width * height > _LARGEST_TRIMAP or (image.size is not None and image.size != (height, width)):
            raise InputError(f"{path}: the trimap has {width}x{height} pixels, the XML file says {_size_text(image)}")
        if trimap.mode not in ("L", "P"):
            raise InputError(f"{path}: a trimap must be a gray or palette PNG, got mode {trimap.mode}")
        return (np.asarray(trimap) != _BACKGROUND).astype(np.uint8)


def _size_text(image: AnnotatedImage) -> str:
    return f"{image.size[1]}x{image.size[0]}" if image.size else f"nothing; at most {_LARGEST_TRIMAP:,} are read"


def _bounding_box(mask: np.ndarray, where: str) -> PixelBox:
    """First and last row and column of the animal: as the API's converter has it, without the last pixel's own width."""
    rows, columns = mask.max(axis=1).nonzero()[0], mask.max(axis=0).nonzero()[0]
    if not len(rows):
        raise InputError(f"{where}: the trimap is all background")
    return PixelBox(float(rows[0]), float(columns[0]), float(rows[-1]), float(columns[-1]))


FORMAT = Format(read_pets, _recognise)
