from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
from data_tools.formats.pets import FORMAT, read_pets
from object_detection_ext.errors import InputError

XML = """<annotation><folder>OXIIIT</folder><filename>{0}</filename>
<size><width>8</width><height>6</height><depth>3</depth></size>{1}</annotation>
"""
FACE = """<object><name>cat</name><pose>Frontal</pose><truncated>1</truncated><occluded>0</occluded>
<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox><difficult>0</difficult></object>"""


class PetsSet:
    def __init__(self, root: Path) -> None:
        self.root, self.images, self.annotations = root, root / "images", root / "annotations"
        for folder in (self.images, self.annotations / "xmls", self.annotations / "trimaps"):
            folder.mkdir(parents=True)

    def add(self, stem: str, *, objects: str = FACE, filename: str | None = None) -> Path:
        (self.images / f"{stem}.jpg").write_bytes(b"not read here")
        path = self.annotations / "xmls" / f"{stem}.xml"
        path.write_text(XML.format(filename or f"{stem}.jpg", objects))
        return path

    def trimap(self, stem: str, pixels: np.ndarray, **options) -> Path:
        path = self.annotations / "trimaps" / f"{stem}.png"
        Image.fromarray(pixels, **options).save(path)
        return path

    def load(self, **options) -> list[AnnotatedImage]:
        source = read_pets(ReadOptions(self.images, self.annotations, **options))
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def pets(tmp_path):
    return PetsSet(tmp_path)


def trimap_pixels() -> np.ndarray:
    pixels = np.full((6, 8), 2, np.uint8)
    pixels[1:5, 2:7] = 3
    pixels[2:4, 3:6] = 1
    return pixels


def test_the_class_is_the_breed(pets):
    path = pets.add("american_bulldog_12")
    pets.add("Abyssinian_1", objects="")
    source = read_pets(ReadOptions(pets.images, pets.annotations))
    assert source.object_features == tuple(f"image/object/{key}" for key in ("class/label", "difficult", "truncated", "view"))
    assert source.notes == ()
    negative, image = [source.load(entry) for entry in source.entries]
    assert negative.objects == ()
    assert image == AnnotatedImage(
        pets.images / "american_bulldog_12.jpg",
        "american_bulldog_12.jpg",
        "american_bulldog_12.jpg",
        (6, 8),
        (AnnotatedObject("american_bulldog", PixelBox(1, 2, 4, 5), f"{path}:2: object 1 (cat)", is_truncated=True, view="Frontal"),),
        str(path),
    )


def test_mask_and_box_of_the_whole_animal(pets):
    pets.add("pug_7")
    pets.trimap("pug_7", trimap_pixels())
    source = read_pets(ReadOptions(pets.images, pets.annotations, include_masks=True))
    assert source.object_features[-1] == "image/object/mask"
    (item,) = source.load(source.entries[0]).objects
    assert item.box == PixelBox(1, 2, 4, 6)  # the last row and column themselves, as the API's converter has it
    assert item.mask is not None and item.mask.dtype == np.uint8
    np.testing.assert_array_equal(item.mask, trimap_pixels() != 2)


def test_listed_images_that_nobody_annotated_are_left_out(pets, tmp_path):
    for stem in ("pug_1", "pug_2"):
        pets.add(stem)
    split = tmp_path / "trainval.txt"
    split.write_text("#Image CLASS-ID SPECIES BREED ID\npug_2 1 1 1\npug_3 1 1 1\npug_1 1 1 1\n")
    source = read_pets(ReadOptions(pets.images, pets.annotations, split_file=split))
    assert [source.load(entry).filename for entry in source.entries] == ["pug_2.jpg", "pug_1.jpg"]
    assert source.notes == (f"{split}: 1 of 3 images have no XML file: left out",)
    for content, message in (
        ("pug_3 1 1 1\n", r"trainval\.txt: none of its 1 images has an XML file in "),
        ("pug_1 1\npug_1 1\n", r"trainval\.txt:2: 'pug_1' is listed twice, first in line 1"),
    ):
        split.write_text(content)
        with pytest.raises(InputError, match=message):
            pets.load(split_file=split)


def test_wrong_names(pets):
    pets.add("12")
    with pytest.raises(InputError, match=r"12\.xml: the image '12\.jpg' is not named BREED_NUMBER\.jpg"):
        pets.load()
    pets.add("12", filename="../12.jpg")
    with pytest.raises(InputError, match=r"12\.xml: '\.\./12\.jpg' leads out of the folder"):
        pets.load()
    with pytest.raises(InputError, match="the pets format has no use for --include_keypoints; it takes --split_file, --include_masks"):
        pets.load(include_keypoints=True)


def test_wrong_trimaps(pets, tmp_path):
    pets.add("pug_1")
    load = functools.partial(pets.load, include_masks=True)
    with pytest.raises(InputError, match=r"pug_1\.xml: no trimap pug_1\.png in "):
        load()
    path = pets.trimap("pug_1", np.full((6, 8), 2, np.uint8))
    with pytest.raises(InputError, match=r"pug_1\.png: the trimap is all background"):
        load()
    pets.trimap("pug_1", np.ones((8, 6), np.uint8))
    with pytest.raises(InputError, match=r"pug_1\.png: the trimap has 6x8 pixels, the XML file says 8x6"):
        load()
    pets.trimap("pug_1", np.ones((6, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"pug_1\.png: a trimap must be a gray or palette PNG, got mode RGB"):
        load()
    path.write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"pug_1\.png: not a PNG that can be read: cannot identify image file"):
        load()
    content = pets.trimap("pug_1", np.random.default_rng(0).integers(1, 4, (6, 8), np.uint8)).read_bytes()
    path.write_bytes(content[:-30])
    with pytest.raises(InputError, match=r"pug_1\.png: not a PNG that can be read: "):
        load()
    path.unlink()
    (tmp_path / "elsewhere.png").write_bytes(content)
    path.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"'pug_1\.png' leads out of the folder"):
        load()


def test_a_trimap_that_would_fill_the_memory(pets):
    """A PNG whose header says 60,000 x 60,000; the XML file says nothing."""
    path = pets.add("pug_1")
    path.write_text(path.read_text().replace("<width>8</width>", ""))
    png = pets.trimap("pug_1", np.ones((6, 8), np.uint8))
    content = bytearray(png.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    png.write_bytes(content)
    with pytest.raises(InputError, match=r"pug_1\.png: not a PNG that can be read|the trimap has 60000x60000 pixels"):
        pets.load(include_masks=True)


def test_recognised_folder(pets):
    assert FORMAT.recognise(pets.root) == ReadOptions(pets.images, pets.annotations)
    (pets.annotations / "trimaps").rmdir()
    assert FORMAT.recognise(pets.root) is None
