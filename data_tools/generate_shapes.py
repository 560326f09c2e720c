"""Writes the synthetic set `shapes`, ready to convert: `python -m data_tools.generate_shapes --output_dir D --num_images N --seed S`.

With `--format voc` the folder looks like a VOC set (JPEGImages, Annotations, ImageSets/Main/SPLIT.txt), with `--format coco` like a COCO
set (images, annotations/instances_SPLIT.json). Several splits fit into one folder if their seeds differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from data_tools.arguments import add_num_workers
from data_tools.parallel import ordered_map
from data_tools.progress import progress
from data_tools.shapes import CLASSES, ShapeObject, ShapesGenerator
from object_detection_ext.command_line import positive_int, run
from object_detection_ext.errors import InputError

_JPEG_QUALITY = 90
_OCCLUDED_BELOW = 0.95  # visible fraction


class SavedImage(NamedTuple):
    """An image on disk, and what it shows."""

    path: Path
    objects: tuple[ShapeObject, ...]


@dataclass(frozen=True)
class ImageSaver:
    """Draws image `index` and saves it as a JPEG; the name tells seed and index, so that no two sets share one."""

    generator: ShapesGenerator
    folder: Path

    def __call__(self, index: int) -> SavedImage:
        drawn = self.generator(index)
        path = self.folder / f"shapes_{self.generator.seed}_{index:05d}.jpg"
        Image.fromarray(drawn.pixels).save(path, quality=_JPEG_QUALITY)
        return SavedImage(path, drawn.objects)


def generate_voc(generator: ShapesGenerator, folder: Path, *, split: str, num_images: int, num_workers: int) -> None:
    """Writes JPEGImages/*.jpg, Annotations/*.xml and, last, ImageSets/Main/SPLIT.txt below `folder`."""
    images, annotations, splits = folder / "JPEGImages", folder / "Annotations", folder / "ImageSets" / "Main"
    for path in (images, annotations, splits):
        path.mkdir(parents=True, exist_ok=True)
    stems = []
    for saved in _save(ImageSaver(generator, images), num_images, num_workers):
        (annotations / f"{saved.path.stem}.xml").write_text(_voc_xml(saved, generator.image_size))
        stems.append(saved.path.stem)
    (splits / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def generate_coco(generator: ShapesGenerator, folder: Path, *, split: str, num_images: int, num_workers: int) -> None:
    """Writes images/*.jpg and, last, annotations/instances_SPLIT.json below `folder`."""
    images, annotations = folder / "images", folder / "annotations"
    for path in (images, annotations):
        path.mkdir(parents=True, exist_ok=True)
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": id_, "name": name, "supercategory": "shape"} for id_, name in enumerate(CLASSES, start=1)],
    }
    side = generator.image_size
    for image_id, saved in enumerate(_save(ImageSaver(generator, images), num_images, num_workers), start=1):
        content["images"].append({"id": image_id, "file_name": saved.path.name, "height": side, "width": side})
        for item in saved.objects:
            content["annotations"].append(_coco_annotation(item, image_id, annotation_id=len(content["annotations"]) + 1))
    (annotations / f"instances_{split}.json").write_text(json.dumps(content))


FORMATS: dict[str, Callable[..., None]] = {"voc": generate_voc, "coco": generate_coco}


def _save(saver: ImageSaver, num_images: int, num_workers: int) -> Sequence[SavedImage]:
    saved = ordered_map(saver, range(num_images), num_workers=num_workers)
    return list(progress(saved, total=num_images, label="drawing"))


def _coco_annotation(item: ShapeObject, image_id: int, *, annotation_id: int) -> dict[str, Any]:
    y_min, x_min, y_max, x_max = item.box
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": CLASSES.index(item.class_text) + 1,
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": item.area,
        "iscrowd": 0,
    }


def _voc_xml(saved: SavedImage, side: int) -> str:
    objects = "".join(_voc_object(item) for item in saved.objects)
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{saved.path.name}</filename>\n"
        f"  <size><width>{side}</width><height>{side}</height><depth>3</depth></size>\n{objects}</annotation>\n"
    )


def _voc_object(item: ShapeObject) -> str:
    # Edges are written from 0, not VOC's 1: the API, and so our converter, divides them by the size as they stand.
    edges = zip(("ymin", "xmin", "ymax", "xmax"), item.box, strict=True)
    box = "".join(f"<{name}>{value:.0f}</{name}>" for name, value in edges)
    occluded = int(item.visible_fraction < _OCCLUDED_BELOW)
    return (
        f"  <object>\n    <name>{item.class_text}</name>\n    <pose>Unspecified</pose>\n    <truncated>0</truncated>\n"
        f"    <occluded>{occluded}</occluded>\n    <difficult>0</difficult>\n    <bndbox>{box}</bndbox>\n  </object>\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = _parse_arguments(argv)
    try:
        generator = ShapesGenerator(arguments.seed, image_size=arguments.image_size, max_objects=arguments.max_objects)
    except ValueError as error:
        raise InputError(f"--{error}") from None
    generate = FORMATS[arguments.format]
    generate(generator, arguments.output_dir, split=arguments.split, num_images=arguments.num_images, num_workers=arguments.num_workers)
    print(f"{arguments.num_images:,} images of {', '.join(CLASSES)} in {arguments.output_dir}, split {arguments.split!r}")
    return 0


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_tools.generate_shapes", description="Draws a synthetic detection data set.")
    parser.add_argument("--output_dir", required=True, type=Path, metavar="DIR", help="made if needed")
    parser.add_argument("--num_images", required=True, type=positive_int, metavar="N")
    parser.add_argument("--seed", required=True, type=_seed, metavar="S", help="another seed gives other images: use one a split")
    parser.add_argument("--split", default="train", metavar="NAME", help="name of the split's list; default train")
    parser.add_argument("--format", choices=sorted(FORMATS), default="voc", help="annotation format; default voc")
    parser.add_argument("--image_size", type=positive_int, default=ShapesGenerator.image_size, metavar="PIXELS", help="side; default 320")
    parser.add_argument("--max_objects", type=positive_int, default=ShapesGenerator.max_objects, metavar="N", help="an image; default 8")
    add_num_workers(parser)
    return parser.parse_args(argv)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(run(main))
