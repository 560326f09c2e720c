"""Mended records: each fault is gone, all else is as it was, and the originals are untouched."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from data_tools.checks.fix import fix_records
from data_tools.checks.scan import RecordSet
from data_tools.record_file import read_records
from data_tools.tf_example import parse_example
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

EDGES = (schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX)


class Fixed:
    """What `--fix` makes of the sets."""

    def __init__(self, sets):
        before = {path: path.read_bytes() for path in sets.paths.values() if path.exists()}
        self.scan = sets.scan(writes=not before)
        before = before or {path: path.read_bytes() for path in sets.paths.values()}
        self.folder = sets.folder / "fixed"
        self.summary = fix_records(sets.record_sets(), self.scan, self.folder)
        assert before == {path: path.read_bytes() for path in before}
        self.sets = [RecordSet(each.name, (str(self.path(each)),), each.label_map, "map.pbtxt") for each in sets.record_sets()]
        self.again = sets.found(sets.scan(writes=False, record_sets=self.sets))

    def path(self, record_set):
        (path,) = record_set.paths
        return self.folder / path.rpartition("/")[2]

    def records(self, name="train"):
        (path,) = next(each.paths for each in self.sets if each.name == name)
        return [parse_example(payload) for payload in read_records(type(self.folder)(path))]

    @property
    def changes(self):
        return [line.split(": record ", 1)[1] for line in (self.folder / "changes.txt").read_text().splitlines()]


def test_what_is_right_keeps_its_bytes(sets):
    fixed = Fixed(sets)
    for path in sets.paths.values():
        assert (fixed.folder / path.name).read_bytes() == path.read_bytes()
    assert fixed.changes == []
    assert (fixed.summary.num_records, fixed.summary.num_changed, fixed.summary.num_dropped) == (24, 0, 0)
    assert not list(fixed.folder.glob(".*"))


def set_box(record, *edges, index=0):
    for key, value in zip(EDGES, edges, strict=True):
        record[key][index] = value


@pytest.mark.parametrize(
    ("edges", "change"),
    [
        ((0.25, float("nan"), 0.75, 0.375), "object 0 left out: box not finite"),
        ((0.75, 0.125, 0.25, 0.375), "object 0 left out: box inverted"),
        ((0.25, 0.125, 0.25, 0.375), "object 0 left out: box empty"),
        ((0.25, 1.125, 0.75, 1.375), "object 0 left out: box beyond"),
        ((18.0, 12.0, 54.0, 36.0), "object 0 left out: box in pixels"),  # the other box is not, so what it means is not known
    ],
)
def test_broken_boxes_are_left_out_with_all_their_values(sets, edges, change):
    record = sets.eval[1]
    set_box(record, *edges)
    record[schema.OBJECT_MASK] = [b"mask of the cat", b"mask of the dog"]
    record[schema.OBJECT_KEYPOINT_X] = record[schema.OBJECT_KEYPOINT_Y] = [0.1, 0.2, 0.3, 0.4]
    record["mine/numbers"] = [5, 6, 7]
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes == [f"1 (id101): {change}"]
    mended = fixed.records("eval")[1]
    assert [mended[key] for key in EDGES] == [[0.5], [0.5], [1.0], [0.875]]
    assert (mended[schema.OBJECT_CLASS_LABEL], mended[schema.OBJECT_CLASS_TEXT], mended[schema.OBJECT_MASK]) == (
        [2],
        [b"dog"],
        [b"mask of the dog"],
    )
    assert mended[schema.OBJECT_KEYPOINT_X] == pytest.approx([0.3, 0.4])
    assert (mended["mine/numbers"], mended[schema.IMAGE_ENCODED]) == ([5, 6, 7], record[schema.IMAGE_ENCODED])


def test_boxes_are_clipped(sets):
    set_box(sets.train[1], -0.5, 0.125, 0.75, 1.5)
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes == ["1 (id1): object 0: box clipped to the image"]
    assert [fixed.records()[1][key][0] for key in EDGES] == [0.0, 0.125, 0.75, 1.0]


def test_records_in_pixels_are_divided(sets):
    set_box(sets.train[1], 18, 12, 54, 36)
    set_box(sets.train[1], 36, 48, 72, 84, index=1)
    for key in EDGES:
        sets.train[1][key] = [float(value) for value in sets.train[1][key]]
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes == ["1 (id1): 2 boxes in pixels divided by the image's size"]
    assert [fixed.records()[1][key] for key in EDGES] == [[0.25, 0.5], [0.125, 0.5], [0.75, 1.0], [0.375, 0.875]]


def test_a_double_box_that_two_names_hid(sets):
    record = sets.eval[1]
    record[schema.OBJECT_CLASS_TEXT] = [b"cat", b"Cat "]
    record[schema.OBJECT_CLASS_LABEL] = [1, 2]
    set_box(record, 0.25, 0.125, 0.75, 0.375, index=1)
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes == [
        "1 (id101): object 1: class text 'Cat ' -> 'cat'",
        "1 (id101): object 1 (cat): class label 2 -> 1",
        "1 (id101): object 1 left out: box double",
    ]


def test_labels_follow_the_texts(sets):
    for record in sets.train:
        record[schema.OBJECT_CLASS_LABEL] = [0, 1]
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes[:2] == ["0 (id0): object 0 (cat): class label 0 -> 1", "0 (id0): object 1 (dog): class label 1 -> 2"]
    assert all(record[schema.OBJECT_CLASS_LABEL] == [1, 2] for record in fixed.records())


def test_numbers_of_the_wrong_type(sets):
    sets.train[1][schema.OBJECT_CLASS_LABEL] = [1.0, 2.0]
    sets.train[2][schema.OBJECT_YMIN] = [0, 0]
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes == ["1 (id1): image/object/class/label converted to int", "2 (id2): image/object/bbox/ymin converted to float"]


@pytest.mark.parametrize(
    ("format_", "mode", "stored"),
    [("TIFF", "RGB", "png"), ("BMP", "P", "png"), ("GIF", "P", "png"), ("WEBP", "RGB", "png"), ("JPEG", "CMYK", "jpeg")],
)
def test_images_that_are_refused_are_converted(sets, make, format_, mode, stored):
    picture = make.picture(300)
    encoded = make.encode(picture.convert(mode), format_)
    make.set_image(sets.train[3], encoded, format_=format_.lower())
    fixed = Fixed(sets)
    assert not fixed.again
    mended = fixed.records()[3]
    assert mended[schema.IMAGE_FORMAT] == [stored.encode()]
    image = Image.open(io.BytesIO(mended[schema.IMAGE_ENCODED][0]))
    assert (image.format, image.mode) == (stored.upper(), "RGB")
    difference = np.abs(np.asarray(image, np.int16) - np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), np.int16))
    assert difference.mean() < (2 if stored == "jpeg" else 1e-9)


def test_a_png_without_its_end_is_written_whole(sets, make):
    make.set_image(sets.train[3], make.encode(make.picture(300), "PNG")[:-12], format_="png")
    fixed = Fixed(sets)
    assert not fixed.again
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(fixed.records()[3][schema.IMAGE_ENCODED][0]))), np.asarray(make.picture(300)))


def test_an_image_for_turned_boxes_is_turned(sets, make):
    """The recorded size is that of the picture as EXIF turns it: so are the boxes."""
    exif = make.picture(3).getexif()
    exif[0x0112] = 6
    make.set_image(sets.train[3], make.encode(make.picture(3), exif=exif, quality=95), size=(72, 96))
    fixed = Fixed(sets)
    assert not fixed.again
    mended = fixed.records()[3]
    assert (mended[schema.IMAGE_WIDTH], mended[schema.IMAGE_HEIGHT]) == ([72], [96])
    image = Image.open(io.BytesIO(mended[schema.IMAGE_ENCODED][0]))
    upright = make.picture(3).transpose(Image.Transpose.ROTATE_270)  # EXIF 6: the top of the stored picture is its right side
    assert np.abs(np.asarray(image, np.int16) - np.asarray(upright, np.int16)).mean() < 3


def test_what_is_recorded_of_an_image_is_corrected(sets):
    record = sets.train[3]
    record[schema.IMAGE_WIDTH], record[schema.IMAGE_FORMAT], record[schema.IMAGE_KEY_SHA256] = [90], [b"png"], [b"ab" * 32]
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes == [
        "3 (id3): image/width 90 -> 96",
        "3 (id3): image/format b'png' -> b'jpeg'",
        "3 (id3): image/key/sha256 corrected",
    ]


def test_records_that_cannot_be_mended_are_left_out(sets, make):
    sets.train.append(make.record(40) | {schema.IMAGE_ENCODED: []})
    sets.train.append(make.record(41) | {schema.IMAGE_ENCODED: [b"nothing"]})
    sets.train.append(make.record(42) | {schema.OBJECT_XMIN: [0.1]})
    sets.train.append(b"\xff\xff")
    sets.train.append(make.record(43))
    sets.write()
    content = bytearray(sets.paths["train"].read_bytes())
    content[-100] ^= 1  # in record 24, the last one
    sets.paths["train"].write_bytes(content)
    fixed = Fixed(sets)
    assert not fixed.again
    assert [line.partition(": left out: ")[0] for line in fixed.changes] == ["20 (id40)", "21 (id41)", "22 (id42)", "23", "24"]
    assert (len(fixed.records()), fixed.summary.num_dropped) == (20, 5)


def test_a_file_that_was_cut_off(sets, make):
    sets.train.append(make.record(40))
    sets.write()
    sets.paths["train"].write_bytes(sets.paths["train"].read_bytes()[:-9])
    fixed = Fixed(sets)
    assert not fixed.again
    assert fixed.changes[0].startswith("20: left out, with all that follows in the file:")


def test_copies_go_from_a_set_and_from_training(sets, make):
    sets.train.append(sets.train[3] | {schema.IMAGE_SOURCE_ID: [b"again"]})
    sets.train.append(sets.eval[0] | {schema.IMAGE_SOURCE_ID: [b"of eval"]})
    sets.train.append(make.record(50))
    make.set_image(sets.train[-1], make.encode(make.picture(101), quality=50))
    fixed = Fixed(sets)
    assert not fixed.again
    train, evaluation = sets.paths.values()
    assert fixed.changes == [
        f"20 (again): left out: its image is that of 'id3' ({train}: record 3)",
        f"21 (of eval): left out: its image is also evaluation's 'id100' ({evaluation}: record 0)",
        f"22 (id50): left out: its image is nearly evaluation's 'id101' ({evaluation}: record 1)",
    ]


def test_a_file_of_both_sets_is_written_once(sets):
    sets.write()
    path = str(sets.paths["train"])
    both = tuple(RecordSet(name, (path,), sets.maps[name]) for name in ("train", "eval"))
    fix_records(both, sets.scan(writes=False, record_sets=both), sets.folder / "fixed")
    assert (sets.folder / "fixed" / sets.paths["train"].name).read_bytes() == sets.paths["train"].read_bytes()


def test_files_of_one_name_are_told_apart_by_their_set(sets):
    sets.write()
    paths = {name: sets.folder / name / "data.record" for name in ("train", "eval")}
    for name, path in paths.items():
        path.parent.mkdir()
        sets.paths[name].rename(path)
    both = tuple(RecordSet(name, (str(path),), sets.maps[name]) for name, path in paths.items())
    summary = fix_records(both, sets.scan(writes=False, record_sets=both), sets.folder / "fixed")
    assert [path.name for path in summary.paths] == ["train_data.record", "eval_data.record", "changes.txt"]


def test_the_originals_are_never_written_over(sets):
    scan = sets.scan()
    with pytest.raises(InputError, match=r"^--fix .* would write over .*train\.record-00000-of-00001; name a folder that holds none"):
        fix_records(sets.record_sets(), scan, sets.folder)
    assert sorted(path.name for path in sets.folder.iterdir()) == sorted(path.name for path in sets.paths.values())
