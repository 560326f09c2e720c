from __future__ import annotations

import functools
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.create_tf_record import main
from object_detection_ext.command_line import run
from object_detection_ext.data.label_map import load_label_map

ROOT = Path(__file__).resolve().parents[2]


def shards(output: Path) -> list[Path]:
    return sorted(output.parent.glob(f"{output.name}-*-of-*"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "a.record"


@pytest.fixture
def fails(capsys):
    """Runs the command; returns its one line."""

    def call(flags: list[str]) -> str:
        assert run(functools.partial(main, flags)) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        return line.removeprefix("error: ")

    return call


def test_voc_end_to_end(voc_set, output, read_examples, capsys):
    voc_set.add("a", ("dog", 0, 0, 32, 24), ("cat", 32, 24, 64, 48))
    voc_set.add("b")
    broken = voc_set.add("c", ("dog", 5, 5, 5, 5), ("dog", 0, 0, 64, 48), suffix=".png")
    assert main([*voc_set.flags(output), "--num_shards=2"]) == 0

    assert [path.name for path in sorted(output.parent.iterdir())] == [
        "a.record-00000-of-00002",
        "a.record-00001-of-00002",
        "a_label_map.pbtxt",
        "a_manifest.json",
    ]
    label_map = load_label_map(output.parent / "a_label_map.pbtxt")
    assert [(item.id, item.name) for item in label_map.items] == [(1, "cat"), (2, "dog")]
    first, third, second = read_examples(shards(output))  # image i goes to shard i modulo 2
    assert [example["image/source_id"] for example in (first, second, third)] == [["a.jpg"], ["b.jpg"], ["c.png"]]
    assert [example["image/format"] for example in (first, second, third)] == [["jpeg"], ["jpeg"], ["png"]]
    assert first["image/object/class/label"] == [2, 1]
    assert (first["image/object/view"], first["image/object/truncated"]) == (["Left", "Left"], [1, 1])
    assert second["image/object/class/label"] == []
    assert third["image/object/bbox/xmax"] == [1.0]

    printed = capsys.readouterr()
    assert printed.err.splitlines() == [f"{broken}:4: object 1 (dog): box is empty (xmin 5, ymin 5, xmax 5, ymax 5; image 64x48): left out"]
    assert printed.out.splitlines()[0].startswith("3 images, 1 of them without objects, in ")
    assert printed.out.splitlines()[1:] == [
        "3 objects: dog 2, cat 1",
        "1 broken boxes",
        str(output.with_name("a.record-00000-of-00002")),
        str(output.with_name("a.record-00001-of-00002")),
        str(output.with_name("a_label_map.pbtxt")),
        str(output.with_name("a_manifest.json")),
    ]


def test_coco_keeps_ids_negatives_and_crowds(coco_set, output, read_examples):
    assert main(coco_set.flags(output)) == 0
    label_map = load_label_map(output.parent / "a_label_map.pbtxt")
    assert [(item.id, item.name, item.display_name) for item in label_map.items] == [
        (1, "person", "person"),
        (90, "toothbrush", "toothbrush"),
    ]
    first, second = read_examples(shards(output))
    assert first["image/object/class/label"] == [90, 1]
    assert first["image/object/is_crowd"] == [0, 1]
    assert first["image/object/area"] == [300.5, 3072]
    assert second["image/object/class/label"] == []


def test_a_label_map_that_is_given_decides(coco_set, output, read_examples, tmp_path):
    given = tmp_path / "labels.pbtxt"
    given.write_text("item { id: 5 name: '/m/0k4j' display_name: 'toothbrush' } item { id: 2 name: 'person' }")
    coco_set.content["categories"].append({"id": 0, "name": "background things"})
    coco_set.content["categories"].append({"id": 91, "name": "a class without objects"})
    coco_set.write()
    assert main([*coco_set.flags(output), f"--label_map={given}"]) == 0
    assert sorted(path.name for path in output.parent.iterdir()) == ["a.record-00000-of-00001", "a_manifest.json"]
    assert read_examples(shards(output))[0]["image/object/class/label"] == [5, 2]


def test_records_do_not_depend_on_the_workers(voc_set, output, capsys):
    for index in range(150):
        voc_set.add(f"{index:03d}", (f"class {index % 7}", 0, 0, 1 + index % 50, 40), ("broken", 9, 9, index % 3, 10))
    contents, reports = [], []
    for num_workers in (1, 2, 3):
        assert main([*voc_set.flags(output), "--num_shards=3", f"--num_workers={num_workers}"]) == 0
        contents.append({path.name: path.read_bytes() for path in output.parent.iterdir()})
        printed = capsys.readouterr()
        reports.append((printed.err, printed.out.splitlines()[1:]))
    assert len(contents[0]) == 5
    assert contents[0] == contents[1] == contents[2]
    assert reports[0] == reports[1] == reports[2]
    assert "... and 100 more like this" in reports[0][0]


def test_splits_classes_and_sizes_together(voc_set, output, read_examples, capsys, write_image):
    """Twenty images: 1 to 10 with a car, 6 to 15 with a truck, 16 to 20 with a cat, all in scenes of two by name; no cat is wanted."""
    for number in range(1, 21):
        kinds = ["car"] * (number <= 10) + ["truck"] * (6 <= number <= 15) + ["cat"] * (number > 15)
        path = voc_set.add(f"scene{(number + 1) // 2}_{number}", *[(kind, 0, 0, 9, 9) for kind in kinds])
        write_image(voc_set.images / f"{path.stem}.jpg", color=3001 * number)  # no two alike
    flags = ["--rename_classes=truck=vehicle,car=vehicle", "--classes=vehicle", "--split=train=0.6,val=0.4", "--group_by=scene[0-9]+"]
    assert main([*voc_set.flags(output), *flags, "--shard_megabytes=0.002"]) == 0
    train = read_examples(shards(output.with_name("a_train.record")))
    val = read_examples(shards(output.with_name("a_val.record")))
    found = [[int(example["image/source_id"][0].split("_")[1].split(".")[0]) for example in examples] for examples in (train, val)]
    assert sorted(found[0] + found[1]) == list(range(1, 21))
    for numbers in found:
        assert {(number + 1) // 2 for number in numbers} == {scene for scene in range(1, 11) if 2 * scene in numbers}
    assert [len(numbers) for numbers in found] == [12, 8]
    assert [sum(number > 15 for number in numbers) in (2, 3) for numbers in found] == [True, True]  # negatives, as no cat is left
    assert [text for example in train + val for text in example["image/object/class/text"]] == ["vehicle"] * 20
    assert [label for example in train + val for label in example["image/object/class/label"]] == [1] * 20
    files = shards(output.with_name("a_train.record"))
    sizes = [path.stat().st_size for path in files]
    assert len(sizes) > 2
    assert max(sizes) - min(sizes) < max(sizes) / len(train) * len(sizes)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].startswith("20 images, 5 of them without objects, in ")
    assert printed.err == ""


def test_images_without_objects_can_be_left_out(voc_set, output, read_examples, capsys):
    """Also those whose objects are all of other classes, and those whose boxes are all broken."""
    voc_set.add("a", ("dog", 0, 0, 9, 9))
    voc_set.add("b")
    voc_set.add("c", ("cat", 0, 0, 9, 9))
    voc_set.add("d", ("dog", 5, 5, 5, 9))
    voc_set.add("e", ("cat", 0, 0, 9, 9), ("dog", 0, 0, 9, 9))
    assert main([*voc_set.flags(output), "--exclude_classes=cat", "--drop_images_without_objects"]) == 0
    assert [example["image/source_id"] for example in read_examples(shards(output))] == [["a.jpg"], ["e.jpg"]]
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("2 images, 0 of them without objects, in ")
    assert others[:3] == [
        "2 objects: dog 2",
        "1 broken boxes",
        "1 images were left out, as all of their boxes are broken",
    ]


def test_a_sample_has_the_label_map_of_all(voc_set, output, read_examples):
    for number in range(10):
        voc_set.add(str(number), (f"class {number}", 0, 0, 9, 9))
    assert main([*voc_set.flags(output), "--sample=3", "--seed=2"]) == 0
    labels = [example["image/object/class/label"][0] for example in read_examples(shards(output))]
    assert len(labels) == 3
    assert [f"class {label - 1}" for label in labels] == [
        example["image/object/class/text"][0] for example in read_examples(shards(output))
    ]
    assert len(load_label_map(output.parent / "a_label_map.pbtxt").items) == 10


def test_auto(voc_set, output, capsys):
    voc_set.add("a", ("dog", 0, 0, 9, 9))
    assert main([f"--input={voc_set.images.parent}", f"--output={output}"]) == 0
    assert capsys.readouterr().err == f"recognised voc: images in {voc_set.images}, annotations in {voc_set.annotations}\n"


def test_bccd(test_data, output, read_examples, capsys):
    root = test_data / "bccd" / "BCCD"
    flags = ["--format=voc", f"--images={root / 'JPEGImages'}", f"--annotations={root / 'Annotations'}", f"--output={output}"]
    assert main([*flags, f"--split_file={root / 'ImageSets' / 'Main' / 'trainval.txt'}"]) == 0
    printed = capsys.readouterr()
    assert [line.rsplit("/", 1)[1] for line in printed.err.splitlines()] == [
        "BloodImage_00338.xml:158: object 13 (RBC): box is empty (xmin 504, ymin 337, xmax 504, ymax 337; image 640x480): left out",
        "BloodImage_00343.xml:50: object 4 (RBC): box is empty (xmin 181, ymin 329, xmax 181, ymax 329; image 640x480): left out",
    ]
    assert printed.out.startswith("292 images, 0 of them without objects, in ")
    examples = read_examples(shards(output))
    assert len({example["image/source_id"][0] for example in examples}) == 292
    assert sum(len(example["image/object/class/label"]) for example in examples) == 3941


def test_shards_of_an_earlier_run_are_pointed_out(voc_set, output, capsys):
    voc_set.add("a", ("cat", 0, 0, 9, 9))
    voc_set.add("b")
    assert main([*voc_set.flags(output), "--num_shards=2"]) == 0
    assert main(voc_set.flags(output)) == 0
    earlier = output.with_name("a.record-00000-of-00002")
    assert f"2 shards of an earlier run, such as {earlier}, stand beside the new ones: mind your glob patterns" in capsys.readouterr().err


def test_wrong_input(voc_set, output, fails, tmp_path):
    path = voc_set.add("a", ("cat", 0, 0, 9, 9))
    flags = voc_set.flags(output)
    assert fails([*flags, "--num_shards=2"]) == "--num_shards must be at most the number of images, 1, got 2"
    assert fails([*flags, f"--images={tmp_path / 'none'}"]) == f"--images {tmp_path / 'none'} is not a folder"
    assert fails([*flags, "--label_map=none.pbtxt"]) == "No such file or directory: none.pbtxt"
    assert fails([*flags, "--split_file=none.txt"]) == "No such file or directory: none.txt"
    assert fails([*flags, f"--output={tmp_path}"]).startswith(f"--output {tmp_path} is a folder; give a file name prefix such as ")
    labels = tmp_path / "labels.pbtxt"
    labels.write_text("item { id: 1 name: 'cats' }")
    assert fails([*flags, f"--label_map={labels}"]) == (
        f'{path}:4: object 1 (cat): class "cat" is not in the label map (did you mean "cats"?): {labels}'
    )
    voc_set.add("b", ("cat", 5, 5, 5, 9))
    assert "object 1 (cat): box is empty" in fails([*flags, "--broken_boxes=error"])
    voc_set.write("b", "<annotation><filename>a.jpg</filename></annotation>")
    assert fails(flags) == f"{voc_set.annotations / 'b.xml'}: image 'a.jpg' is annotated twice, first by {path}"
    voc_set.add("b")
    (voc_set.images / "b.jpg").write_bytes((voc_set.images / "b.jpg").read_bytes()[:300])
    assert fails(flags).startswith(f"{voc_set.images / 'b.jpg'}: broken JPEG: ")
    assert list(output.parent.iterdir()) == []


def test_a_choice_that_leaves_nothing(voc_set, output, fails):
    voc_set.add("a", ("cat", 0, 0, 9, 9))
    voc_set.add("b", ("dog", 0, 0, 9, 9))
    (voc_set.images / "b.jpg").write_bytes((voc_set.images / "a.jpg").read_bytes())
    flags = voc_set.flags(output)
    assert fails([*flags, "--exclude_classes=cat,dog"]) == (
        "the annotations hold no object, so that no label map can be made from them; give a --label_map"
    )
    labels = voc_set.images.parent / "labels.pbtxt"
    labels.write_text("item { id: 1 name: 'cat' }")
    assert fails([*flags, "--exclude_classes=cat,dog", "--drop_images_without_objects", f"--label_map={labels}"]) == (
        "none of the 2 images shows an object of the chosen classes"
    )
    assert fails([*flags, "--sample=3"]) == "--sample 3: there are only 2 images to draw from"
    assert fails([*flags, "--split=a=0.4,b=0.3,c=0.3"]) == "--split: 2 images form 1 group, which cannot fill the splits a, b, c"
    assert fails([*flags, "--classes=cta"]) == '--classes: class "cta" is not in the data set (did you mean "cat"?)'


def test_no_label_map_can_be_made(voc_set, coco_set, output, fails):
    voc_set.add("a")
    assert fails(voc_set.flags(output)) == "the annotations hold no object, so that no label map can be made from them; give a --label_map"
    coco_set.content["categories"][0]["id"] = 0
    coco_set.content["annotations"][1]["category_id"] = 0
    coco_set.write()
    assert fails(coco_set.flags(output)) == "category 'person' has id 0, but label ids start at 1 (0 is background); give a --label_map"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format=yolov9"], "argument --format: invalid choice: 'yolov9' (choose from "),
        (["--num_shards=0"], "argument --num_shards: must be a whole number from 1, got '0'"),
        (["--num_workers=two"], "argument --num_workers: must be a whole number from 1, got 'two'"),
        (["--broken_boxes=keep"], "argument --broken_boxes: invalid choice: 'keep'"),
        (["--shards=1"], "unrecognized arguments: --shards=1"),
    ],
)
def test_wrong_flags(voc_set, output, capsys, flags, message):
    with pytest.raises(SystemExit) as raised:
        main([*voc_set.flags(output), *flags])
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_tensorflow_is_never_imported():
    program = (
        "import sys\nfrom data_tools import create_tf_record, generate_shapes\n"
        "print({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'tf_keras', 'keras'})"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize("flags", [["data_tools.create_tf_record", "--help"], ["data_tools.generate_shapes", "--num_images=0"]])
def test_help_and_wrong_flags_are_quick(flags):
    """In processor time and the best of three: a busy machine must not fail the test."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", *flags], cwd=ROOT, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5
