from __future__ import annotations

import functools
from pathlib import Path
from typing import NoReturn

import pytest

from data_tools.annotated_image import Format, ReadOptions
from data_tools.conversion_arguments import choose_format, parse_arguments, write_options
from data_tools.image_groups import NameGroups
from data_tools.selection import Selection
from data_tools.splits import Splits
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError

GIVEN = ["--format=voc", "--images=photos", "--annotations=xml", "--output=out/a.record", "--num_workers=3"]


def options(*flags: str) -> WriteOptions:
    arguments = parse_arguments([*GIVEN, *flags])
    return write_options(arguments, "voc", ReadOptions(arguments.images, arguments.annotations, arguments.split_file))


def test_nothing_but_what_is_needed():
    assert options() == WriteOptions(
        num_workers=3,
        arguments={"format": "voc", "images": "photos", "annotations": "xml", "broken_boxes": "drop", "exif_boxes": "auto"},
        inputs=(Path("xml"),),
    )


def test_every_flag_arrives():
    found = options(
        "--classes=car, van",
        "--rename_classes=truck=car, bus = van",
        "--drop_images_without_objects",
        "--sample=0.25",
        "--seed=7",
        "--split=train=0.9,val=0.1",
        "--group_by=^(.*)_",
        "--shard_megabytes=50.5",
        "--label_map=labels.pbtxt",
        "--broken_boxes=clip",
        "--exif_boxes=stored",
        "--verify_images",
        "--no_manifest",
        "--resume",
        "--split_file=list.txt",
    )
    assert found == WriteOptions(
        shard_megabytes=50.5,
        label_map=Path("labels.pbtxt"),
        broken_boxes="clip",
        exif_boxes="stored",
        verify_images=True,
        selection=Selection(("car", "van"), (), {"truck": "car", "bus": "van"}, True, 0.25, 7),
        splits=Splits(("train", "val"), (0.9, 0.1), NameGroups("^(.*)_"), 7),
        writes_manifest=False,
        resumes=True,
        num_workers=3,
        arguments={
            "format": "voc",
            "images": "photos",
            "annotations": "xml",
            "split_file": "list.txt",
            "classes": ["car", "van"],
            "rename_classes": {"truck": "car", "bus": "van"},
            "drop_images_without_objects": True,
            "sample": 0.25,
            "seed": 7,
            "split": {"train": 0.9, "val": 0.1},
            "group_by": "^(.*)_",
            "shard_megabytes": 50.5,
            "label_map": "labels.pbtxt",
            "broken_boxes": "clip",
            "exif_boxes": "stored",
            "verify_images": True,
            "no_manifest": True,
        },
        inputs=(Path("xml"), Path("list.txt")),
    )
    assert options("--exclude_classes=car", "--sample=100", "--num_shards=4") == WriteOptions(
        num_shards=4,
        selection=Selection(excluded_classes=("car",), sample=100),
        num_workers=3,
        arguments={
            "format": "voc",
            "images": "photos",
            "annotations": "xml",
            "exclude_classes": ["car"],
            "sample": 100,
            "num_shards": 4,
            "broken_boxes": "drop",
            "exif_boxes": "auto",
        },
        inputs=(Path("xml"),),
    )


def test_the_manifest_is_told_what_was_recognised():
    arguments = parse_arguments(["--input=set", "--output=out/a.record", "--num_workers=3"])
    recorded = write_options(arguments, "coco", ReadOptions(Path("set/train2017"), Path("set/instances.json"))).arguments
    assert recorded == {
        "input": "set",
        "format": "coco",
        "images": "set/train2017",
        "annotations": "set/instances.json",
        "broken_boxes": "drop",
        "exif_boxes": "auto",
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=a"], "error: give --input DIR, or --images and --annotations"),
        (["--output=a", "--images=b"], "error: give --input DIR, or --images and --annotations"),
        (["--output=a/", "--input=b"], "argument --output: must be a file name prefix such as a/train.record, got the folder a/"),
        (["--output=a", "--images=b", "--format=voc"], "error: give --input DIR, or --images and --annotations"),
        (["--output=a", "--images=b", "--annotations=c"], "error: --images and --annotations need a --format"),
        (
            ["--output=a", "--input=b", "--images=c"],
            "error: --input finds images and annotations; give it alone, or --images and --annotations",
        ),
        ([*GIVEN, "--group_by=a"], "error: --group_by needs --split"),
        ([*GIVEN, "--group_by=(", "--split=a=1"], "argument --group_by: not a regular expression: "),
        ([*GIVEN, "--split=a=0.5"], "argument --split: shares are above 0 and add up to 1, got 0.5"),
        ([*GIVEN, "--split=a"], "argument --split: must be NAME=SHARE,NAME=SHARE such as "),
        ([*GIVEN, "--sample=0"], "argument --sample: must be a whole number from 1 or a share between 0 and 1, got '0'"),
        ([*GIVEN, "--sample=1.5"], "argument --sample: must be a whole number from 1 or a share between 0 and 1, got '1.5'"),
        ([*GIVEN, "--sample=half"], "argument --sample: must be a whole number from 1 or a share between 0 and 1, got 'half'"),
        ([*GIVEN, "--shard_megabytes=0"], "argument --shard_megabytes: must be a number above 0, got '0'"),
        ([*GIVEN, "--shard_megabytes=nan"], "argument --shard_megabytes: must be a number above 0, got 'nan'"),
        ([*GIVEN, "--shard_megabytes=9", "--num_shards=2"], "argument --num_shards: not allowed with argument --shard_megabytes"),
        ([*GIVEN, "--classes=a", "--exclude_classes=b"], "argument --exclude_classes: not allowed with argument --classes"),
        ([*GIVEN, "--classes=a,,b"], "argument --classes: must be names with commas between them, got 'a,,b'"),
        ([*GIVEN, "--rename_classes=a"], "argument --rename_classes: must be OLD=NEW,OLD=NEW with every OLD once, got 'a'"),
        ([*GIVEN, "--rename_classes=a=b,a=c"], "argument --rename_classes: must be OLD=NEW,OLD=NEW with every OLD once, got 'a=b,a=c'"),
        ([*GIVEN, "--seed=-1"], "argument --seed: must be a whole number from 0, got '-1'"),
    ],
)
def test_wrong_flags(capsys, flags, message):
    with pytest.raises(SystemExit) as raised:
        parse_arguments(flags)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def read(options: ReadOptions) -> NoReturn:
    raise AssertionError("choosing a format reads nothing")


@pytest.fixture
def choose(monkeypatch, tmp_path):
    """Which of three made-up formats is chosen for a folder that the first `num_fit` of them recognise."""

    def call(num_fit: int, *flags: str) -> tuple[str, ReadOptions]:
        found = ReadOptions(tmp_path / "images", tmp_path / "labels")
        names = ["one", "three", "two"]
        formats = {
            name: Format(read, functools.partial(lambda fits, folder: found if fits else None, place < num_fit))
            for place, name in enumerate(names)
        }
        for module in ("conversion_arguments", "recognition"):
            monkeypatch.setattr(f"data_tools.{module}.FORMATS", formats)
        return choose_format(parse_arguments([f"--input={tmp_path}", "--output=a", *flags]))

    return call


def test_a_folder_that_one_format_recognises(choose, tmp_path, capsys):
    assert choose(1) == ("one", ReadOptions(tmp_path / "images", tmp_path / "labels"))
    assert capsys.readouterr().err == f"recognised one: images in {tmp_path / 'images'}, annotations in {tmp_path / 'labels'}\n"


def test_a_named_format_finds_its_parts(choose, tmp_path, capsys):
    name, options = choose(3, "--format=two", "--include_masks", "--split_file=list.txt", "--hierarchy=tree.json")
    assert name == "two"
    assert options == ReadOptions(
        tmp_path / "images", tmp_path / "labels", Path("list.txt"), include_masks=True, hierarchy=Path("tree.json")
    )
    assert capsys.readouterr().err == ""


def test_folders_that_none_or_several_formats_recognise(choose, tmp_path):
    for num_fit, flags, message in (
        (0, [], "is not laid out as any of one, three, two; name the parts with --format, --images and --annotations"),
        (1, ["--format=two"], "is not laid out as two; name the parts with --format, --images and --annotations"),
        (2, [], f"can be read in 2 ways: one ({tmp_path / 'labels'}); three ({tmp_path / 'labels'}); choose one with --format"),
    ):
        with pytest.raises(InputError) as raised:
            choose(num_fit, *flags)
        assert str(raised.value) == f"--input {tmp_path} {message}"


def test_images_that_are_no_folder(monkeypatch):
    """Of existing records."""
    formats = {"records": Format(read, lambda folder: None, has_image_folder=False)}
    monkeypatch.setattr("data_tools.conversion_arguments.FORMATS", formats)
    flags = ["--format=records", "--images=a.record-*", "--annotations=a.pbtxt", "--output=b"]
    assert choose_format(parse_arguments(flags)) == ("records", ReadOptions(Path("a.record-*"), Path("a.pbtxt")))


def test_no_folder(tmp_path):
    for flag, message in (("--input=none", "--input none is not a folder"), ("--images=none", "--images none is not a folder")):
        flags = [flag, "--output=a"] + (["--annotations=b", "--format=voc"] if "images" in flag else [])
        with pytest.raises(InputError, match=message):
            choose_format(parse_arguments(flags))
