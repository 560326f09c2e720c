"""Objects without a mask among objects with one, in every format that has both."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.create_tf_record import main


def _mixed_coco(folder: Path) -> list[str]:
    annotation = {"image_id": 1, "category_id": 1, "bbox": [16, 12, 32, 12], "segmentation": [[0, 0, 32, 0, 32, 24, 0, 24]]}
    annotations = [annotation | {"id": 1}, annotation | {"id": 2, "segmentation": []}]
    images = [{"id": 1, "file_name": "a.jpg", "height": 48, "width": 64}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "instances.json").write_text(json.dumps(content))
    return ["--format=coco", f"--images={folder}", f"--annotations={folder / 'instances.json'}"]


def _mixed_yolo(folder: Path) -> list[str]:
    (folder / "classes.txt").write_text("cat\n")
    (folder / "a.txt").write_text("0 0 0 0.5 0 0.5 0.5 0 0.5\n0 0.5 0.375 0.5 0.25\n")
    return ["--format=yolo", f"--images={folder}", f"--annotations={folder / 'classes.txt'}"]


def _mixed_labelme(folder: Path) -> list[str]:
    polygon = {"label": "cat", "shape_type": "polygon", "points": [[0, 0], [32, 0], [32, 24], [0, 24]]}
    rectangle = {"label": "cat", "shape_type": "rectangle", "points": [[16, 12], [48, 24]]}
    content = {"shapes": [polygon, rectangle], "imagePath": "a.jpg", "imageHeight": 48, "imageWidth": 64}
    (folder / "a.json").write_text(json.dumps(content))
    return ["--format=labelme", f"--images={folder}", f"--annotations={folder}"]


def _mixed_cvat(folder: Path) -> list[str]:
    shapes = '<polygon label="cat" points="0,0;32,0;32,24;0,24"/><box label="cat" xtl="16" ytl="12" xbr="48" ybr="24"/>'
    (folder / "a.xml").write_text(f'<annotations><image name="a.jpg" width="64" height="48">{shapes}</image></annotations>')
    return ["--format=cvat", f"--images={folder}", f"--annotations={folder / 'a.xml'}"]


@pytest.mark.parametrize("write_set", [_mixed_coco, _mixed_yolo, _mixed_labelme, _mixed_cvat])
def test_a_box_among_polygons_is_its_own_mask(write_set, write_image, tmp_path, read_examples, capsys):
    output = tmp_path / "out" / "a.record"
    write_image(tmp_path / "a.jpg")
    assert main([*write_set(tmp_path), "--include_masks", f"--output={output}"]) == 0
    assert "1 objects have no mask in the annotations: their filled boxes were written as masks\n" in capsys.readouterr().out
    (example,) = read_examples(sorted(output.parent.glob("a.record-*")))
    masks = [np.asarray(Image.open(io.BytesIO(png))) for png in example["image/object/mask"]]
    expected = np.zeros((2, 48, 64), np.uint8)
    expected[0, :24, :32] = expected[1, 12:24, 16:48] = 1
    np.testing.assert_array_equal(masks, expected)
    manifest = json.loads((output.parent / "a_manifest.json").read_text())
    assert manifest["splits"][0]["boxes_as_masks"] == 1
