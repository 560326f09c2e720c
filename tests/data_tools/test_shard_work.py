from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

from data_tools.annotated_image import ReadOptions, Source
from data_tools.conversion_plan import plan_conversion
from data_tools.create_tf_record import create_tf_record
from data_tools.format_table import FORMATS
from data_tools.selection import Selection
from data_tools.shard_work import ShardReport, load_report, merge_reports, save_report, split_work, write_shard
from data_tools.splits import Splits
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError


@pytest.fixture
def source(voc_set) -> Source:
    """Nine images; every third without objects, two with a broken box."""
    for index in range(9):
        box = (5, 5, 5, 9) if index in (2, 7) else (1, 2, 30, 40)
        voc_set.add(f"{index}", *[("cat", *box), ("dog", 0, 0, 64, 48)][: 0 if index % 3 == 0 else 2])
    return read(voc_set)


def read(voc_set) -> Source:
    return FORMATS["voc"].read(ReadOptions(voc_set.images, voc_set.annotations))


def do_all(source: Source, output: Path, options: WriteOptions, *, in_order=tuple) -> tuple[dict[str, bytes], list[ShardReport]]:
    """Every shard by itself, one after the other; what the shards hold, and the reports after a way through their files."""
    plan = plan_conversion(source, output, options)
    works = list(split_work(plan, drops_images_without_objects=options.selection.drops_images_without_objects))
    output.parent.mkdir(parents=True, exist_ok=True)
    reports: list[ShardReport | None] = [None] * len(works)
    for shard in in_order(range(len(works))):
        path = output.with_name(f"report-{shard}.json")
        save_report(write_shard(works[shard], plan.layout.shards[shard]), path)
        reports[shard] = load_report(path)
    return {path.name: path.read_bytes() for path in plan.layout.shards}, [report for report in reports if report is not None]


OPTIONS = {
    "one shard": WriteOptions(),
    "more shards": WriteOptions(num_shards=4),
    "splits": WriteOptions(num_shards=4, splits=Splits(("train", "val"), (0.6, 0.4))),
    "chosen": WriteOptions(num_shards=2, selection=Selection(classes=("cat",), drops_images_without_objects=True)),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_shards_and_summary_are_those_of_a_conversion_in_one_go(source, tmp_path, name):
    options = OPTIONS[name]
    expected = create_tf_record(source, tmp_path / "whole" / "a.record", options)
    shards, reports = do_all(source, tmp_path / "parts" / "a.record", options, in_order=reversed)
    assert shards == {path.name: path.read_bytes() for path in expected.outputs if "-of-" in path.name}
    plan = plan_conversion(source, tmp_path / "whole" / "a.record", options)
    assert merge_reports(plan, reports).to_json() == expected.to_json()
    assert [report.state.num_bytes for report in reports] == [len(content) for content in shards.values()]


def test_messages_come_in_the_order_of_the_entries(voc_set, tmp_path):
    for index in range(130):
        voc_set.add(f"{index:03d}", ("cat", 5, 5, 5, 9), ("cat", 1, 2, 30, 40))
    source, options = read(voc_set), WriteOptions(num_shards=7)
    expected = create_tf_record(source, tmp_path / "whole" / "a.record", options)
    _, reports = do_all(source, tmp_path / "parts" / "a.record", options)
    merged = merge_reports(plan_conversion(source, tmp_path / "whole" / "a.record", options), reports)
    assert merged.broken_boxes == expected.broken_boxes
    assert merged.broken_boxes.count == 130


def test_the_error_that_comes_first_in_the_order_of_the_entries_counts(source, voc_set, tmp_path):
    options = WriteOptions(num_shards=3)
    plan = plan_conversion(source, tmp_path / "a.record", options)
    for stem in "83":
        (voc_set.images / f"{stem}.jpg").write_bytes(b"no image")
    _, reports = do_all(source, tmp_path / "a.record", options)
    with pytest.raises(InputError, match=r"3\.jpg: not an image"):
        merge_reports(plan, reports)
    voc_set.write("2", (voc_set.annotations / "1.xml").read_text())  # before the error
    _, reports = do_all(source, tmp_path / "a.record", options)
    with pytest.raises(InputError, match=r"2\.xml: image '1\.jpg' is annotated twice, first by .*1\.xml"):
        merge_reports(plan, reports)
    voc_set.write("4", (voc_set.annotations / "5.xml").read_text())  # after it
    voc_set.write("2", (voc_set.annotations / "2.xml").read_text().replace("1.jpg", "2.jpg"))
    _, reports = do_all(source, tmp_path / "a.record", options)
    with pytest.raises(InputError, match=r"3\.jpg: not an image"):
        merge_reports(plan, reports)


def test_an_error_of_the_system_keeps_its_kind(source, tmp_path):
    plan = plan_conversion(source, tmp_path / "a.record", WriteOptions())
    (work,) = split_work(plan, drops_images_without_objects=False)

    def refuse(entry: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a.jpg")

    report = write_shard(work._replace(encoder=refuse), tmp_path / "shard")
    save_report(report, tmp_path / "report.json")
    with pytest.raises(PermissionError, match=r"Permission denied: 'a\.jpg'"):
        merge_reports(plan, [load_report(tmp_path / "report.json")])


def test_work_can_be_pickled(source, tmp_path):
    plan = plan_conversion(source, tmp_path / "a.record", WriteOptions(num_shards=2))
    for shard, work in enumerate(split_work(plan, drops_images_without_objects=False)):
        report = write_shard(pickle.loads(pickle.dumps(work)), tmp_path / f"{shard}")
        assert report == write_shard(work, tmp_path / f"{shard}-again")
