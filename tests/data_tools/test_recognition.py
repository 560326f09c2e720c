from __future__ import annotations

import pytest

from data_tools.annotated_image import ReadOptions
from data_tools.create_tf_record import create_tf_record
from data_tools.format_table import FORMATS
from data_tools.formats.voc import read_voc
from data_tools.recognition import recognise
from object_detection_ext.errors import InputError
from tests.data_tools.small_sets import SMALL_SETS

ALL = sorted(FORMATS)


def look(folder, names=ALL):
    return recognise(folder, names, flag="--input", instead="name the parts")


@pytest.mark.parametrize("name", SMALL_SETS)
def test_every_format_is_told_from_all_others(name, tmp_path):
    SMALL_SETS[name](tmp_path)
    assert look(tmp_path)[0] == name.partition("-")[0]


def test_records_beside_the_annotations_are_passed_over(voc_set):
    voc_set.add("a", ("cat", 1, 2, 30, 40))
    root, options = voc_set.images.parent, ReadOptions(voc_set.images, voc_set.annotations)
    create_tf_record(read_voc(options), root / "train.record")
    assert look(root) == ("voc", options)
    assert look(root, ["tfrecord"])[0] == "tfrecord"


def test_a_folder_that_is_none(voc_set, tmp_path):
    voc_set.add("a", ("cat", 1, 2, 30, 40))
    (tmp_path / "another").mkdir()
    with pytest.raises(InputError) as raised:
        look(tmp_path)
    listed = ", ".join(ALL)
    message = f"--input {tmp_path} is not laid out as any of {listed} (but --input {tmp_path / 'voc'} is, as voc); name the parts"
    assert str(raised.value) == message
    with pytest.raises(InputError, match=r"is not laid out as coco; name the parts$"):
        look(tmp_path, ["coco"])


def test_a_folder_that_is_two(voc_set):
    root = voc_set.images.parent
    voc_set.add("a", ("cat", 1, 2, 30, 40))
    (root / "classes.txt").write_text("cat\n")
    with pytest.raises(InputError) as raised:
        look(root)
    assert str(raised.value) == (
        f"--input {root} can be read in 2 ways: voc ({voc_set.annotations}); yolo ({root / 'classes.txt'}); choose one with --format"
    )
