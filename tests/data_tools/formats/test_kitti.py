from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
from data_tools.formats.kitti import FORMAT, read_kitti
from object_detection_ext.errors import InputError

CAR = "Car 0.25 1 -1.57 10 20 110.5 60 1.5 1.6 4.0 -3.0 1.7 12.5 -1.6"
CYCLIST = "Cyclist 0.00 0 0.1 200 20 240 90 1.7 0.6 1.8 3.0 1.7 9.0 0.2"
DONT_CARE = "DontCare -1 -1 -10 {} {} {} {} -1 -1 -1 -1000 -1000 -1000 -10"
CAR_EXTRAS = (0.25, -1.57, 1.5, 1.6, 4.0, -3.0, 1.7, 12.5, -1.6)
CYCLIST_EXTRAS = (0.0, 0.1, 1.7, 0.6, 1.8, 3.0, 1.7, 9.0, 0.2)


@dataclasses.dataclass
class KittiSet:
    root: Path

    @property
    def images(self) -> Path:
        return self.root / "image_2"

    @property
    def labels(self) -> Path:
        return self.root / "label_2"

    @property
    def options(self) -> ReadOptions:
        return ReadOptions(self.images, self.labels)

    def add(self, stem: str, *lines: str) -> Path:
        (self.images / f"{stem}.png").write_bytes(b"not read here")
        return self.label(stem, *lines)

    def label(self, stem: str, *lines: str) -> Path:
        path = self.labels / f"{stem}.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


@pytest.fixture
def kitti(tmp_path):
    made = KittiSet(tmp_path / "training")
    made.images.mkdir(parents=True)
    made.labels.mkdir()
    return made


def load(kitti: KittiSet, **options) -> list[AnnotatedImage]:
    source = read_kitti(dataclasses.replace(kitti.options, **options))
    return [source.load(entry) for entry in source.entries]


def test_objects_and_their_extras(kitti):
    path = kitti.add("000007", CAR, "", f"{CYCLIST} 0.97")
    source = read_kitti(kitti.options)
    assert source.extra_features == (
        "image/object/truncated",
        "image/object/alpha",
        *(f"image/object/3d_bbox/{name}" for name in ("height", "width", "length", "x", "y", "z", "rot_y")),
    )
    assert (source.object_features, source.notes) == (("image/object/class/label", "image/object/difficult"), ())
    assert source.load(source.entries[0]) == AnnotatedImage(
        kitti.images / "000007.png",
        "000007.png",
        "000007.png",
        None,
        (
            AnnotatedObject("car", PixelBox(20, 10, 60, 110.5), f"{path}:1 (car)", extras=CAR_EXTRAS),
            AnnotatedObject("cyclist", PixelBox(20, 200, 90, 240), f"{path}:3 (cyclist)", extras=CYCLIST_EXTRAS),
        ),
        str(path),
    )


def test_regions_that_nobody_annotated_are_no_objects(kitti):
    kitti.add("0", DONT_CARE.format(100, 50, 120, 70), CAR, CYCLIST)
    assert [item.class_text for item in load(kitti)[0].objects] == ["car", "cyclist"]


@pytest.mark.parametrize(
    ("region", "kept"),
    [
        pytest.param((100, 50, 120, 70), ["cyclist"], id="overlap"),
        pytest.param((110.5, 20, 120, 60), ["car", "cyclist"], id="common edge"),
        pytest.param((20, 30, 20, 40), ["car", "cyclist"], id="empty region"),
        pytest.param((0, 0, 300, 300), [], id="all in it"),
    ],
)
def test_objects_in_regions_that_nobody_annotated_go_on_demand(kitti, region, kept):
    path = kitti.add("0", CAR, DONT_CARE.format(*region), CYCLIST)
    source = read_kitti(kitti.options)
    image = dataclasses.replace(source.load, clears_dont_care=True)(source.entries[0])
    assert [item.class_text for item in image.objects] == kept
    assert image.notes == ((f"{path}: {2 - len(kept)} objects that overlap a DontCare region: left out",) if len(kept) < 2 else ())


def test_classes_to_keep(kitti):
    kitti.add("0", CAR, CYCLIST)
    source = read_kitti(kitti.options)
    reader = dataclasses.replace(source.load, classes=frozenset({"cyclist"}))
    assert [item.class_text for item in reader(source.entries[0]).objects] == ["cyclist"]


def test_images_without_labels_are_negatives(kitti):
    kitti.add("2")
    kitti.add("1", CAR)
    (kitti.images / "0.jpg").write_bytes(b"")
    (kitti.images / "readme.md").write_bytes(b"")
    (kitti.labels / "._1.txt").write_bytes(b"\0\5\x16\7")  # what macOS packs beside a file
    source = read_kitti(kitti.options)
    assert source.notes == (f"1 images have no label file in {kitti.labels}: kept, as images without objects",)
    images = [source.load(entry) for entry in source.entries]
    assert [(image.filename, len(image.objects)) for image in images] == [("0.jpg", 0), ("1.png", 1), ("2.png", 0)]
    assert images[0].where == str(kitti.images / "0.jpg")


def test_split_file(kitti, tmp_path):
    for stem in ("1", "2.a", "3"):
        kitti.add(stem)
    split = tmp_path / "train.txt"
    split.write_text("3\n\n2.a.png\n1\n")
    assert [image.filename for image in load(kitti, split_file=split)] == ["3.png", "2.a.png", "1.png"]
    for content, message in (
        ("4\n", r"train\.txt:1: no image '4' in "),
        ("1\n1.png\n", r"train\.txt:2: '1\.png' is listed twice, .* line 1"),
    ):
        split.write_text(content)
        with pytest.raises(InputError, match=message):
            load(kitti, split_file=split)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("0 0.5 0.5 0.1 0.1", r"0\.txt:2: a line of KITTI has 15 columns \(16 with a score\), got 5", id="YOLO"),
        pytest.param(f"0 1 {CAR}", r"0\.txt:2: a line of KITTI has 15 columns \(16 with a score\), got 17", id="tracking"),
        pytest.param(CAR.replace("110.5", "1l0"), r"0\.txt:2 \(car\): right must be a number, got '1l0'", id="letter"),
        pytest.param(CAR.replace("4.0", "nan"), r"0\.txt:2 \(car\): length must be a number, got 'nan'", id="NaN"),
        pytest.param(CAR.replace("-1.57", "1e39"), r"0\.txt:2 \(car\): alpha must be a number, got '1e39'", id="beyond float32"),
        pytest.param(CAR.replace("1.7", "1_7"), r"0\.txt:2 \(car\): y must be a number, got '1_7'", id="underscore"),
        pytest.param(CAR.replace("Car", "C\x00r"), r"0\.txt:2: the class 'C\\x00r' has control characters", id="control character"),
    ],
)
def test_wrong_lines(kitti, line, message):
    kitti.add("0", CYCLIST, line)
    with pytest.raises(InputError, match=message):
        load(kitti)


def test_wrong_files(kitti, tmp_path):
    lost = kitti.label("9", CAR)
    with pytest.raises(InputError, match="no image in "):
        load(kitti)
    kitti.add("1", CAR)
    with pytest.raises(InputError, match=f"{lost}: no image '9' in {kitti.images}"):
        load(kitti)
    lost.rename(lost.with_name("1.txt")).write_bytes(b"Car\xff 0\n")
    with pytest.raises(InputError, match=r"1\.txt: not a text file in UTF-8"):
        load(kitti)
    (kitti.labels / "1.txt").write_bytes(b"\n" * (1 << 22) + b"\n")
    with pytest.raises(InputError, match=r"1\.txt has 4,194,305 bytes; a KITTI label file has at most 4,194,304"):
        load(kitti)
    with pytest.raises(InputError, match=r"is not a folder; the kitti format needs a folder of label files"):
        load(kitti, annotations=kitti.labels / "1.txt")
    with pytest.raises(InputError, match="the kitti format has no use for --include_masks"):
        load(kitti, include_masks=True)


def test_labels_are_not_read_through_links_that_lead_out(kitti, tmp_path):
    kitti.add("1", CAR)
    (kitti.labels / "1.txt").unlink()
    (tmp_path / "secret").write_text("x")
    (kitti.labels / "1.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"'1\.txt' leads out of the folder"):
        load(kitti)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("training/image_2", "training/label_2"),
        ("image_2", "label_2"),
        ("images", "labels"),
        ("data_object_image_2/training/image_2", "data_object_label_2/training/label_2"),
    ],
)
def test_recognised_folders(tmp_path, images, labels):
    for folder in (images, labels):
        (tmp_path / folder).mkdir(parents=True)
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / labels / "0.txt").write_text("")
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / labels / "1.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / labels / "1.txt").write_text(f"{CAR}\n")
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path / images, tmp_path / labels)
