from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
from data_tools.formats.csv_table import FORMAT, read_csv_table
from object_detection_ext.errors import InputError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"


class CsvSet:
    def __init__(self, root: Path) -> None:
        self.images, self.table = root / "images", root / "all.csv"
        for name in ("a.jpg", "b.jpg", "sub/a.jpg"):
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_bytes(b"not read here")

    def source(self, *lines: str, **options):
        self.table.write_text("".join(f"{line}\n" for line in lines))
        return read_csv_table(ReadOptions(self.images, self.table, **options))

    def load(self, *lines: str, **options) -> list[AnnotatedImage]:
        source = self.source(*lines, **options)
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def csv_set(tmp_path):
    return CsvSet(tmp_path)


def test_raccoon_layout(csv_set):
    lines = ("b.jpg,64,48,cat,1,2,30,40.5", "a.jpg,64,48,dog,0,0,64,48", "b.jpg,64,48,dog,5,6,7,8", "sub/a.jpg,0,0,,,,,")
    source = csv_set.source(HEADER, *lines)
    assert (source.object_features, source.notes, source.class_ids) == (("image/object/class/label",), (), None)
    table = csv_set.table
    assert [source.load(entry) for entry in source.entries] == [
        AnnotatedImage(
            csv_set.images / "b.jpg",
            "b.jpg",
            "b.jpg",
            (48, 64),
            (
                AnnotatedObject("cat", PixelBox(2, 1, 40.5, 30), f"{table}:2 (cat in b.jpg)"),
                AnnotatedObject("dog", PixelBox(6, 5, 8, 7), f"{table}:4 (dog in b.jpg)"),
            ),
            f"{table}:2",
        ),
        AnnotatedImage(
            csv_set.images / "a.jpg",
            "a.jpg",
            "a.jpg",
            (48, 64),
            (AnnotatedObject("dog", PixelBox(0, 0, 48, 64), f"{table}:3 (dog in a.jpg)"),),
            f"{table}:3",
        ),
        AnnotatedImage(csv_set.images / "sub/a.jpg", "sub/a.jpg", "sub/a.jpg", None, (), f"{table}:5"),
    ]


def test_columns_in_any_order_and_among_others(csv_set):
    (image,) = csv_set.load("YMAX,Class,id,xmin,FileName,ymin,xmax", "4,cat,77,1,a.jpg,2,3")
    assert (image.size, image.objects[0].class_text, image.objects[0].box) == (None, "cat", PixelBox(2, 1, 4, 3))


AUTOML = (
    "TRAIN,gs://bucket/x/a.jpg,cat,0.1,0.2,,,0.3,0.4,,",
    "TRAIN,gs://bucket/x/a.jpg,dog,.7,.6,.8,.6,.8,.9,.7,.9",
    "UNASSIGNED,gs://bucket/sub/a.jpg,cat,0.5,0.5,,,0.25,0.25,,",
    "TEST,gs://bucket/b.jpg,,,,,,,,,",
)


def test_automl_layout(csv_set):
    source = csv_set.source(*AUTOML)
    first, second, third = [source.load(entry) for entry in source.entries]
    assert first == AnnotatedImage(
        csv_set.images / "a.jpg",
        "a.jpg",
        "a.jpg",
        None,
        (
            AnnotatedObject("cat", PixelBox(0.2, 0.1, 0.4, 0.3), f"{csv_set.table}:1 (cat in a.jpg)"),
            AnnotatedObject("dog", PixelBox(0.6, 0.7, 0.9, 0.8), f"{csv_set.table}:2 (dog in a.jpg)"),
        ),
        f"{csv_set.table}:1",
        has_relative_boxes=True,
    )
    assert (second.filename, second.objects[0].box) == ("sub/a.jpg", PixelBox(0.25, 0.25, 0.5, 0.5))
    assert (third.filename, third.objects) == ("b.jpg", ())
    assert source.notes == (
        f"{csv_set.table}: all its sets were taken, TRAIN (1 images), UNASSIGNED (1 images), TEST (1 images); "
        "`grep '^TEST,' all.csv > test.csv` makes a file of one of them",
    )


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["gs://bucket/a.jpg,cat,0.1,0.2,,,0.3,0.4,,"], id="no set"),
        pytest.param(["training,gs://bucket/a.jpg,cat,0.1,0.2,,,0.3,0.4,,"], id="Vertex's words"),
        pytest.param(["VALIDATION,a.jpg,cat,0.1,0.2,,,0.3,0.4"], id="plain name, last cells missing"),
        pytest.param(["\ufeffTEST,http://x//sub//a.jpg,cat,0.1,0.4,,,0.3,0.2,,"], id="another scheme, corners from below"),
    ],
)
def test_automl_variants(csv_set, lines):
    source = csv_set.source(*lines)
    (image,) = [source.load(entry) for entry in source.entries]
    assert (image.objects[0].box, source.notes) == (PixelBox(0.2, 0.1, 0.4, 0.3), ())


def test_an_image_that_only_a_set_names(csv_set):
    (image,) = csv_set.load("TEST,gs://bucket/b.jpg")
    assert image.objects == ()


def test_split_file(csv_set, tmp_path):
    lines = [HEADER, *(f"{name},64,48,cat,1,2,3,4" for name in ("a.jpg", "b.jpg", "sub/a.jpg"))]
    split = tmp_path / "split.txt"
    for content, names in (("sub/a\nb\na.jpg\n", ["sub/a.jpg", "b.jpg", "a.jpg"]), ("b.jpg\n", ["b.jpg"])):
        split.write_text(content)
        assert [image.filename for image in csv_set.load(*lines, split_file=split)] == names
    for content, message in (
        ("b\nc.jpg\n", r"split\.txt:2: 'c\.jpg' is no image of "),
        ("a\n", r"split\.txt:1: 'a' is more than one image of "),
        ("b\nb.jpg\n", r"split\.txt:2: 'b\.jpg' is listed twice, first in line 1"),
    ):
        split.write_text(content)
        with pytest.raises(InputError, match=message):
            csv_set.load(*lines, split_file=split)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(["image;class;x"], r"all\.csv: starts with neither a header with filename, .*: image;class;x", id="layout"),
        pytest.param(["filename,class,xmin"], r"all\.csv: the header lacks ymin, ymax, xmax; it has filename, class, xmin", id="columns"),
        pytest.param([f"{HEADER},Class"], r"all\.csv: a column stands twice in the header", id="doubled column"),
        pytest.param([HEADER], r"all\.csv has a header and no row", id="no row"),
        pytest.param([HEADER, "a.jpg,64,48,cat,1,2,3"], r"all\.csv:2: the row has 7 cells, the header 8", id="few cells"),
        pytest.param([HEADER, ",64,48,cat,1,2,3,4"], r"all\.csv:2: the row must name an image file, got ''", id="no name"),
        pytest.param([HEADER, "a.jpg,64,48,,1,2,3,4"], r"all\.csv:2: the class must be a name, got ''", id="no class"),
        pytest.param([HEADER, "a.jpg,64,48,c\x07t,1,2,3,4"], r"all\.csv:2: the class must be a name, got 'c\\x07t'", id="bell"),
        pytest.param([HEADER, "a.jpg,64,48,cat,1,,3,4"], r"all\.csv:2: ymin must be a number, got ''", id="no number"),
        pytest.param([HEADER, "a.jpg,64,-48,cat,1,2,3,4"], r"all\.csv:2: height and width must be whole numbers", id="negative size"),
        pytest.param([HEADER, "a.jpg,64,nan,cat,1,2,3,4"], r"all\.csv:2: height and width must be whole numbers", id="NaN size"),
        pytest.param([HEADER, "a.jpg,6,4,x,1,2,3,4", "a.jpg,6,5,x,1,2,3,4"], r"all\.csv:3: says that 'a.jpg' has 6x5, .* 6x4 ", id="size"),
        pytest.param([HEADER, "c.jpg,64,48,cat,1,2,3,4"], r"all\.csv:2: no image 'c\.jpg' in ", id="no image"),
        pytest.param([HEADER, "../b.jpg,64,48,cat,1,2,3,4"], r"all\.csv:2: '\.\./b\.jpg' leads out of the folder", id="out of the folder"),
        pytest.param([HEADER, "/etc/passwd,64,48,cat,1,2,3,4"], r"all\.csv:2: '/etc/passwd' leads out of the folder", id="absolute"),
        pytest.param([*AUTOML, "TRIAN,b.jpg,,,,,,,,,"], r"all\.csv:5: the first cell must be one of TRAIN, ", id="set"),
        pytest.param([*AUTOML, "TEST,gs://x/c.jpg,,,,,,,,,"], r"all\.csv:5: no image 'gs://x/c\.jpg' in ", id="no image in a bucket"),
        pytest.param([*AUTOML, "TEST,gs://x/../b.jpg,,,,,,,,,"], r"all\.csv:5: 'x/\.\./b\.jpg' leads out of ", id="out of the bucket"),
        pytest.param([*AUTOML, "TEST,b.jpg,cat,0,0,1,1,,,,,"], r"all\.csv:5: 8 cells of corners may follow the label, got 9", id="cells"),
        pytest.param([*AUTOML, "TEST,b.jpg,cat,0,0,,,,,,"], r"all\.csv:5: a box must have two or four corners, got 1", id="one corner"),
        pytest.param([*AUTOML, "TEST,b.jpg,cat,0,0,,,1,,,"], r"all\.csv:5: y must be a number, got ''", id="half a corner"),
        pytest.param([*AUTOML, "TEST,b.jpg,,0,0,,,1,1,,"], r"all\.csv:5: the class must be a name, got ''", id="no label"),
        pytest.param([*AUTOML, "TEST,gs://bucket/x/a.jpg,cat,0,0,,,1,1,,"], r"all\.csv:5: .* in the set TEST, .* in TRAIN", id="two sets"),
    ],
)
def test_wrong_rows(csv_set, lines, message):
    with pytest.raises(InputError, match=message):
        csv_set.load(*lines)


def test_wrong_options(csv_set, tmp_path):
    with pytest.raises(InputError, match="is not a file; the csv format needs a CSV file"):
        read_csv_table(ReadOptions(csv_set.images, tmp_path))
    with pytest.raises(InputError, match="the csv format has no use for --hierarchy; it takes --split_file"):
        csv_set.load(HEADER, hierarchy=tmp_path)


def test_images_below_and_cells_without_commas(csv_set):
    (csv_set.images / "sub/c.jpg").write_bytes(b"not read here")
    with pytest.raises(InputError, match=rf"no image 'c\.jpg' in .*/images; there is one in {csv_set.images / 'sub'}$"):
        csv_set.load(HEADER, "c.jpg,64,48,cat,1,2,30,40.5")
    for separator, named in ((";", "';'"), ("\t", r"'\\t'")):
        with pytest.raises(InputError, match=f"cells must have commas between them, not {named}$"):
            csv_set.load(HEADER.replace(",", separator))


def test_recognised_folders(csv_set, tmp_path):
    assert FORMAT.recognise(tmp_path) is None
    csv_set.table.write_text("a,b\n1,2\n")
    assert FORMAT.recognise(tmp_path) is None
    for line in (HEADER, *AUTOML, "gs://bucket/a.jpg,cat,0.1,0.2,,,0.3,0.4,,"):
        csv_set.table.write_text(f"{line}\n")
        assert FORMAT.recognise(tmp_path) == ReadOptions(csv_set.images, csv_set.table)
    csv_set.images.rename(tmp_path / "photos")
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path, csv_set.table)
    (tmp_path / "b.csv").write_text(HEADER)
    assert FORMAT.recognise(tmp_path) is None
