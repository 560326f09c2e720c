"""Our scripts against the original API's, feature by feature (tests/golden/make_api_scripts_golden.py), and what differs on purpose."""

from __future__ import annotations

import copy
import functools
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools import create_coco_tf_record, create_kitti_tf_record, create_oid_tf_record, create_pascal_tf_record, create_pet_tf_record
from data_tools.annotated_image import ReadOptions
from data_tools.formats.open_images import read_open_images
from object_detection_ext.command_line import run

ROOT = Path(__file__).resolve().parents[2]

Records = list[dict[str, list[Any]]]
_SHA256 = "image/key/sha256"


@pytest.fixture(scope="module")
def original(golden) -> Mapping[str, Any]:
    """What the original wrote: case -> file -> records."""
    return json.loads(gzip.decompress(golden("api_scripts.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def inputs(golden, tmp_path_factory) -> Path:
    """The folder that the original read."""
    folder = tmp_path_factory.mktemp("inputs")
    with zipfile.ZipFile(golden("api_scripts_input.zip")) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def convert(tmp_path, read_examples) -> Callable[..., dict[str, Records]]:
    """Runs a script with flags, OUT in them standing for the output folder; the records by file, without empty files."""

    def call(main: Callable[[Sequence[str]], int], *flags: str) -> dict[str, Records]:
        out = tmp_path / "out"
        assert main([*(flag.replace("OUT", str(out)) for flag in flags), "--num_workers=1"]) == 0
        files = [path for path in sorted(out.iterdir()) if path.suffix not in (".json", ".pbtxt") and path.stat().st_size]
        return {path.name: [digest(example) for example in read_examples([path])] for path in files}

    return call


def digest(example: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Digests instead of images and of masks, as in the golden file."""
    example["image/encoded"] = [hashlib.sha256(value).hexdigest() for value in example["image/encoded"]]
    if "image/object/mask" in example:
        masks = [np.asarray(Image.open(io.BytesIO(png))) for png in example["image/object/mask"]]
        example["image/object/mask"] = [f"{hashlib.sha256(mask.tobytes()).hexdigest()} {mask.shape[0]}x{mask.shape[1]}" for mask in masks]
    return example


def by_image(records: Mapping[str, Records], *, key: str = "image/source_id") -> dict[tuple[str, str], dict[str, list[Any]]]:
    """(set, image) -> features; a set's files have one name but for the numbers of the shards."""
    named = [((re.sub(r"-\d+-of-\d+$", "", file), Path(item[key][0]).name), item) for file, items in records.items() for item in items]
    assert len(dict(named)) == len(named)
    return dict(named)


def assert_equal(
    ours: Mapping[str, Records], theirs: Mapping[str, Records], *, more: Sequence[str] = (), ignore: Sequence[str] = ()
) -> None:
    """Every value of every feature, floats to the last bit of float32; `more` are the keys that only we write."""
    found, expected = by_image(ours), by_image(theirs)
    assert list(found) == list(expected) or set(found) == set(expected)
    for image, features in expected.items():
        assert set(found[image]) - set(features) == set(more), image
        for key, values in features.items():
            if key not in ignore:
                assert found[image][key] == values, (image, key)


def files_without_count(records: Mapping[str, Records]) -> list[str]:
    return sorted({re.sub(r"-\d+-of-", "-?-of-", name) for name in records})


def pascal_flags(inputs: Path, folder: str) -> list[str]:
    return [f"--data_dir={inputs / folder}", f"--label_map_path={inputs / folder / 'label_map.pbtxt'}", "--output_path=OUT/a.record"]


def test_pascal_bccd(inputs, original, convert, test_data, tmp_path, capsys):
    """The original keeps two empty boxes, [504, 337, 504, 337] and [181, 329, 181, 329], which training then has to drop."""
    voc = tmp_path / "bccd" / "VOC2007"
    (voc / "ImageSets").mkdir(parents=True)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (voc / name).symlink_to((test_data / "bccd" / "BCCD" / name).resolve())
    (tmp_path / "labels.pbtxt").write_text("".join(f"item {{ id: {i} name: '{n}' }}" for i, n in enumerate(("Platelets", "RBC", "WBC"), 1)))
    flags = [f"--data_dir={voc.parent}", f"--label_map_path={tmp_path / 'labels.pbtxt'}", "--output_path=OUT/a.record"]
    ours, theirs = convert(create_pascal_tf_record.main, *flags, "--set=trainval"), copy.deepcopy(original["pascal_bccd"])
    assert [item["image/source_id"] for item in ours["a.record"]] == [item["image/source_id"] for item in theirs["a.record"]]
    assert len(ours["a.record"]) == 292
    num_empty = 0
    for item in theirs["a.record"]:
        edges = [item[f"image/object/bbox/{name}"] for name in ("xmin", "xmax", "ymin", "ymax")]
        empty = [i for i, (x_min, x_max, y_min, y_max) in enumerate(zip(*edges, strict=True)) if x_min >= x_max or y_min >= y_max]
        num_empty += len(empty)
        for key in item:
            if key.startswith("image/object/"):
                item[key] = [value for i, value in enumerate(item[key]) if i not in empty]
    assert num_empty == 2
    assert_equal(ours, theirs)
    assert "2 broken boxes" in capsys.readouterr().out


def test_pascal_of_two_years(inputs, original, convert):
    """Of the first object's image the original also keeps an empty box and one that leaves the image; both XML files hold such."""
    ours = convert(create_pascal_tf_record.main, *pascal_flags(inputs, "voc"), "--year=merged")
    theirs = {"a.record": [first_objects(item, 2) for item in original["pascal_merged"]["a.record"]]}
    assert [item["image/source_id"] for item in ours["a.record"]] == [["000005.jpg"], ["000007.jpg"], ["2008_000002.jpg"]]
    assert_equal(ours, theirs)


def test_pascal_without_difficult_objects(inputs, original, convert):
    ours = convert(create_pascal_tf_record.main, *pascal_flags(inputs, "voc"), "--ignore_difficult_instances")
    theirs = {"a.record": [first_objects(item, 1) for item in original["pascal_not_difficult"]["a.record"]]}
    assert_equal(ours, theirs)


def first_objects(item: dict[str, list[Any]], count: int) -> dict[str, list[Any]]:
    return {key: values[:count] if key.startswith("image/object/") else values for key, values in item.items()}


def pet_flags(inputs: Path) -> list[str]:
    return [
        f"--data_dir={inputs / 'pets'}",
        f"--label_map_path={inputs / 'pets' / 'label_map.pbtxt'}",
        "--output_dir=OUT",
        "--num_shards=2",
    ]


def test_pet_faces(inputs, original, convert, capsys):
    """The same images in the same set, although shards are dealt out otherwise: the original counts the images that it leaves out."""
    ours = convert(create_pet_tf_record.main, *pet_flags(inputs))
    assert_equal(ours, original["pet_faces"])
    assert files_without_count(ours) == ["pet_faces_train.record-?-of-00002", "pet_faces_val.record-?-of-00002"]
    assert "1 of 4 images have no XML file: left out" in capsys.readouterr().err


def test_pet_masks(inputs, original, convert):
    ours = convert(create_pet_tf_record.main, *pet_flags(inputs), "--faces_only=false")
    assert_equal(ours, original["pet_masks"])
    assert files_without_count(ours)[0] == "pets_fullbody_with_masks_train.record-?-of-00002"


def kitti_flags(inputs: Path) -> list[str]:
    labels = inputs / "kitti" / "label_map.pbtxt"
    return [f"--data_dir={inputs / 'kitti'}", f"--label_map_path={labels}", "--validation_set_size=1", "--output_path=OUT/a"]


@pytest.mark.parametrize(("case", "more"), [("kitti", []), ("kitti_classes", ["--classes_to_use=Car"])])
def test_kitti(inputs, original, convert, case, more):
    """The original writes the path on its machine as file name and source id, we the name of the file."""
    ours = convert(create_kitti_tf_record.main, *kitti_flags(inputs), *more)
    assert_equal(ours, original[case], ignore=["image/filename", "image/source_id"])
    assert {file: [item["image/source_id"] for item in items] for file, items in ours.items()} == {
        "a_train.tfrecord": [["000001.png"], ["000002.png"]],
        "a_val.tfrecord": [["000000.png"]],
    }


def test_kitti_however_it_was_unpacked(inputs, tmp_path, convert):
    for source, target in (
        ("data_object_image_2/training/image_2", "training/image_2"),
        ("training/label_2", "data_object_label_2/training/label_2"),
    ):
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / target).symlink_to(inputs / "kitti" / source)
    ours = convert(create_kitti_tf_record.main, *kitti_flags(inputs), f"--data_dir={tmp_path}")
    assert {file: len(items) for file, items in ours.items()} == {"a_train.tfrecord": 2, "a_val.tfrecord": 1}


OID_MORE = ("image/height", "image/width", "image/format", _SHA256)


def oid_flags(inputs: Path) -> list[str]:
    files = {"input_box_annotations_csv": "boxes.csv", "input_images_directory": "images", "input_label_map": "label_map.pbtxt"}
    return [*(f"--{name}={inputs / 'oid' / file}" for name, file in files.items()), "--output_tf_record_path_prefix=OUT/a.record"]


def test_oid(inputs, original, convert):
    ours = convert(create_oid_tf_record.main, *oid_flags(inputs), "--num_shards=3")
    assert_equal(ours, original["oid"], more=OID_MORE)
    assert files_without_count(ours) == ["a.record-?-of-00003"]


def test_oid_image_labels(inputs, original, convert):
    labels = f"--input_image_label_annotations_csv={inputs / 'oid' / 'labels.csv'}"
    ours = convert(create_oid_tf_record.main, *oid_flags(inputs), labels, "--num_shards=3")
    assert_equal(ours, original["oid_labels"], more=(*OID_MORE, "image/class/confidence"))
    confidences = {image: item["image/class/confidence"] for (_, image), item in by_image(ours).items()}
    assert confidences == {"00a1": [], "0f": [1.0, 0.0], "10": [], "ff07": [1.0]}


def test_oid_expansion_to_parents_and_children(inputs, original):
    """Against the rows of oid_hierarchical_labels_expansion.py, whose order hangs on Python's sets."""
    folder = inputs / "oid"
    options = ReadOptions(folder / "images", folder / "boxes.csv", image_labels=folder / "labels.csv", hierarchy=folder / "tree.json")
    source = read_open_images(options)
    boxes, labels = [], []
    for entry in source.entries:
        image = source.load(entry)
        boxes += [(image.source_id, item.class_text, item.box.x_min, item.box.y_max, item.is_group_of) for item in image.objects]
        pairs = zip(image.image_labels, image.image_label_confidences, strict=True)
        labels += [(image.source_id, text, confidence) for text, confidence in pairs]
    rows = [row.split(",") for row in original["expanded"]["boxes"]]
    assert sorted(boxes) == sorted((row[0], row[2], float(row[4]), float(row[7]), row[10] == "1") for row in rows)
    rows = [row.split(",") for row in original["expanded"]["labels"]]
    assert sorted(labels) == sorted((row[0], row[2], float(row[3])) for row in rows)


COCO_MORE = ("image/object/class/label",)


def coco_flags(folder: Path, inputs: Path) -> list[str]:
    """Train and val of one folder; the test set is the images of the small set, without annotations."""
    flags = ["--output_dir=OUT", f"--test_image_dir={inputs / 'coco' / 'images'}"]
    flags += [f"--testdev_annotations_file={inputs / 'coco' / 'image_info.json'}"]
    for part in ("train", "val"):
        images, annotations = folder / "images", folder / "instances.json"
        if not annotations.exists():
            images, annotations = folder / "images" / f"{part}2017", folder / "annotations" / f"instances_{part}2017.json"
        flags += [f"--{part}_image_dir={images}", f"--{part}_annotations_file={annotations}"]
    return flags


@pytest.mark.parametrize("masks", [False, True])
def test_coco_tinycoco(inputs, original, convert, test_data, masks):
    ours = convert(create_coco_tf_record.main, *coco_flags(test_data / "tinycoco", inputs), f"--include_masks={masks}")
    left_out = set() if masks else {"image/object/mask"}
    theirs = {
        file: [{key: values for key, values in item.items() if key not in left_out} for item in items]
        for file, items in original["coco_tinycoco_masks"].items()
    }
    assert list(ours) == list(theirs)  # and so the same images in the same shards
    assert_equal(ours, theirs, more=COCO_MORE)


@pytest.mark.parametrize(
    ("case", "more"),
    [
        ("coco_small_masks_keypoints", ["--include_masks", "--{}_keypoint_annotations_file={}"]),
        ("coco_small_persons", ["--remove_non_person_annotations", "--remove_non_person_images"]),
        ("coco_small_person_images", ["--remove_non_person_images"]),
    ],
)
def test_coco_crowds_broken_boxes_keypoints_and_persons_only(inputs, original, convert, case, more):
    points = inputs / "coco" / "person_keypoints.json"
    flags = [flag.format(part, points) for flag in more for part in (("train", "val") if "{}" in flag else ("",))]
    ours = convert(create_coco_tf_record.main, *coco_flags(inputs / "coco", inputs), *flags)
    assert files_without_count(ours) == [
        "coco_testdev.record-?-of-00050",
        "coco_train.record-?-of-00100",
        "coco_val.record-?-of-00050",
    ]
    assert_equal(ours, original[case], more=COCO_MORE)


def test_coco_one_set_is_enough(inputs, convert):
    flags = [f"--val_image_dir={inputs / 'coco' / 'images'}", f"--val_annotations_file={inputs / 'coco' / 'instances.json'}"]
    assert files_without_count(convert(create_coco_tf_record.main, *flags, "--output_dir=OUT")) == ["coco_val.record-?-of-00050"]


@pytest.fixture
def fails(capsys):
    """Runs a script; returns its one line."""

    def call(main: Callable[[Sequence[str]], int], *flags: str, code: int) -> str:
        try:
            found = run(functools.partial(main, flags))
        except SystemExit as error:
            found = error.code
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert (found, printed.out) == (code, "")
        return line.removeprefix("error: ")

    return call


def test_flags_that_are_missing_or_make_no_sense(inputs, fails):
    pascal, pet, kitti = create_pascal_tf_record.main, create_pet_tf_record.main, create_kitti_tf_record.main
    assert fails(pascal, code=2) == "required: --data_dir, --output_path (--help lists the flags)"
    assert "--set" in fails(pascal, *pascal_flags(inputs, "voc"), "--set=validation", code=2)
    assert "--year" in fails(pascal, *pascal_flags(inputs, "voc"), "--year=VOC2010", code=2)
    assert fails(pascal, "--datadir=x", code=2).startswith("unknown flag --datadir; did you mean --data_dir?")
    assert fails(pet, *pet_flags(inputs), "--mask_type=numerical", code=2).startswith("--mask_type must be png, got 'numerical'")
    assert "num_shards" in fails(pet, *pet_flags(inputs), "--num_shards=0", code=2)
    assert fails(kitti, *kitti_flags(inputs), "--classes_to_use=DontCare,", code=2).startswith("--classes_to_use must name a class besides")
    assert fails(create_oid_tf_record.main, *oid_flags(inputs)[1:], code=2).startswith("required: --input_box_annotations_csv ")


def test_flags_of_coco_that_belong_together(inputs, fails):
    coco, flags = create_coco_tf_record.main, coco_flags(inputs / "coco", inputs)
    assert fails(coco, code=2).startswith("required: --train_image_dir and --train_annotations_file, or those of another set")
    assert fails(coco, *flags, "--train_image_dir=", code=2).startswith(
        "--train_image_dir and --train_annotations_file belong together, got --train_annotations_file only"
    )
    assert fails(coco, "--val_keypoint_annotations_file=a.json", code=2).startswith("--val_keypoint_annotations_file needs --val_image_dir")
    assert fails(coco, *flags, "--train_densepose_annotations_file=a", code=2).startswith(
        "--train_densepose_annotations_file: DensePose is not supported"
    )


def test_files_that_are_missing(inputs, fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pascal, kitti = create_pascal_tf_record.main, create_kitti_tf_record.main
    assert fails(pascal, "--data_dir=none", "--output_path=a", code=1) == "--data_dir none does not exist"
    assert fails(pascal, f"--data_dir={inputs / 'voc'}", "--output_path=a", code=1) == (
        f"--label_map_path data/pascal_label_map.pbtxt does not exist (the default, relative to the current folder {tmp_path})"
    )
    assert fails(pascal, *pascal_flags(inputs, "voc"), "--set=val", code=1) == (
        f"neither aeroplane_val.txt nor val.txt in {inputs / 'voc' / 'VOC2007' / 'ImageSets' / 'Main'}"
    )
    assert "has neither data_object_image_2/training/image_2 nor training/image_2" in fails(
        kitti, *kitti_flags(inputs), "--data_dir=.", code=1
    )
    oid = [*oid_flags(inputs), "--input_image_label_annotations_csv=none.csv"]
    assert fails(create_oid_tf_record.main, *oid, code=1) == "--input_image_label_annotations_csv none.csv does not exist"


def test_images_of_kitti_are_named_by_numbers(tmp_path, inputs, fails):
    for folder in ("training/image_2", "training/label_2"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "training/image_2/first.png").write_bytes(b"")
    (tmp_path / "training/label_2/first.txt").write_bytes(b"")
    line = fails(create_kitti_tf_record.main, *kitti_flags(inputs), f"--data_dir={tmp_path}", code=1)
    assert line == "the image 'first.png' is not named by a number, as KITTI's are, so that it belongs to neither set"


@pytest.mark.parametrize("name", ["coco", "pascal", "pet", "kitti", "oid"])
def test_help_comes_at_once_and_names_every_flag_of_the_original(name, golden):
    result = subprocess.run(
        [sys.executable, "-m", f"data_tools.create_{name}_tf_record", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(f"usage: create_{name}_tf_record.py [flags]")
    for flag in FLAGS[name]:
        assert re.search(rf"^  --(\[no\])?{flag}$", result.stdout, re.MULTILINE), flag


FLAGS = {
    "coco": (
        "include_masks",
        *(f"{part}_image_dir" for part in ("train", "val", "test")),
        *(f"{part}_annotations_file" for part in ("train", "val", "testdev")),
        *(f"{part}_{kind}_annotations_file" for part in ("train", "val") for kind in ("keypoint", "densepose")),
        "output_dir",
        "remove_non_person_annotations",
        "remove_non_person_images",
    ),
    "pascal": ("data_dir", "set", "annotations_dir", "year", "output_path", "label_map_path", "ignore_difficult_instances"),
    "pet": ("data_dir", "output_dir", "label_map_path", "faces_only", "mask_type", "num_shards"),
    "kitti": ("data_dir", "output_path", "classes_to_use", "label_map_path", "validation_set_size"),
    "oid": (
        "input_box_annotations_csv",
        "input_images_directory",
        "input_image_label_annotations_csv",
        "input_label_map",
        "output_tf_record_path_prefix",
        "num_shards",
    ),
}


def test_the_way_the_api_is_called(inputs, tmp_path, original, read_examples):
    """By path, from elsewhere, one dash, a value as the next word, absl's logging flags, worker processes."""
    flags = ["-data_dir", str(inputs / "voc"), "--label_map_path", str(inputs / "voc" / "label_map.pbtxt"), "--logtostderr"]
    command = [sys.executable, str(ROOT / "data_tools" / "create_pascal_tf_record.py"), *flags, "--noignore_difficult_instances"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, f"-output_path={tmp_path / 'a.record'}", "--num_workers=2"], cwd=tmp_path, env=environment, check=True)
    assert [item["image/source_id"] for item in read_examples([tmp_path / "a.record"])] == [["000005.jpg"], ["000007.jpg"]]
