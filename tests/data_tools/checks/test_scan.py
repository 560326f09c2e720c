"""Whole passes: clean sets, damaged files, and that each check has its test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data_tools.checks import boxes, classes, images, record_features, record_scan, sets, splits
from data_tools.checks.label_map import SIMILAR_NAMES
from data_tools.checks.scan import RecordSet
from data_tools.create_tf_record import create_tf_record
from data_tools.format_table import FORMATS
from object_detection_ext.data.label_map import load_label_map


def test_clean_sets_have_no_finding(sets):
    scan = sets.scan()
    assert scan.findings.groups() == ()
    train, evaluation = scan.summary().readers
    assert (train.num_images, evaluation.num_images, len(train.boxes)) == (20, 4, 40)
    assert train.class_counts == {"cat": 20, "dog": 20}
    assert train.boxes[1].tolist() == [0.5, 0.5, 1.0, 0.875]
    assert train.image_sizes[3].tolist() == [72, 96]
    assert (train.is_sound.all(), train.image_names[7], train.place(7).index) == (True, "id7", 7)


def test_damaged_records_do_not_hide_those_behind_them(sets):
    sets.write()
    content = bytearray(sets.paths["train"].read_bytes())
    content[100] ^= 1  # in the payload of record 0
    sets.paths["train"].write_bytes(content)
    scan = sets.scan(writes=False)
    assert sets.found(scan)["damaged_record"].findings[0].record.index == 0
    assert scan.summary().readers[0].num_images == 20
    assert set(sets.found(scan)) == {"damaged_record", "rare_class"}  # 19 of each class are left


def test_a_file_that_was_cut_off(sets):
    sets.write()
    sets.paths["train"].write_bytes(sets.paths["train"].read_bytes()[:-10])
    scan = sets.scan(writes=False)
    assert "record 19" in sets.found(scan)["damaged_record"].findings[0].where
    assert scan.summary().readers[0].num_images == 19


def test_the_pets_records_of_the_api(sets, test_data):
    """Ten records that the original's converter wrote: nothing is wrong with them but that they are few."""
    path = str(test_data / "odapi" / "pets_examples.record")
    label_map = load_label_map(test_data / "odapi" / "label_maps" / "pet_label_map.pbtxt")
    scan = sets.scan(writes=False, record_sets=[RecordSet("records", (path,), label_map, "pet_label_map.pbtxt")])
    assert set(sets.found(scan)) == {"rare_class", "unused_class"}
    assert scan.summary().readers[0].num_images == 10
    assert scan.summary().readers[0].class_counts["samoyed"] == 1


def test_bccd_through_the_converter(sets, test_data, tmp_path):
    """The converter drops the two empty boxes; what is left is sound."""
    options = FORMATS["voc"].recognise(test_data / "bccd" / "BCCD")
    assert options is not None
    source = FORMATS["voc"].read(options)
    entries = [path for path in source.entries if path.stem[-4:-1] in ("033", "034")]
    create_tf_record(dataclasses.replace(source, entries=entries), tmp_path / "bccd.record")
    label_map = load_label_map(tmp_path / "bccd_label_map.pbtxt")
    path = str(tmp_path / "bccd.record-00000-of-00001")
    assert set(sets.found(sets.scan(writes=False, record_sets=[RecordSet("records", (path,), label_map)]))) <= {"rare_class"}


def test_every_check_of_records_has_a_test():
    modules = (boxes, classes, images, record_features, record_scan, sets, splits)
    names = [check.name for module in modules for check in module.CHECKS] + [SIMILAR_NAMES.name]
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in names if f'"{name}"' not in texts] == []
