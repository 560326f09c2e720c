from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.converter_data import make_converter_data, make_large_instances
from benchmarks.converters import Run, convert, main, rate, speed_ratios, table
from object_detection_ext.errors import InputError


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """One photo of 200x100 with a box from (100, 50) to (180, 90) and its polygon."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "images" / "train2017").mkdir(parents=True)
    Image.new("RGB", (200, 100), (10, 120, 200)).save(root / "images" / "train2017" / "a.jpg")
    polygon = [100, 50, 180, 50, 180, 90]
    item = {"id": 5, "image_id": 9, "category_id": 3, "bbox": [100, 50, 80, 40], "area": 3200, "iscrowd": 0, "segmentation": [polygon]}
    content = {"images": [{"id": 9, "file_name": "a.jpg"}], "annotations": [item], "categories": [{"id": 3, "name": "traffic light"}]}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


def test_both_layouts_say_the_same(coco, tmp_path):
    small, large = make_converter_data(tmp_path / "data", coco, num_images=(4, 2))
    assert (small.num_images, large.num_images) == (2, 4)
    assert (small.split_file.name, small.split_file.read_text()) == ("aeroplane_train.txt", "000001  1\n000002  1\n")
    assert len(large.split_file.read_text().splitlines()) == 4
    content = json.loads(large.instances.read_text())
    assert [image["file_name"] for image in content["images"]] == [f"00000{number}.jpg" for number in range(1, 5)]
    assert Image.open(large.images / "000004.jpg").size == (480, 360)
    for item in content["annotations"]:
        x, y, width, height = item["bbox"]
        assert 0 <= x < x + width <= 480 and 0 <= y < y + height <= 360
        assert (width, height) == pytest.approx((80 * 3.0, 40 * 4.5), abs=0.3) or x + width > 479 or y + height > 359  # 480 / 160, 360 / 80
        assert item["segmentation"][0][:2] == pytest.approx([x, y], abs=0.1)  # the polygon moved with the box
        found = ET.parse(large.annotations / f"{item['image_id']:06d}.xml").find("object")
        assert found is not None and found.findtext("name") == "traffic light"
        edges = [float(found.findtext(f"bndbox/{edge}") or "") for edge in ("xmin", "ymin", "xmax", "ymax")]
        assert edges == pytest.approx([x, y, x + width, y + height], abs=0.051)


@pytest.mark.parametrize("format", ["coco", "voc"])
def test_our_converter_takes_the_data(coco, tmp_path, format):
    (data,) = make_converter_data(tmp_path / "data", coco, num_images=(110,))
    measured = convert(data, format, side="headers", python=Path(sys.executable), folder=tmp_path / "output")
    assert (measured.format, measured.num_images) == (format, 110)
    assert measured.cpu_seconds > 0 and measured.peak_mib > 1
    assert not (tmp_path / "output").exists()


def test_a_large_instances_file(coco, tmp_path):
    path = make_large_instances(tmp_path, coco, num_images=20, objects_per_image=1.5)
    content = json.loads(path.read_text())
    assert (len(content["images"]), len(content["annotations"])) == (20, 30)
    assert content["annotations"][0]["segmentation"]
    assert {item["image_id"] for item in content["annotations"]} == set(range(1, 21))
    assert all((tmp_path / "images_20" / image["file_name"]).is_file() for image in content["images"])


def _run(side, num_images: int, wall: float, cpu: float, peak: float = 100.0) -> Run:
    return Run("coco", side, num_images, wall, cpu, wall + 10.0, cpu + 10.0, peak, load_before=0.0)


def test_a_rate_is_of_the_larger_set_and_takes_the_best():
    found = rate(
        [
            _run("headers", 1000, 2.0, 3.0),
            _run("headers", 4000, 8.0, 5.0, 120.0),
            _run("headers", 1000, 9.0, 2.0),
            _run("headers", 4000, 5.0, 10.0),
        ]
    )
    assert (found.records_per_cpu_second, found.records_per_second) == (4000 / 5.0, 4000 / 5.0)
    assert (found.whole_cpu_seconds, found.whole_wall_seconds) == (15.0, 15.0)
    assert (found.peak_mib_small, found.peak_mib_large) == (100.0, 100.0)


def test_ratios_are_by_cpu_for_headers_and_by_the_clock_for_decoding():
    rates = {
        "reference": rate([_run("reference", 1000, 4.0, 5.0), _run("reference", 4000, 10.0, 16.0)]),  # 400 a second, 250 a CPU second
        "headers": rate([_run("headers", 1000, 1.0, 1.0), _run("headers", 4000, 2.0, 1.6)]),  # 2000, 2500
        "verified": rate([_run("verified", 1000, 1.0, 1.0), _run("verified", 4000, 4.0, 8.0)]),  # 1000, 500
    }
    assert speed_ratios("headers", rates) == (10.0, 26.0 / 11.6)
    assert speed_ratios("verified", rates) == (2.5, 20.0 / 14.0)
    text = table("coco", rates)
    assert "| ours, headers checked, one process | 2500 | 2000 | 12.0 | 100, 100 | 10.00 (2.24) | at least 10.0 |" in text
    assert "| original | 250 | 400 | 20.0 | 100, 100 |  |  |" in text


def test_no_photos_no_benchmark(tmp_path):
    with pytest.raises(InputError, match="the photos are taken from a COCO set with"):
        main([f"--coco_dir={tmp_path}", f"--output_dir={tmp_path / 'out'}"])
