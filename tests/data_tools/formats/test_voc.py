from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
from data_tools.formats.voc import FORMAT, read_voc
from object_detection_ext.errors import InputError

OBJECT = "<object><name>cat</name>{}<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox></object>"


def load_all(voc_set, split_file: Path | None = None) -> list[AnnotatedImage]:
    source = read_voc(ReadOptions(voc_set.images, voc_set.annotations, split_file))
    return [source.load(entry) for entry in source.entries]


def test_an_image_with_two_objects(voc_set):
    path = voc_set.add("one", ("cat", 1, 2, 30, 40), ("dog", 0, 0, 64, 48))
    (image,) = load_all(voc_set)
    assert image._replace(objects=()) == AnnotatedImage(voc_set.images / "one.jpg", "one.jpg", "one.jpg", (48, 64), (), str(path))
    assert image.objects == (
        AnnotatedObject("cat", PixelBox(2, 1, 40, 30), f"{path}:4: object 1 (cat)", is_truncated=True, view="Left"),
        AnnotatedObject("dog", PixelBox(0, 0, 48, 64), f"{path}:6: object 2 (dog)", is_truncated=True, view="Left"),
    )


def test_what_may_be_missing(voc_set):
    voc_set.add("one")
    path = voc_set.write("one", f"<annotation>{OBJECT.format('')}</annotation>")
    (image,) = load_all(voc_set)
    assert (image.filename, image.size) == ("one.jpg", None)
    assert image.objects == (AnnotatedObject("cat", PixelBox(2, 1, 40.5, 30), f"{path}:1: object 1 (cat)"),)
    assert image.objects[0].view == "Unspecified"


def test_parts_and_comments_are_not_the_object(voc_set):
    part = "<part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    voc_set.add("one")
    voc_set.write("one", f"<?xml version='1.0'?><annotation>{OBJECT.format(part).replace('cat', 'c<!-- x -->at')}</annotation>")
    ((item,),) = [image.objects for image in load_all(voc_set)]
    assert (item.class_text, item.box) == ("cat", PixelBox(2, 1, 40.5, 30))


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>", "<size><depth>3</depth></size>"])
def test_unknown_size(voc_set, size):
    voc_set.add("one")
    voc_set.write("one", f"<annotation><filename>one.jpg</filename>{size}</annotation>")
    assert load_all(voc_set)[0].size is None


@pytest.mark.parametrize("filename", ["", "<filename/>", "<filename>one</filename>", "<filename>C:\\data\\renamed.png</filename>"])
def test_image_with_the_stem_of_the_xml_file(voc_set, filename):
    voc_set.add("one", suffix=".png")
    voc_set.write("one", f"<annotation>{filename}</annotation>")
    (image,) = load_all(voc_set)
    assert (image.path, image.filename, image.source_id) == (voc_set.images / "one.png", "one.png", "one.png")


def test_files_come_by_name_and_splits_in_their_own_order(voc_set, tmp_path):
    for stem in ("b", "a", "c 1", "c"):
        voc_set.add(stem)
    assert [image.filename for image in load_all(voc_set)] == ["a.jpg", "b.jpg", "c 1.jpg", "c.jpg"]
    split = tmp_path / "train.txt"
    split.write_text("\ufeffc 1\r\n\nb  1\na -1\nc 0\n")
    assert [image.filename for image in load_all(voc_set, split)] == ["c 1.jpg", "b.jpg", "a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"one\ntwo\n", r"train\.txt:2: no two\.xml in ", id="no such image"),
        pytest.param(b"one\n\none 1\n", r"train\.txt:3: 'one' is listed twice, first in line 1", id="twice"),
        pytest.param(b"../one\n", r"train\.txt:1: '\.\./one\.xml' leads out of the folder", id="out of the folder"),
        pytest.param(b"\n \n", r"train\.txt lists no image", id="empty"),
        pytest.param(b"\xff\xfeo\0n\0e\0", r"train\.txt: not a text file in UTF-8", id="UTF-16"),
    ],
)
def test_wrong_split_files(voc_set, tmp_path, content, message):
    voc_set.add("one")
    split = tmp_path / "train.txt"
    split.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_all(voc_set, split)


BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r"one\.xml:\d: not well-formed XML: Document is empty", id="empty file"),
        pytest.param("<annotation>\n<object></annotation>", r"one\.xml:2: not well-formed XML: Opening and ending tag", id="unclosed"),
        pytest.param("<Annotations/>", r"one\.xml:1: the root element must be <annotation>, got <Annotations>", id="another root"),
        pytest.param("<annotation><object/></annotation>", r"one\.xml:1: object 1 has no <name>", id="no name"),
        pytest.param("<annotation><object><name> </name></object></annotation>", "object 1 has no <name>", id="blank name"),
        pytest.param("<annotation>\n<object><name>cat</name></object></annotation>", r":2: object 1 \(cat\) has no <bndbox>", id="no box"),
        pytest.param(
            f"<annotation><object><name>cat</name>{BOX.replace('30', 'x')}</object></annotation>",
            r"object 1 \(cat\): <xmax> must be a number, got 'x'",
            id="an edge that is no number",
        ),
        pytest.param(
            f"<annotation><object><name>cat</name>{BOX.replace('<ymin>2</ymin>', '')}</object></annotation>",
            "<ymin> must be a number, got None",
            id="three edges",
        ),
        pytest.param(
            f"<annotation>{OBJECT.format('<difficult>yes</difficult>')}</annotation>", "<difficult> must be 0 or 1, got 'yes'", id="flag"
        ),
        pytest.param("<annotation><size><width>x</width><height>1</height></size></annotation>", "<width> must be a number", id="size"),
        pytest.param("<annotation><size><width>nan</width><height>1</height></size></annotation>", "must be whole numbers", id="size nan"),
        pytest.param(
            "<annotation><filename>../a.jpg</filename></annotation>", r"one\.xml: '\.\./a\.jpg' leads out of the folder", id="climbs"
        ),
        pytest.param("<annotation><filename>/etc/passwd</filename></annotation>", "'/etc/passwd' leads out of the folder", id="absolute"),
    ],
)
def test_wrong_files(voc_set, text, message):
    voc_set.add("one")
    voc_set.write("one", text)
    with pytest.raises(InputError, match=message) as raised:
        load_all(voc_set)
    assert "\n" not in str(raised.value)


def test_missing_image(voc_set):
    path = voc_set.add("one")
    (voc_set.images / "one.jpg").unlink()
    message = rf"{path}: no image 'one\.jpg' in {voc_set.images}, nor one named 'one' with the suffix of an image"
    with pytest.raises(InputError, match=message):
        load_all(voc_set)
    (voc_set.images / "below").mkdir()
    (voc_set.images / "below/one.jpg").write_bytes(b"not read here")
    with pytest.raises(InputError, match=f"{message}; there is one in {voc_set.images / 'below'}$"):
        load_all(voc_set)


def test_hidden_files_and_upper_case(voc_set):
    root = voc_set.images.parent
    voc_set.add("one").rename(voc_set.annotations / "one.XML")
    (voc_set.annotations / "._one.xml").write_bytes(b"\0\5\x16\7")  # what macOS packs beside a file
    assert FORMAT.recognise(root) == ReadOptions(voc_set.images, voc_set.annotations)
    assert read_voc(ReadOptions(voc_set.images, voc_set.annotations)).entries == [voc_set.annotations / "one.XML"]


def test_missing_folders(voc_set, tmp_path):
    with pytest.raises(InputError, match=r"no \*\.xml file in "):
        read_voc(ReadOptions(voc_set.images, voc_set.annotations))
    with pytest.raises(InputError, match="is not a folder; the voc format needs a folder of XML files"):
        read_voc(ReadOptions(voc_set.images, tmp_path / "nothing"))
    voc_set.add("one")
    with pytest.raises(FileNotFoundError):
        read_voc(ReadOptions(voc_set.images, voc_set.annotations, tmp_path / "nothing.txt"))


BILLION_LAUGHS = '<!ENTITY a0 "lol">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))


@pytest.mark.parametrize(
    "doctype",
    [
        pytest.param(f"<!DOCTYPE annotation [{BILLION_LAUGHS}]>", id="billion laughs"),
        pytest.param('<!DOCTYPE annotation [<!ENTITY a11 SYSTEM "file:///etc/passwd">]>', id="a local file"),
        pytest.param('<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY a11 "x">]>', id="a DTD from the network"),
    ],
)
def test_document_types_are_refused(voc_set, doctype):
    voc_set.add("one")
    voc_set.write("one", f"{doctype}<annotation><object><name>&a11;</name></object></annotation>")
    with pytest.raises(InputError, match=r"one\.xml: a document type \(DTD\) is not allowed|Maximum entity amplification|not well-formed"):
        load_all(voc_set)


def test_recognised(voc_set, tmp_path):
    root = voc_set.images.parent
    assert FORMAT.recognise(root) is None
    voc_set.add("one")
    assert FORMAT.recognise(root) == ReadOptions(voc_set.images, voc_set.annotations)
    assert FORMAT.recognise(tmp_path) is None


@pytest.mark.parametrize(("folders", "images"), [(("annotations", "images"), "images"), (("annotations",), "."), ((".",), ".")])
def test_recognised_in_other_layouts(tmp_path, folders, images):
    for folder in folders:
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folders[0] / "one.xml").write_text('<?xml version="1.0"?>\n<annotation verified="no"></annotation>')
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path / images, tmp_path / folders[0])
    (tmp_path / folders[0] / "one.xml").write_text("<annotations></annotations>")
    assert FORMAT.recognise(tmp_path) is None
