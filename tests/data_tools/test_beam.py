"""What of the Beam runner can be tested without Beam; the rest is in tests/extra/test_beam.py."""

from __future__ import annotations

import sys

import pytest

from data_tools import beam
from data_tools.annotated_image import ReadOptions
from data_tools.beam import Task, create_tf_record_on_beam, do_task
from data_tools.create_tf_record import create_tf_record
from data_tools.create_tf_record_beam import main
from data_tools.format_table import FORMATS
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError


@pytest.fixture
def source(voc_set):
    for index in range(5):
        voc_set.add(f"{index}", ("cat", 1, 2, 30, 40))
    return FORMATS["voc"].read(ReadOptions(voc_set.images, voc_set.annotations))


def written(folder):
    return {path.name: path.read_bytes() if path.is_file() else b"a folder" for path in folder.iterdir()}


@pytest.fixture
def tasks_in_turn(monkeypatch):
    """Runs the tasks here, in a strange order and one of them twice, instead of a pipeline."""

    def run(apache_beam, beam_flags, tasks, plan):
        for task in [*tasks[::-1], tasks[0]]:
            do_task(task)

    monkeypatch.setattr(beam, "_import_beam", lambda: None)
    monkeypatch.setattr(beam, "_run", run)


@pytest.mark.usefixtures("tasks_in_turn")
def test_the_same_files_in_whatever_order_and_however_often_a_shard_is_done(source, tmp_path):
    options = WriteOptions(num_shards=3, arguments={"num_shards": 3})
    expected = create_tf_record(source, tmp_path / "pool" / "a.record", options)
    found = create_tf_record_on_beam(source, tmp_path / "beam" / "a.record", options)
    assert written(tmp_path / "beam") == written(tmp_path / "pool")
    assert found.to_json() == expected.to_json()


@pytest.mark.usefixtures("tasks_in_turn")
def test_an_error_leaves_earlier_files_and_nothing_new(source, voc_set, tmp_path):
    create_tf_record_on_beam(source, tmp_path / "out" / "a.record", WriteOptions(num_shards=2))
    before = written(tmp_path / "out")
    (tmp_path / "out" / ".a.record.beam").mkdir()  # of a killed run
    (voc_set.images / "3.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"3\.jpg: the file is empty"):
        create_tf_record_on_beam(source, tmp_path / "out" / "a.record", WriteOptions(num_shards=2))
    assert written(tmp_path / "out") == before


def test_nothing_is_unpickled_that_the_run_has_not_written(tmp_path):
    (tmp_path / "00000.work").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match=r"00000\.work is not what this run has written"):
        do_task(Task(str(tmp_path), 0, "0" * 64))


def test_without_beam_one_line_says_how_to_get_it(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"Apache Beam cannot be imported .* pip install 'object-detection-ext\[beam\]'"):
        create_tf_record_on_beam(source, tmp_path / "a.record")
    assert written(tmp_path).keys() == {"voc"}


@pytest.mark.usefixtures("tasks_in_turn")
def test_the_command_takes_the_flags_of_both(voc_set, source, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(beam, "_run", lambda apache_beam, flags, tasks, plan: (seen.append(flags), [do_task(task) for task in tasks]))
    assert main([*voc_set.flags(tmp_path / "a.record"), "--", "--runner=FlinkRunner", "--flink_master=host:8081"]) == 0
    assert main(voc_set.flags(tmp_path / "a.record")) == 0
    assert seen == [["--runner=FlinkRunner", "--flink_master=host:8081"], ["--runner=FnApiRunner"]]
    with pytest.raises(SystemExit):
        main([*voc_set.flags(tmp_path / "a.record"), "--runner=FlinkRunner"])
    assert "unrecognized arguments: --runner=FlinkRunner" in capsys.readouterr().err
    with pytest.raises(InputError, match="--resume is not for Beam"):
        main([*voc_set.flags(tmp_path / "a.record"), "--resume"])
