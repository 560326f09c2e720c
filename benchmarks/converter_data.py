"""Data sets for timing converters: photos of a COCO set as 480x360 JPEGs, annotated as COCO and as VOC; and long instances files."""

from __future__ import annotations

import io
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from PIL import Image

from object_detection_ext.data.label_map import LabelMap, LabelMapItem
from object_detection_ext.errors import InputError

WIDTH, HEIGHT = 480, 360  # pixels
_JPEG_QUALITY = 90
_SMALLEST_SIDE = 2.0  # pixels: what a crop leaves less of is not annotated
_VOC_SETS = ("train", "trainval")  # names that the original's --set takes: the smaller set and the whole
_LINKS_PER_FILE = 10_000  # file systems limit the hard links of a file

_XML = """<annotation>
<folder>VOC2007</folder><filename>{filename}</filename>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size><segmented>0</segmented>
{objects}</annotation>
"""
_XML_OBJECT = """<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>{x_min:.1f}</xmin><ymin>{y_min:.1f}</ymin><xmax>{x_max:.1f}</xmax><ymax>{y_max:.1f}</ymax></bndbox></object>
"""


class ConverterData(NamedTuple):
    """The first `num_images` images of a set, laid out for both converters."""

    num_images: int
    root: Path  # the original's --data_dir, with VOC2007 below it
    voc_set: str  # the original's --set
    instances: Path

    @property
    def images(self) -> Path:
        """Folder of the JPEGs."""
        return self.root / "VOC2007" / "JPEGImages"

    @property
    def annotations(self) -> Path:
        """Folder of the XML files."""
        return self.root / "VOC2007" / "Annotations"

    @property
    def split_file(self) -> Path:
        """The image ids of the VOC set, with a class flag; the original always reads the file of this class."""
        return self.root / "VOC2007" / "ImageSets" / "Main" / f"aeroplane_{self.voc_set}.txt"

    @property
    def label_map(self) -> Path:
        """The classes."""
        return self.root / "label_map.pbtxt"


def make_converter_data(folder: Path, coco: Path, *, num_images: Sequence[int]) -> list[ConverterData]:
    """Crops the photos of a COCO set into `folder`, always the same; done already, they are only looked up.

    Args:
        folder: made here.
        coco: has `annotations/instances_train2017.json` and `images/train2017`.
        num_images: one set for each number, at most two; the smaller ones are the first images of the largest.
    """
    sizes = sorted(num_images)
    sets = [
        ConverterData(size, folder, name, folder / f"instances_{size}.json")
        for size, name in zip(sizes, _VOC_SETS[-len(sizes) :], strict=True)
    ]
    if all(data.instances.exists() for data in sets):
        return sets
    for path in (sets[0].images, sets[0].annotations, sets[0].split_file.parent):
        path.mkdir(parents=True, exist_ok=True)
    content = _read_instances(coco)
    names = {category["id"]: category["name"] for category in content["categories"]}
    LabelMap(tuple(LabelMapItem(id_, name, name) for id_, name in names.items())).save(sets[0].label_map)
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for image, objects in itertools.islice(_crops(coco, content, sets[0].images), sizes[-1]):
        images.append(image)
        annotations += [{**item, "id": len(annotations) + index} for index, item in enumerate(objects, start=1)]
        (sets[0].annotations / f"{Path(image['file_name']).stem}.xml").write_text(_voc_xml(image["file_name"], objects, names))
    for data in sets:
        chosen = images[: data.num_images]
        data.split_file.write_text("".join(f"{Path(image['file_name']).stem}  1\n" for image in chosen))
        objects = [item for item in annotations if item["image_id"] <= data.num_images]
        data.instances.write_text(json.dumps({"images": chosen, "annotations": objects, "categories": content["categories"]}))
    return sets


def make_large_instances(folder: Path, coco: Path, *, num_images: int, objects_per_image: float = 7.0) -> Path:
    """An instances file of `num_images`, with the objects (polygons included) of a COCO set again and again; the images' folder beside it.

    The images are links to a few blank JPEGs, so that they cost no disk. COCO's training set has 118,287 images and 7.3 objects an image.
    """
    path, images = folder / f"instances_{num_images}.json", folder / f"images_{num_images}"
    if path.exists():
        return path
    images.mkdir(parents=True, exist_ok=True)
    content = _read_instances(coco)
    objects = itertools.cycle(content["annotations"])
    with path.with_suffix(".partial").open("w") as file:
        file.write(f'{{"info": {{}}, "categories": {json.dumps(content["categories"])}, "images": [')
        for index in range(num_images):
            name = f"{index:012d}.jpg"
            _link_blank(folder, index // _LINKS_PER_FILE, images / name)
            url = f"http://images.cocodataset.org/train2017/{name}"
            image = {"license": 1, "file_name": name, "coco_url": url, "height": HEIGHT, "width": WIDTH, "flickr_url": url, "id": index + 1}
            file.write(", " * bool(index) + json.dumps(image))
        file.write('], "annotations": [')
        for index in range(round(num_images * objects_per_image)):
            moved = {**next(objects), "image_id": index % num_images + 1, "id": index + 1, "bbox": [index % 400, 10.5, 40.25, 300.0]}
            file.write(", " * bool(index) + json.dumps(moved))
        file.write("]}")
    return path.with_suffix(".partial").rename(path)


def _read_instances(coco: Path) -> dict[str, Any]:
    path = coco / "annotations" / "instances_train2017.json"
    if not path.exists():
        raise InputError(f"no {path}: the photos are taken from a COCO set with annotations/instances_train2017.json and images/train2017")
    return json.loads(path.read_bytes())


def _crops(coco: Path, content: Mapping[str, Any], folder: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Saves crop after crop of the photos in turn, and yields each with its objects as COCO has them; without an end."""
    photos = [(Image.open(coco / "images" / "train2017" / image["file_name"]).convert("RGB"), image["id"]) for image in content["images"]]
    for index in itertools.count():
        photo, photo_id = photos[index % len(photos)]
        draw = random.Random(index)
        left, top = draw.uniform(0, 0.2) * photo.width, draw.uniform(0, 0.2) * photo.height
        window = (left, top, left + 0.8 * photo.width, top + 0.8 * photo.height)
        name = f"{index + 1:06d}.jpg"
        photo.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=window).save(folder / name, quality=_JPEG_QUALITY)
        objects = [
            moved
            for item in content["annotations"]
            if item["image_id"] == photo_id and not item["iscrowd"] and (moved := _move(item, window, index + 1))
        ]
        yield {"id": index + 1, "file_name": name, "height": HEIGHT, "width": WIDTH}, objects


def _move(item: Mapping[str, Any], window: tuple[float, float, float, float], image_id: int) -> dict[str, Any] | None:
    left, top, right, bottom = window
    x_scale, y_scale = WIDTH / (right - left), HEIGHT / (bottom - top)
    x, y, width, height = item["bbox"]
    x_min, x_max = (min(max((edge - left) * x_scale, 0.0), WIDTH) for edge in (x, x + width))
    y_min, y_max = (min(max((edge - top) * y_scale, 0.0), HEIGHT) for edge in (y, y + height))
    if x_max - x_min < _SMALLEST_SIDE or y_max - y_min < _SMALLEST_SIDE:
        return None
    polygons = [
        [round((value - (top if odd else left)) * (y_scale if odd else x_scale), 2) for odd, value in zip(itertools.cycle((0, 1)), polygon)]
        for polygon in item["segmentation"]
    ]
    box = [round(value, 1) for value in (x_min, y_min, x_max - x_min - 0.1, y_max - y_min - 0.1)]  # rounding leaves no image
    return {
        "image_id": image_id,
        "category_id": item["category_id"],
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "segmentation": polygons,
    }


def _voc_xml(filename: str, objects: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> str:
    texts = []
    for item in objects:
        x, y, width, height = item["bbox"]
        name = escape(names[item["category_id"]])
        texts.append(_XML_OBJECT.format(name=name, x_min=x, y_min=y, x_max=x + width, y_max=y + height))
    return _XML.format(filename=filename, width=WIDTH, height=HEIGHT, objects="".join(texts))


def _link_blank(folder: Path, number: int, target: Path) -> None:
    blank = folder / f"blank_{number}.jpg"
    if not blank.exists():
        buffer = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT), (number, 99, 128)).save(buffer, "JPEG")
        blank.write_bytes(buffer.getvalue())
    target.unlink(missing_ok=True)
    target.hardlink_to(blank)
