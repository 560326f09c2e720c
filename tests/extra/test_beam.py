"""Records written by a Beam pipeline, in its in-process runner, are those of `create_tf_record`; needs `apache_beam`, not TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.annotated_image import ReadOptions
from data_tools.beam import create_tf_record_on_beam
from data_tools.create_tf_record import create_tf_record
from data_tools.format_table import FORMATS
from data_tools.selection import Selection
from data_tools.splits import Splits
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError
from tests.data_tools.conftest import VOC_OBJECT, save_image, voc_xml
from tests.data_tools.small_sets import SMALL_SETS

pytest.importorskip("apache_beam", reason="Apache Beam is not installed here; `make test-extra` runs this in build/beam")

ROOT = Path(__file__).resolve().parents[2]
TWO_PROCESSES = ("--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture
def voc(tmp_path: Path) -> ReadOptions:
    """Twelve images; every third without objects, the fifth with a broken box."""
    images, annotations = tmp_path / "images", tmp_path / "annotations"
    annotations.mkdir()
    for index in range(12):
        save_image(images / f"{index:02d}.png", color=index)
        boxes = [] if index % 3 == 2 else [("cat", 1, 2, 30, 40), ("dog", 0, 0, 64, 48), ("dog", 5, 5, 5 if index == 4 else 9, 9)]
        (annotations / f"{index:02d}.xml").write_text(voc_xml(f"{index:02d}.png", "".join(VOC_OBJECT.format(*box) for box in boxes)))
    return ReadOptions(images, annotations)


def written(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() if path.is_file() else b"a folder" for path in folder.iterdir()}


OPTIONS = {
    "one shard": WriteOptions(),
    "five shards": WriteOptions(num_shards=5, arguments={"num_shards": 5}),
    "splits": WriteOptions(num_shards=4, splits=Splits(("train", "val"), (0.75, 0.25))),
    "chosen": WriteOptions(num_shards=2, selection=Selection(classes=("dog",), drops_images_without_objects=True, sample=6)),
    "by size": WriteOptions(shard_megabytes=0.0005, broken_boxes="clip"),
    "not numbered": WriteOptions(is_numbered=False, writes_manifest=False),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_files(voc, tmp_path, name):
    source, options = FORMATS["voc"].read(voc), OPTIONS[name]
    expected = create_tf_record(source, tmp_path / "pool" / "a.record", options)
    found = create_tf_record_on_beam(source, tmp_path / "beam" / "a.record", options)
    assert written(tmp_path / "beam") == written(tmp_path / "pool")
    assert found.to_json() == expected.to_json()
    assert [path.name for path in found.outputs] == [path.name for path in expected.outputs]


@pytest.mark.parametrize("name", SMALL_SETS)
def test_every_format(tmp_path, name):
    (tmp_path / "set").mkdir()
    small = SMALL_SETS[name](tmp_path / "set")
    source = FORMATS[name.partition("-")[0]].read(small.options)
    create_tf_record(source, tmp_path / "pool" / "a.record", WriteOptions(num_shards=2))
    create_tf_record_on_beam(source, tmp_path / "beam" / "a.record", WriteOptions(num_shards=2))
    assert written(tmp_path / "beam") == written(tmp_path / "pool")


def test_several_processes(voc, tmp_path):
    source = FORMATS["voc"].read(voc)
    create_tf_record(source, tmp_path / "pool" / "a.record", WriteOptions(num_shards=4))
    create_tf_record_on_beam(source, tmp_path / "beam" / "a.record", WriteOptions(num_shards=4), beam_flags=TWO_PROCESSES)
    assert written(tmp_path / "beam") == written(tmp_path / "pool")


def test_the_first_error_in_the_order_of_the_entries_is_one_line(voc, tmp_path):
    for stem in ("09", "04", "11"):
        (voc.images / f"{stem}.png").write_bytes(b"not an image")
    with pytest.raises(InputError) as pool:
        create_tf_record(FORMATS["voc"].read(voc), tmp_path / "pool" / "a.record", WriteOptions(num_shards=3))
    with pytest.raises(InputError) as beam:
        create_tf_record_on_beam(FORMATS["voc"].read(voc), tmp_path / "beam" / "a.record", WriteOptions(num_shards=3))
    assert str(beam.value) == str(pool.value)
    assert "04.png" in str(beam.value)
    assert written(tmp_path / "beam") == {}


def test_the_command(voc, tmp_path):
    flags = ["--images=images", "--annotations=annotations", "--format=voc", "--num_shards=3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def call(module: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *flags, *more]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    pool = call("data_tools.create_tf_record", "--output=pool/a.record")
    beam = call("data_tools.create_tf_record_beam", "--output=beam/a.record", "--", *TWO_PROCESSES)
    assert (pool.returncode, beam.returncode) == (0, 0), beam.stderr
    assert written(tmp_path / "beam") == written(tmp_path / "pool")
    assert beam.stdout.splitlines()[1:3] == pool.stdout.splitlines()[1:3]  # the line before has the time, those after the paths
    wrong = call("data_tools.create_tf_record_beam", "--output=other/a.record", "--", "--runner=NoSuchRunner")
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].startswith("error: the Beam pipeline failed: ")
    assert "Traceback" not in wrong.stderr
    assert written(tmp_path / "other") == {}
