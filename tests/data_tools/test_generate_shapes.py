from __future__ import annotations

import functools
from pathlib import Path

import pytest

from data_tools import create_tf_record
from data_tools.generate_shapes import main
from data_tools.shapes import ShapesGenerator
from object_detection_ext.command_line import run


def normalized(size: int, index: int) -> list[tuple[str, list[float]]]:
    image = ShapesGenerator(seed=4, image_size=size)(index)
    return [(item.class_text, [edge / size for edge in item.box]) for item in image.objects]


@pytest.mark.parametrize("format", ["voc", "coco"])
def test_through_the_converter(format, tmp_path, read_examples):
    folder, output = tmp_path / "shapes", tmp_path / "val.record"
    flags = ["--num_images=12", "--seed=4", "--split=val", "--image_size=96", f"--format={format}"]
    assert main([f"--output_dir={folder}", *flags]) == 0
    places = {
        "voc": (folder / "JPEGImages", folder / "Annotations", [f"--split_file={folder / 'ImageSets' / 'Main' / 'val.txt'}"]),
        "coco": (folder / "images", folder / "annotations" / "instances_val.json", []),
    }
    images, annotations, more = places[format]
    flags = [f"--format={format}", f"--images={images}", f"--annotations={annotations}", f"--output={output}", "--broken_boxes=error"]
    assert create_tf_record.main([*flags, *more]) == 0

    examples = read_examples([Path(f"{output}-00000-of-00001")])
    assert [example["image/filename"][0] for example in examples] == [f"shapes_4_{index:05d}.jpg" for index in range(12)]
    for index, example in enumerate(examples):
        boxes = zip(*(example[f"image/object/bbox/{edge}"] for edge in ("ymin", "xmin", "ymax", "xmax")), strict=True)
        found = list(zip(example["image/object/class/text"], map(list, boxes), strict=True))
        expected = normalized(96, index)
        assert [text for text, _ in found] == [text for text, _ in expected]
        assert [box for _, box in found] == [pytest.approx(box) for _, box in expected]
        assert (example["image/height"], example["image/width"], example["image/format"]) == ([96], [96], ["jpeg"])


def test_files_do_not_depend_on_the_workers_and_splits_share_a_folder(tmp_path):
    for name, num_workers in (("one", 1), ("two", 2)):
        for split, seed in (("train", 1), ("val", 2)):
            flags = [f"--output_dir={tmp_path / name}", "--num_images=40", f"--seed={seed}", f"--split={split}", "--image_size=64"]
            assert main([*flags, f"--num_workers={num_workers}"]) == 0
    contents = [
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    ]
    assert len(contents[0]) == 2 * (40 + 40 + 1)
    assert contents[0] == contents[1]


def test_wrong_size(tmp_path, capsys):
    flags = [f"--output_dir={tmp_path}", "--num_images=1", "--seed=1", "--image_size=8"]
    assert run(functools.partial(main, flags)) == 1
    assert capsys.readouterr().err == "error: --image_size must be at least 32 pixels, got 8\n"
