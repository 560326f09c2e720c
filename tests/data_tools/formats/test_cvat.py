from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox, ReadOptions, Source
from data_tools.formats.cvat import FORMAT, read_cvat
from object_detection_ext.errors import InputError

LABELS = """<labels>
<label><name>car</name><type>any</type><attributes><attribute><name>colour</name><values>red
blue</values></attribute></attributes></label>
<label><name>night</name><type>tag</type><attributes></attributes></label>
<label><name>person</name><type>skeleton</type><svg>&lt;line x1="3"&gt;</svg></label>
<label><name>nose</name><type>points</type><parent>person</parent></label>
</labels>"""
BOX = '<box label="car" source="manual" occluded="0" xtl="8.5" ytl="4" xbr="16.25" ybr="12" z_order="0"></box>'


class CvatSet:
    """A CVAT export: `images` and annotations.xml; 64x48 images."""

    def __init__(self, root: Path, write_image: Any) -> None:
        self.root, self.path, self._write_image = root, root / "annotations.xml", write_image
        (root / "images").mkdir(parents=True)

    def write(self, *images: str, labels: str = "") -> Path:
        """A file of <image> elements, which start in line 4 where there are no labels."""
        meta = f"<meta><task><id>3</id>{labels}</task></meta>"
        text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>{meta}\n' + "\n".join(images)
        self.path.write_text(f"{text}\n</annotations>\n")
        return self.path

    def image(self, content: str = "", name: str = "a.jpg", more: str = 'width="64" height="48"') -> str:
        """An <image> element, whose content starts in its second line; and the image file."""
        self._write_image(self.root / "images" / name)
        return f'<image id="0" name="{name}" {more}>\n{content}\n</image>'

    def read(self, **options: Any) -> Source:
        return read_cvat(ReadOptions(self.root / "images", self.path, **options))

    def load(self, **options: Any) -> list[AnnotatedImage]:
        source = self.read(**options)
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def cvat_set(tmp_path, write_image) -> CvatSet:
    return CvatSet(tmp_path / "cvat", write_image)


def test_images_with_and_without_objects(cvat_set):
    polygon = '<polygon label="dog" occluded="1" points="1.5,2;30,2.25;9,40" z_order="1"><attribute name="x">y</attribute></polygon>'
    cvat_set.image(name="b/c d.jpg")
    path = cvat_set.write(cvat_set.image(f"{BOX}\n{polygon}"), '<image id="1" name="b/c d.jpg" width="64" height="48"/>')
    first, second = cvat_set.load()
    assert first == AnnotatedImage(
        cvat_set.root / "images/a.jpg",
        "a.jpg",
        "a.jpg",
        (48, 64),
        (
            AnnotatedObject("car", PixelBox(4, 8.5, 12, 16.25), f"{path}:5: box (car)"),
            AnnotatedObject("dog", PixelBox(2, 1.5, 40, 30), f"{path}:6: polygon (dog)", is_occluded=True),
        ),
        f"{path}:4: image a.jpg",
    )
    assert (second.filename, second.objects, second.where) == ("b/c d.jpg", (), f"{path}:8: image b/c d.jpg")
    assert cvat_set.read().class_ids is None


def test_labels_of_the_project_are_the_classes(cvat_set):
    cvat_set.write(cvat_set.image(BOX), labels=LABELS)
    assert cvat_set.read().class_ids == {"car": 1, "person": 2}
    path = cvat_set.write(cvat_set.image(BOX.replace("car", "bus")), labels=LABELS)
    with pytest.raises(InputError, match=rf"{path}:11: the label 'bus' is not among those of <meta>: car, person"):
        cvat_set.load()


def rle_mask(left: float, top: float, rle: str = "1, 4, 1, 2, 4") -> str:
    """A mask of 4 columns and 3 rows: 0111, 1011, 0000."""
    return f'<mask label="car" occluded="0" rle="{rle}" left="{left}" top="{top}" width="4" height="3"/>'


SHAPES = [  # element, box, the pixels of its mask
    pytest.param('<polygon label="car" points="8,4;16,4;16,12;8,12"/>', (4, 8, 12, 16), [np.s_[4:12, 8:16]], id="polygon"),
    pytest.param(rle_mask(10, 20), (20, 10, 23, 14), [np.s_[20, 11:14], np.s_[21, 10], np.s_[21, 12:14]], id="mask"),
    pytest.param(rle_mask(62, 47), (47, 62, 50, 66), [np.s_[47, 63]], id="mask over the edge"),
    pytest.param(rle_mask(-2, -1), (-1, -2, 2, 2), [np.s_[0, :2]], id="mask before the edge"),
    pytest.param(rle_mask(70, 5), (5, 70, 8, 74), [], id="mask outside"),
    pytest.param(  # 16 wide and 8 high around (32, 24), a quarter turn
        '<box label="car" xtl="24" ytl="20" xbr="40" ybr="28" rotation="90"/>', (16, 28, 32, 36), [np.s_[16:32, 28:36]], id="rotated box"
    ),
]


@pytest.mark.parametrize(("element", "box", "pixels"), SHAPES)
def test_boxes_and_masks(cvat_set, element, box, pixels):
    cvat_set.write(cvat_set.image(element))
    ((item,),) = [image.objects for image in cvat_set.load()]
    assert (item.box, item.mask) == (PixelBox(*box), None)
    ((item,),) = [image.objects for image in cvat_set.load(include_masks=True)]
    expected = np.zeros((48, 64), np.uint8)
    for place in pixels:
        expected[place] = 1
    assert item.box == PixelBox(*box) and np.array_equal(item.mask, expected)


def test_an_eighth_of_a_turn_is_clockwise(cvat_set):
    cvat_set.write(cvat_set.image('<box label="car" xtl="22" ytl="22" xbr="42" ybr="26" rotation="45"/>'))
    ((item,),) = [image.objects for image in cvat_set.load(include_masks=True)]
    assert item.mask[24 + 6, 32 + 6] and item.mask[24 - 6, 32 - 6] and not item.mask[24 + 6, 32 - 6]
    assert item.mask.sum() == pytest.approx(80, rel=0.15)  # 20 x 4, along a narrow slant


@pytest.mark.parametrize(
    ("element", "box"),
    [
        # 20 wide and 10 high around (30, 20): a quarter turn swaps the sides, an eighth needs (20 + 10) / sqrt(2) both ways.
        ('<box label="car" xtl="20" ytl="15" xbr="40" ybr="25" rotation="90.0"/>', (10, 25, 30, 35)),
        ('<box label="car" xtl="20" ytl="15" xbr="40" ybr="25" rotation="315"/>', (20 - 10.6066, 30 - 10.6066, 20 + 10.6066, 30 + 10.6066)),
        ('<ellipse label="car" cx="30" cy="20" rx="10" ry="5"/>', (15, 20, 25, 40)),
        ('<ellipse label="car" cx="30" cy="20" rx="10" ry="5" rotation="90"/>', (10, 25, 30, 35)),
        # Half the extent is the square root of (10 cos)^2 + (5 sin)^2, at 45 degrees of 62.5.
        ('<ellipse label="car" cx="30" cy="20" rx="10" ry="5" rotation="45"/>', (20 - 7.90569, 30 - 7.90569, 20 + 7.90569, 30 + 7.90569)),
        (
            '<cuboid label="car" xtl1="5" ytl1="6" xbl1="5" ybl1="20" xtr1="30" ytr1="7" xbr1="31" ybr1="22" xtl2="10" ytl2="2" xbl2="10"'
            ' ybl2="18" xtr2="36" ytr2="3" xbr2="35" ybr2="19"/>',
            (2, 5, 22, 36),
        ),
    ],
    ids=["quarter turn", "eighth turn", "ellipse", "turned ellipse", "slanted ellipse", "cuboid"],
)
def test_boxes_around_other_shapes(cvat_set, element, box):
    path = cvat_set.write(cvat_set.image(element))
    (image,) = cvat_set.load()
    assert image.objects[0].box == pytest.approx(PixelBox(*box), abs=1e-4)
    is_rotated_box = element.startswith("<box")
    assert image.notes == ((f"{path}:4: image a.jpg: 1 rotated boxes were taken as the boxes around them",) if is_rotated_box else ())


def test_the_box_around_a_rotated_one_ends_at_the_edge_of_the_image(cvat_set):
    box = '<box label="car" xtl="0" ytl="10" xbr="20" ybr="20" rotation="45"/>'  # (20 + 10) / sqrt(2) around (10, 15)
    cvat_set.write(cvat_set.image(box))
    assert cvat_set.load()[0].objects[0].box == pytest.approx(PixelBox(15 - 10.6066, 0, 15 + 10.6066, 10 + 10.6066), abs=1e-4)
    cvat_set.write(cvat_set.image(box, more=""))
    assert cvat_set.load()[0].objects[0].box.x_min == pytest.approx(10 - 10.6066, abs=1e-4)
    cvat_set.write(cvat_set.image(box.replace(' rotation="45"', "").replace('xtl="0"', 'xtl="-3"')))
    assert cvat_set.load()[0].objects[0].box.x_min == -3  # as it was drawn


@pytest.mark.parametrize("rotation", [0, 45, 90])
def test_masks_of_ellipses(cvat_set, rotation):
    cvat_set.write(cvat_set.image(f'<ellipse label="car" cx="32" cy="24" rx="20" ry="6" rotation="{rotation}"/>'))
    ((item,),) = [image.objects for image in cvat_set.load(include_masks=True)]
    assert item.mask is not None and item.mask.sum() == pytest.approx(math.pi * 120, rel=0.02)
    assert item.mask[24, 32] and np.array_equal(item.mask, item.mask[::-1, ::-1])
    along = {0: (24, 51), 45: (24 + 13, 32 + 13), 90: (24 + 19, 32)}[rotation]  # clockwise, as y goes down
    assert item.mask[along] == 1
    assert item.mask[47 - along[0], along[1]] == (rotation != 45)


def test_what_has_no_extent_is_left_out(cvat_set):
    content = '<points label="car" points="1,2"/><polyline label="car" points="1,2;3,4"/><tag label="night"/><tag label="night"/>'
    outside = BOX.replace("<box", '<box outside="1"')
    path = cvat_set.write(cvat_set.image(content + BOX + outside))
    (image,) = cvat_set.load()
    assert len(image.objects) == 1
    assert image.notes == (f"{path}:4: image a.jpg: left out, having no extent or being outside: 1 box, 1 points, 1 polyline, 2 tag",)


SKELETON = """<skeleton label="person" z_order="0">
<points label="nose" outside="0" occluded="0" points="10,20"/>
<points label="ear" outside="0" occluded="1" points="30.5,8"><attribute name="x">y</attribute></points>
<points label="foot" outside="1" occluded="0" points="99,99"/>
</skeleton>"""


def test_keypoints(cvat_set):
    points = '<points label="car" occluded="1" points="1,2;5,9"/><points label="car" points="1,2"/>'
    cvat_set.write(cvat_set.image(SKELETON + points))
    (image,) = cvat_set.load(include_keypoints=True)
    person, car = image.objects
    assert (person.class_text, person.box) == ("person", PixelBox(8, 10, 20, 30.5))
    assert person.keypoints == (Keypoint("nose", 20, 10, 2), Keypoint("ear", 8, 30.5, 1), Keypoint("foot", 0, 0, 0))
    assert (car.box, car.keypoints) == (PixelBox(2, 1, 9, 5), (Keypoint("1", 2, 1, 1), Keypoint("2", 9, 5, 1)))
    assert image.notes[0].endswith("left out, having no extent or being outside: 1 points")
    (image,) = cvat_set.load()
    assert [(item.class_text, item.keypoints) for item in image.objects] == [("person", ())]


@pytest.mark.parametrize(
    ("element", "message"),
    [
        pytest.param("<cube/>", r"<cube> is not known; known are box, polygon, ellipse", id="element"),
        pytest.param(BOX.replace("car", ""), "<box> has no label", id="no label"),
        pytest.param(BOX.replace('xtl="8.5"', ""), "<box> has no xtl", id="three edges"),
        pytest.param(BOX.replace("8.5", "x"), "xtl must be a number, got 'x'", id="a text"),
        pytest.param(BOX.replace("8.5", "nan"), "xtl must be a number, got 'nan'", id="nan"),
        pytest.param(BOX.replace("8.5", "1e99"), "xtl must be a number, got '1e99'", id="huge"),
        pytest.param(BOX.replace('occluded="0"', 'occluded="no"'), r"box \(car\): occluded must be 0 or 1, got 'no'", id="flag"),
        pytest.param(BOX.replace("<box", '<box rotation="inf"'), "rotation must be a number, got 'inf'", id="rotation"),
        pytest.param('<polygon label="car" points="1,2;3,4"/>', "a polygon has three points or more, got 2", id="two points"),
        pytest.param('<polygon label="car" points="1,2;3,4;5"/>', "points must be x,y;x,y and so on, got '5'", id="half a point"),
        pytest.param('<polygon label="car"/>', "points must be x,y;x,y and so on, got ''", id="no points"),
        pytest.param(rle_mask(1, 2, "1,4"), "the run-length code has 5 pixels", id="short mask"),
        pytest.param(rle_mask(1, 2, "1,-4,15"), "rle must be run lengths, whole numbers with commas between", id="negative run"),
        pytest.param(rle_mask(1, 2, "9" * 5000), "rle must be run lengths", id="a run of 5000 digits"),
        pytest.param(rle_mask(1.5, 2), "left must be a whole number, got 1.5", id="half a pixel"),
        pytest.param(
            rle_mask(1, 2).replace('width="4"', 'width="1000000000"'),
            "a mask of 1000000000x3 pixels; it must have from 1 to",
            id="huge mask",
        ),
        pytest.param('<ellipse label="car" cx="1" cy="2" rx="0" ry="3"/>', "rx and ry must be positive, got 0 and 3", id="ellipse"),
        pytest.param('<skeleton label="person"/>', "a skeleton needs a point inside the image", id="no points of a skeleton"),
        pytest.param(
            SKELETON.replace("10,20", "1,2;3,4"),
            r"line 6: a skeleton's <points> has a label and one point, got 'nose' and 2",
            id="skeleton",
        ),
    ],
)
def test_wrong_shapes(cvat_set, element, message):
    path = cvat_set.write(cvat_set.image(element))
    with pytest.raises(InputError, match=message) as raised:
        cvat_set.load(include_masks=True)
    assert str(raised.value).startswith(f"{path}:5: ")


BILLION_LAUGHS = '<!ENTITY a0 "lol">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", ":1: not well-formed XML: no element found", id="empty"),
        pytest.param("<annotations>\n<image name='a'>", ":2: not well-formed XML: no element found", id="cut off"),
        pytest.param("<annotations>\n</annotation>", ":2: not well-formed XML: mismatched tag", id="mismatched"),
        pytest.param("<annotation/>", ":1: the root element must be <annotations>, got <annotation>", id="VOC"),
        pytest.param("<annotations>\n<image id='3'/></annotations>", ":2: an <image> has no name", id="no name"),
        pytest.param(
            "<annotations><image name='a'/>\n<image name='a'/></annotations>",
            ":2: the image 'a' stands here twice, first in line 1",
            id="twice",
        ),
        pytest.param("<annotations>\n<track id='0' label='car'/></annotations>", ":2: a <track> is an annotation of a video", id="video"),
        pytest.param("<annotations/>", "annotations.xml has no <image>", id="no image"),
        pytest.param("<annotations>&lol;</annotations>", ":1: not well-formed XML: undefined entity", id="entity"),
        pytest.param(
            f"<!DOCTYPE a [{BILLION_LAUGHS}]>\n<annotations>&a11;</annotations>", r":1: a document type \(DTD\) is not", id="laughs"
        ),
        pytest.param('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations/>', "a document type", id="a local file"),
        pytest.param('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><annotations/>', "a document type", id="a DTD from the network"),
        pytest.param(
            '<?xml version="1.0" encoding="latin-1"?><annotations/>', ":1: the encoding must be UTF-8, got latin-1", id="encoding"
        ),
        pytest.param('<?xml version="1.0" encoding="x-y"?><annotations/>', ":1: ", id="unknown encoding"),
    ],
)
def test_wrong_files(cvat_set, text, message):
    cvat_set.path.write_text(text)
    start = time.monotonic()
    with pytest.raises(InputError, match=message) as raised:
        cvat_set.load()
    assert str(raised.value).startswith(str(cvat_set.path)) and time.monotonic() - start < 2


def test_utf_16_is_refused(cvat_set):
    cvat_set.path.write_bytes("<annotations><image name='a'/></annotations>".encode("utf-16"))
    with pytest.raises(InputError, match=r"annotations\.xml:1: the file must be in UTF-8"):
        cvat_set.load()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.jpg", r":4: image b\.jpg: no such image in "),
        ("../annotations.xml", r":4: image \.\./annotations\.xml: '\.\./annotations\.xml' leads out of the folder"),
        ("/etc/passwd", "'/etc/passwd' leads out of the folder"),
    ],
)
def test_wrong_images(cvat_set, name, message):
    cvat_set.write(f'<image id="0" name="{name}" width="64" height="48"/>')
    with pytest.raises(InputError, match=message):
        cvat_set.load()


@pytest.mark.parametrize("more", ['width="0" height="48"', 'width="64.5" height="48"', 'width="-4" height="48"', 'width="" height="48"'])
def test_wrong_sizes(cvat_set, more):
    cvat_set.write(cvat_set.image(more=more))
    with pytest.raises(InputError, match=r"image a.jpg: width and height must be positive integers"):
        cvat_set.load()


def test_size_may_be_missing_but_for_masks(cvat_set):
    cvat_set.write(cvat_set.image(more=""))
    assert cvat_set.load()[0].size is None
    with pytest.raises(InputError, match="has no width and height, which masks need"):
        cvat_set.load(include_masks=True)


def test_subsets_of_a_project(cvat_set, write_image):
    write_image(cvat_set.root / "images/Train/a.jpg")
    write_image(cvat_set.root / "images/Validation/a.jpg")
    cvat_set.write('<image name="a.jpg" subset="Train"/>', '<image name="a.jpg" subset="Validation"/>')
    assert [image.filename for image in cvat_set.load()] == ["Train/a.jpg", "Validation/a.jpg"]


def test_split_files(cvat_set, tmp_path):
    cvat_set.write(cvat_set.image(), cvat_set.image(name="b.png"))
    split = tmp_path / "split.txt"
    split.write_text("b\na.jpg\n")
    assert [image.filename for image in cvat_set.load(split_file=split)] == ["b.png", "a.jpg"]
    for text, message in (("c\n", "split.txt:1: 'c' is no name or stem of an image"), ("a\na.jpg", "split.txt:2: 'a.jpg' is listed twice")):
        split.write_text(text)
        with pytest.raises(InputError, match=message):
            cvat_set.read(split_file=split)


def test_images_are_found_by_their_place_in_a_long_file(cvat_set):
    """Names and comments of several bytes a character, images longer than the blocks that are read, and a file that changes."""
    cvat_set.image(name="猫é.jpg")
    boxes = [BOX.replace("8.5", f"{index / 1000:g}") for index in range(3000)]
    names = [f"{index}.jpg" for index in range(40)]
    images = [f'<image name="{name}"><!-- 猫 -->{"".join(boxes[: 3000 if name == "7.jpg" else 3])}</image>' for name in names]
    path = cvat_set.write('<image name="猫é.jpg"/>', *images)
    source = cvat_set.read()
    assert source.load(source.entries[0]).filename == "猫é.jpg"
    for name in names:
        cvat_set.image(name=name)
    for index in (39, 7, 0):
        image = source.load(source.entries[index + 1])
        assert (image.filename, image.where) == (names[index], f"{path}:{index + 5}: image {names[index]}")
        assert [item.box.x_min for item in image.objects] == [place / 1000 for place in range(3000 if index == 7 else 3)]
    path.write_text(path.read_text().replace("<image", " <image"))
    with pytest.raises(InputError, match=r"the file has changed since it was listed|not well-formed"):
        source.load(source.entries[20])


def test_missing_files_and_options(cvat_set):
    with pytest.raises(InputError, match=r"annotations\.xml is not a file; the cvat format needs an annotations\.xml"):
        cvat_set.load()
    with pytest.raises(InputError, match="the cvat format has no use for --hierarchy"):
        cvat_set.load(hierarchy=Path("x"))


def test_recognised_folders(cvat_set, tmp_path):
    root = cvat_set.root
    assert FORMAT.recognise(root) is None
    path = cvat_set.write(cvat_set.image())
    assert FORMAT.recognise(root) == ReadOptions(root / "images", path)
    assert FORMAT.recognise(tmp_path) is None
    (root / "voc.xml").write_text("<annotation></annotation>")
    assert FORMAT.recognise(root) == ReadOptions(root / "images", path)
    (root / "more.xml").write_text("<annotations></annotations>")
    with pytest.raises(InputError, match=r"holds several CVAT files: .*; choose one with --annotations"):
        FORMAT.recognise(root)
