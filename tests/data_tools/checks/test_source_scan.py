"""Annotated folders, before they become records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, Source
from data_tools.checks.pictures import read_encoded_image
from data_tools.checks.scan import scan_source
from data_tools.format_table import FORMATS
from object_detection_ext.data.label_map import LabelMap, LabelMapItem
from object_detection_ext.errors import InputError


class Folder:
    """Twenty images with a cat each; `load` reads an entry's number."""

    def __init__(self, folder: Path, make) -> None:
        self.paths = [folder / f"{number}.jpg" for number in range(20)]
        for number, path in enumerate(self.paths):
            path.write_bytes(make.encode(make.picture(number)))
        self.boxes = {number: PixelBox(18, 12, 54, 36) for number in range(20)}
        self.size: tuple[int, int] | None = (72, 96)
        self.relative = False

    def load(self, number: int) -> AnnotatedImage:
        if number not in self.boxes:
            raise InputError(f"labels.txt:{number}: no box")
        item = AnnotatedObject("cat", self.boxes[number], f"labels.txt:{number}: object 1")
        path = self.paths[number]
        return AnnotatedImage(path, path.name, path.name, self.size, (item,), f"labels.txt:{number}", has_relative_boxes=self.relative)

    def found(self, **settings):
        scan = scan_source(Source(range(20), self.load, ()), **settings)
        return scan, {group.check: group for group in scan.findings.groups()}


@pytest.fixture
def folder(tmp_path, make):
    return Folder(tmp_path, make)


def test_a_clean_folder(folder):
    scan, found = folder.found()
    assert not found
    (reader,) = scan.summary().readers
    assert (reader.name, reader.num_images, reader.is_record_set) == ("source", 20, False)
    assert np.allclose(reader.boxes[7], [0.25, 0.125, 0.75, 0.375])
    assert read_encoded_image(reader, 7) == folder.paths[7].read_bytes()


def test_a_broken_box_is_named_by_its_place_in_the_annotations(folder):
    folder.boxes[4] = PixelBox(54, 12, 18, 36)
    _, found = folder.found()
    (finding,) = found["inverted_box"].findings
    assert (finding.where, finding.image) == ("labels.txt:4: object 1", "4.jpg")
    assert finding.record.path == str(folder.paths[4])


def test_relative_boxes(folder):
    folder.relative, folder.boxes = True, {number: PixelBox(0.25, 0.125, 0.75, 0.375) for number in range(20)}
    scan, found = folder.found()
    assert not found
    assert np.allclose(scan.summary().readers[0].boxes[7], [0.25, 0.125, 0.75, 0.375])


def test_an_annotation_that_cannot_be_read(folder):
    del folder.boxes[4]
    folder.paths[5].unlink()
    _, found = folder.found()
    assert [(each.where, each.message) for each in found["bad_annotation"].findings] == [
        ("labels.txt:4", "no box"),
        (str(folder.paths[5]), "cannot be read: No such file or directory"),
    ]


def test_an_annotation_of_another_size(folder):
    folder.size = (100, 96)
    _, found = folder.found()
    assert found["wrong_size"].count == 20
    assert found["wrong_size"].findings[0].message == "the annotation says 96x100 pixels, the image has 96x72"


def test_a_size_that_is_exchanged_is_left_to_the_orientation(folder):
    folder.size, folder.boxes = (96, 72), {number: PixelBox(24, 9, 72, 27) for number in range(20)}
    scan, found = folder.found()
    assert not found
    assert np.allclose(scan.summary().readers[0].boxes[7], [0.25, 0.125, 0.75, 0.375])


def test_classes_are_compared_with_a_label_map_that_is_given(folder):
    _, found = folder.found(label_map=LabelMap((LabelMapItem(1, "Cat"),)), label_map_path="map.pbtxt")
    assert found["text_not_in_map"].findings[0].message.startswith("class text 'cat' is not in the label map")
    assert found["similar_names"].findings[0].message == "'Cat' (map.pbtxt: id 1), 'cat' (labels.txt:0: object 1) differ in spelling only"


def test_bccd(test_data):
    """Two of its boxes are empty, which the dataset is known for; all images are whole."""
    options = FORMATS["voc"].recognise(test_data / "bccd" / "BCCD")
    assert options is not None
    source = FORMATS["voc"].read(options)
    entries = [path for path in source.entries if path.stem[-4:-1] in ("033", "034")]
    scan = scan_source(Source(entries, source.load, source.object_features))
    found = {group.check: group for group in scan.findings.groups()}
    assert set(found) == {"empty_box", "rare_class"}
    assert [each.image for each in found["empty_box"].findings] == ["BloodImage_00338.jpg", "BloodImage_00343.jpg"]
