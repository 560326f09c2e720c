from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox
from data_tools.image_header import ImageHeader
from data_tools.orientation import displayed_size, turn_annotation
from object_detection_ext.errors import InputError

HEIGHT, WIDTH = 24, 40


def annotate(*objects: AnnotatedObject, size: tuple[int, int] | None = (HEIGHT, WIDTH), relative: bool = False) -> AnnotatedImage:
    return AnnotatedImage(Path("a.jpg"), "a.jpg", "a", size, objects, "a.xml", has_relative_boxes=relative)


def header(orientation: int, height: int = HEIGHT, width: int = WIDTH) -> ImageHeader:
    return ImageHeader("jpeg", height, width, orientation)


ITEM = AnnotatedObject("cat", PixelBox(2, 5, 7, 30), "object 1", keypoints=(Keypoint("tail", 4, 6), Keypoint("nose", 0, 0, 0)))

# By hand, from the stored picture of 40x24: the box is 5 from the left, 10 from the right, 2 from the top, 17 from the bottom; the point
# is 6 from the left, 34 from the right, 4 from the top, 20 from the bottom. Box [y_min, x_min, y_max, x_max], point (y, x).
TURNED = {
    2: ((2, 10, 7, 35), (4, 34)),
    3: ((17, 10, 22, 35), (20, 34)),
    4: ((17, 5, 22, 30), (20, 6)),
    5: ((5, 2, 30, 7), (6, 4)),
    6: ((5, 17, 30, 22), (6, 20)),
    7: ((10, 17, 35, 22), (34, 20)),
    8: ((10, 2, 35, 7), (34, 4)),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_boxes_and_points_of_the_stored_picture(orientation):
    turned = turn_annotation(annotate(ITEM), header(orientation), "stored")
    box, (y, x) = TURNED[orientation]
    assert turned.size == ((WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH))
    (item,) = turned.objects
    assert item.box == box
    assert item.keypoints == (Keypoint("tail", y, x), Keypoint("nose", 0, 0, 0))


@pytest.mark.parametrize("orientation", TURNED)
def test_shares(orientation):
    shares = np.divide((2, 5, 7, 30), (HEIGHT, WIDTH) * 2)
    turned = turn_annotation(annotate(ITEM._replace(box=PixelBox(*shares)), relative=True), header(orientation), "stored")
    sides = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
    np.testing.assert_allclose(turned.objects[0].box, np.divide(TURNED[orientation][0], sides * 2))


@pytest.mark.parametrize("orientation", TURNED)
def test_masks_turn_as_pillow_turns_pictures(orientation):
    mask = np.random.default_rng(0).integers(2, size=(HEIGHT, WIDTH), dtype=np.uint8)
    picture = Image.fromarray(mask)
    picture.getexif()[0x0112] = orientation
    turned = turn_annotation(annotate(ITEM._replace(mask=mask)), header(orientation), "stored")
    np.testing.assert_array_equal(turned.objects[0].mask, np.asarray(ImageOps.exif_transpose(picture)))


def test_an_inverted_box_stays_inverted():
    for orientation in TURNED:
        box = turn_annotation(annotate(ITEM._replace(box=PixelBox(9, 9, 5, 12))), header(orientation), "stored").objects[0].box
        assert (box.y_min > box.y_max) == (orientation < 5)
        assert (box.x_min > box.x_max) == (orientation >= 5)


@pytest.mark.parametrize(
    ("size", "is_turned"),
    [
        pytest.param((HEIGHT, WIDTH), True, id="stored"),
        pytest.param((WIDTH, HEIGHT), False, id="displayed"),
        pytest.param((HEIGHT // 2, WIDTH // 2), True, id="stored, of another resolution"),
        pytest.param((3 * WIDTH, 3 * HEIGHT), False, id="displayed, of another resolution"),
    ],
)
def test_the_size_of_the_annotation_tells(size, is_turned):
    annotated = annotate(ITEM, size=size)
    assert turn_annotation(annotated, header(6), "auto") == (turn_annotation(annotated, header(6), "stored") if is_turned else annotated)


@pytest.mark.parametrize(
    ("orientation", "stored", "size", "reason"),
    [
        pytest.param(6, (24, 40), None, "its annotation gives no size", id="no size"),
        pytest.param(6, (24, 24), (24, 24), "the image is 24x24 either way", id="square"),
        pytest.param(3, (24, 40), (24, 40), "the image is 40x24 either way", id="upside down"),
        pytest.param(2, (24, 40), (24, 40), "the image is 40x24 either way", id="mirrored"),
        pytest.param(6, (24, 40), (30, 31), "the annotation says 31x30, the image has 40x24 pixels", id="another shape"),
    ],
)
def test_what_cannot_be_told(orientation, stored, size, reason):
    annotated = annotate(ITEM, size=size)
    message = f"a.xml: a.jpg has EXIF orientation {orientation}, and whether its boxes were drawn on the displayed or on the stored pixels "
    with pytest.raises(InputError) as raised:
        turn_annotation(annotated, header(orientation, *stored), "auto")
    assert str(raised.value) == f"{message}cannot be told: {reason}; say --exif_boxes=displayed or --exif_boxes=stored"
    assert turn_annotation(annotated, header(orientation, *stored), "displayed") == annotated
    assert turn_annotation(annotated, header(orientation, *stored), "stored").objects != annotated.objects


@pytest.mark.parametrize("size", [None, (24, 24), (30, 31)])
def test_an_image_without_objects_needs_no_telling(size):
    assert turn_annotation(annotate(size=size), header(6), "auto") == annotate(size=None)


def test_displayed_size():
    assert [displayed_size(header(orientation)) for orientation in range(1, 9)] == [(24, 40)] * 4 + [(40, 24)] * 4
