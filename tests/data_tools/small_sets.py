"""A small valid data set of every annotation format, to be damaged by tests of untrusted input."""

from __future__ import annotations

import base64
import functools
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from data_tools.annotated_image import ReadOptions
from data_tools.create_tf_record import create_tf_record
from data_tools.formats.coco import read_coco
from data_tools.write_options import WriteOptions
from tests.data_tools.conftest import VOC_OBJECT, save_image, voc_xml


@dataclass(frozen=True)
class SmallSet:
    """A data set with two images of 64x48, `a.jpg` and `b.jpg`, two classes, and how it is read."""

    options: ReadOptions
    files: tuple[Path, ...]  # annotation files that a stranger may have written


def make_coco(folder: Path, *, include_masks: bool = False, include_keypoints: bool = False) -> SmallSet:
    """One instances file with boxes, a polygon, run lengths, keypoints."""
    images = _save_images(folder / "images")
    content = {
        "info": {"description": "small"},
        "images": [
            {"id": 7, "file_name": "a.jpg", "height": 48, "width": 64, "license": 1},
            {"id": 3, "file_name": "b.jpg", "height": 48, "width": 64},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 90,
                "bbox": [16.0, 12.0, 32.0, 12.0],
                "area": 300.5,
                "iscrowd": 0,
                "segmentation": [[16, 12, 48, 12, 48, 24.5]],
                "keypoints": [20, 13, 2, 0, 0, 0],
                "num_keypoints": 1,
            },
            {
                "id": 2,
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 64, 48],
                "area": 3072,
                "iscrowd": 1,
                "segmentation": {"size": [48, 64], "counts": [1000, 72, 2000]},
            },
            {
                "id": 4,
                "image_id": 3,
                "category_id": 1,
                "bbox": [1, 2, 3, 4],
                "area": 12,
                "iscrowd": 0,
                "segmentation": {"size": [48, 64], "counts": "b14\\1000ni2"},
            },
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush", "keypoints": ["head", "tail"]}],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return SmallSet(ReadOptions(images, path, include_masks=include_masks, include_keypoints=include_keypoints), (path,))


def make_voc(folder: Path) -> SmallSet:
    """XML files and a split file."""
    images, annotations = _save_images(folder / "JPEGImages"), folder / "Annotations"
    annotations.mkdir()
    objects = {"a": VOC_OBJECT.format("cat", 1, 2, 30, 40) + VOC_OBJECT.format("dog", 0, 0, 64, 48.0), "b": ""}
    for stem, text in objects.items():
        (annotations / f"{stem}.xml").write_text(voc_xml(f"{stem}.jpg", text))
    split = folder / "train.txt"
    split.write_text("a  1\nb -1\n")
    return SmallSet(ReadOptions(images, annotations, split), (annotations / "a.xml", annotations / "b.xml", split))


def make_kitti(folder: Path) -> SmallSet:
    """Label files; one image has none."""
    images, labels = _save_images(folder / "image_2"), folder / "label_2"
    labels.mkdir()
    path = labels / "a.txt"
    path.write_text(
        "Car 0.25 1 -1.57 10 20 50.5 40 1.5 1.6 4.0 -3.0 1.7 12.5 -1.6\n"
        "DontCare -1 -1 -10 1 2 30 40 -1 -1 -1 -1000 -1000 -1000 -10\n"
        "Cyclist 0.00 0 0.1 20 20 24 30 1.7 0.6 1.8 3.0 1.7 9.0 0.2\n"
    )
    return SmallSet(ReadOptions(images, labels), (path,))


def make_csv(folder: Path) -> SmallSet:
    """The layout with a header."""
    images = _save_images(folder / "images")
    rows = ("b.jpg,64,48,cat,1,2,30,40.5", "a.jpg,64,48,,,,,", "b.jpg,64,48,dog,5,6,7,8")
    path = _write_lines(folder / "boxes.csv", "filename,width,height,class,xmin,ymin,xmax,ymax", *rows)
    return SmallSet(ReadOptions(images, path), (path,))


def make_csv_automl(folder: Path) -> SmallSet:
    """The layout without one."""
    images = _save_images(folder / "images")
    path = _write_lines(
        folder / "boxes.csv", "TRAIN,gs://bucket/a.jpg,cat,0.1,0.2,,,0.5,0.6,,", "TEST,gs://bucket/b.jpg,dog,0,0,1,0,1,1,0,1"
    )
    return SmallSet(ReadOptions(images, path), (path,))


def make_open_images(folder: Path) -> SmallSet:
    """Boxes, image-level labels, names and a hierarchy."""
    images = _save_images(folder / "images")
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    boxes = ("a,xclick,/m/cat,1,0.1,0.3,0.2,0.6,0,1,-1,0,0", "b,xclick,/m/dog,1,0,1,0,1,0,0,1,0,0", "c,xclick,/m/dog,1,0,1,0,1,0,0,1,0,0")
    labels = ("ImageID,Source,LabelName,Confidence", "a,verification,/m/cat,1", "b,verification,/m/cat,0")
    tree = {
        "LabelName": "/m/all",
        "Subcategory": [{"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]}],
    }
    files = (
        _write_lines(folder / "boxes.csv", header, *boxes),
        _write_lines(folder / "labels.csv", *labels),
        _write_lines(folder / "classes.csv", "/m/cat,Cat", "/m/dog,Dog", "/m/animal,Animal", '/m/all,"Thing, any"'),
        _write_lines(folder / "hierarchy.json", json.dumps(tree)),
    )
    return SmallSet(ReadOptions(images, files[0], image_labels=files[1], class_descriptions=files[2], hierarchy=files[3]), files)


def make_pets(folder: Path) -> SmallSet:
    """XML files and trimaps."""
    images, annotations = folder / "images", folder / "annotations"
    for name in ("xmls", "trimaps"):
        (annotations / name).mkdir(parents=True)
    files = [_write_lines(annotations / "list.txt", "Abyssinian_1 1 1 1", "great_dane_2 2 1 1")]
    for index, stem in enumerate(("Abyssinian_1", "great_dane_2")):
        save_image(images / f"{stem}.jpg", color=index)
        files.append(annotations / "xmls" / f"{stem}.xml")
        files[-1].write_text(voc_xml(f"{stem}.jpg", VOC_OBJECT.format("cat", 1, 2, 30, 40)))
        trimap = Image.new("L", (64, 48), 2)
        trimap.paste(1, (10, 10, 20, 30))
        files.append(annotations / "trimaps" / f"{stem}.png")
        trimap.save(files[-1])
    return SmallSet(ReadOptions(images, annotations, split_file=files[0], include_masks=True), tuple(files))


def make_yolo(folder: Path) -> SmallSet:
    """Boxes and a polygon."""
    return _make_yolo(folder, "", "0 0.5 0.25 0.5 0.25\n1 0.1 0.1 0.5 0.1 0.4 0.8\n", "1 0.125 0.5 0.25 1\n")


def make_yolo_masks(folder: Path) -> SmallSet:
    """Polygons read as masks."""
    return _make_yolo(folder, "", "0 0.2 0.1 0.5 0.1 0.4 0.8\n1 0.1 0.1 0.5 0.1 0.4 0.8 0.2 0.3\n", "", include_masks=True)


def make_yolo_keypoints(folder: Path) -> SmallSet:
    """Boxes with keypoints."""
    row = "0 0.5 0.25 0.5 0.25 0.4 0.2 2 0.6 0.3 1\n"
    return _make_yolo(folder, "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n", row, row, include_keypoints=True)


def _make_yolo(folder: Path, more: str, *labels: str, include_masks: bool = False, include_keypoints: bool = False) -> SmallSet:
    _save_images(folder / "images" / "train")
    description = folder / "data.yaml"
    description.write_text(f"path: .\ntrain: images/train\nval: images/train\nnc: 2\nnames:\n  0: cat\n  1: dog\n{more}")
    files = [description]
    for stem, text in zip("ab", labels, strict=True):
        files.append(folder / "labels" / "train" / f"{stem}.txt")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(text)
    options = ReadOptions(folder / "images" / "train", description, include_masks=include_masks, include_keypoints=include_keypoints)
    return SmallSet(options, tuple(files))


def make_labelme(folder: Path) -> SmallSet:
    """JSON files with every kind of shape, one with its image inside."""
    images = _save_images(folder)
    kinds = {
        "polygon": [[10, 5], [30.5, 5], [10, 25.25]],
        "rectangle": [[1, 2], [30, 40]],
        "circle": [[20, 20], [25, 20]],
        "point": [[3, 3]],
        "line": [[3, 3], [9, 9]],
        "oriented_rectangle": [[10, 10], [20, 10], [20, 20], [10, 20]],
    }
    shapes: list[dict[str, object]] = [
        {"label": "cat", "points": points, "group_id": None, "shape_type": kind, "flags": {}} for kind, points in kinds.items()
    ]
    mask = io.BytesIO()
    Image.new("L", (5, 4), 255).save(mask, "PNG")
    shapes.append(
        {
            "label": "dog",
            "points": [[2, 3], [6, 6]],
            "group_id": 1,
            "shape_type": "mask",
            "flags": {},
            "mask": base64.b64encode(mask.getvalue()).decode(),
        }
    )
    files = []
    for stem, own in (("a", shapes), ("b", shapes[:1])):
        data = base64.b64encode((folder / "b.jpg").read_bytes()).decode() if stem == "b" else None
        content = {"version": "5.5.0", "flags": {}, "shapes": own, "imagePath": f"{stem}.jpg", "imageData": data}
        files.append(_write_lines(folder / f"{stem}.json", json.dumps(content | {"imageHeight": 48, "imageWidth": 64})))
    return SmallSet(ReadOptions(images, folder, include_masks=True), tuple(files))


def make_cvat(folder: Path) -> SmallSet:
    """One XML file with boxes and a polygon."""
    return _make_cvat(folder, '<polygon label="dog" occluded="1" source="manual" points="1,1;20.5,1;20,30" z_order="0"></polygon>')


def make_cvat_masks(folder: Path) -> SmallSet:
    """Polygons, ellipses and run lengths read as masks."""
    mask = '<mask label="cat" source="manual" occluded="0" rle="3, 2, 4, 1" left="5" top="6" width="5" height="2" z_order="0"></mask>'
    ellipse = '<ellipse label="cat" source="manual" occluded="0" cx="20" cy="20" rx="5" ry="8" z_order="0"></ellipse>'
    polygon = '<polygon label="dog" occluded="1" source="manual" points="1,1;20.5,1;20,30" z_order="0"></polygon>'
    return _make_cvat(folder, mask + ellipse + polygon, with_box=False, include_masks=True)


def make_cvat_keypoints(folder: Path) -> SmallSet:
    """A skeleton and points."""
    points = '<points label="nose" source="manual" occluded="0" outside="0" points="{}"></points>'
    skeleton = (
        f'<skeleton label="cat" source="manual" z_order="0">{points.format("3,4")}{points.format("9,9").replace("nose", "tail")}</skeleton>'
    )
    return _make_cvat(folder, skeleton, with_box=False, include_keypoints=True)


def _make_cvat(
    folder: Path, shapes: str, *, with_box: bool = True, include_masks: bool = False, include_keypoints: bool = False
) -> SmallSet:
    images, path = _save_images(folder / "images"), folder / "annotations.xml"
    labels = "".join(f"<label><name>{name}</name><color>#fff</color></label>" for name in ("cat", "dog"))
    box = '<box label="cat" source="manual" occluded="0" xtl="1.5" ytl="2" xbr="30" ybr="40" rotation="10" z_order="0"></box>'
    path.write_text(
        f"<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version><meta><job><labels>{labels}</labels></job></meta>\n"
        f'<image id="0" name="a.jpg" width="64" height="48">\n{box if with_box else ""}{shapes}</image>\n'
        f'<image id="1" name="b.jpg" width="64" height="48"></image>\n</annotations>\n'
    )
    options = ReadOptions(images, path, include_masks=include_masks, include_keypoints=include_keypoints)
    return SmallSet(options, (path,))


def make_tfrecord(folder: Path) -> SmallSet:
    """A record file with masks and keypoints, and its label map."""
    (folder / "source").mkdir()
    source = read_coco(make_coco(folder / "source", include_masks=True, include_keypoints=True).options)
    output = folder / "small.record"
    summary = create_tf_record(source, output, WriteOptions(is_numbered=False, writes_manifest=False))
    shutil.rmtree(folder / "source")
    label_map = next(path for path in summary.outputs if path.suffix == ".pbtxt")
    return SmallSet(ReadOptions(output, label_map), (output, label_map))


# By name in format_table, with a variant behind a hyphen where a format is read in more than one way.
SMALL_SETS: dict[str, Callable[[Path], SmallSet]] = {
    "coco": make_coco,
    "coco-keypoints": functools.partial(make_coco, include_keypoints=True),
    "coco-masks": functools.partial(make_coco, include_masks=True),
    "csv": make_csv,
    "csv-automl": make_csv_automl,
    "cvat": make_cvat,
    "cvat-keypoints": make_cvat_keypoints,
    "cvat-masks": make_cvat_masks,
    "kitti": make_kitti,
    "labelme": make_labelme,
    "open_images": make_open_images,
    "pets": make_pets,
    "tfrecord": make_tfrecord,
    "voc": make_voc,
    "yolo": make_yolo,
    "yolo-masks": make_yolo_masks,
    "yolo-keypoints": make_yolo_keypoints,
}


def _save_images(folder: Path) -> Path:
    save_image(folder / "a.jpg")
    save_image(folder / "b.jpg", color=1)
    return folder


def _write_lines(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
