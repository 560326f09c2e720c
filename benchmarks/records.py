"""The records of the benchmarks: generated shapes of three classes as 480x360 JPEGs, always the same."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, Source
from data_tools.create_tf_record import create_tf_record
from data_tools.shapes import CLASSES, ShapesGenerator
from data_tools.shards import label_map_path
from object_detection_ext.data import schema

NUM_IMAGES = 200
WIDTH, HEIGHT = 480, 360  # pixels


class DataSet(NamedTuple):
    """Where training finds its data."""

    records: str  # glob pattern, absolute
    label_map: Path


def make_data_set(folder: Path, *, num_images: int = NUM_IMAGES) -> DataSet:
    """Draws the images into `folder` and writes their records and label map there; done already, it is only looked up."""
    output = folder / "train.record"
    data = DataSet(records=f"{output}-?????-of-00001", label_map=label_map_path(output))
    if data.label_map.exists():
        return data
    folder.mkdir(parents=True, exist_ok=True)
    generator = ShapesGenerator(seed=0, image_size=WIDTH)
    images = [_draw(generator, index, folder) for index in range(num_images)]
    source = Source(
        entries=images,
        load=_same,
        object_features=(schema.OBJECT_CLASS_LABEL,),
        class_ids={name: label_id for label_id, name in enumerate(CLASSES, start=1)},
    )
    create_tf_record(source, output)
    return data


def _draw(generator: ShapesGenerator, index: int, folder: Path) -> AnnotatedImage:
    """Image `index`, drawn square and squeezed to the height."""
    drawn = generator(index)
    path = folder / f"{index:05d}.jpg"
    Image.fromarray(drawn.pixels).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(path, quality=90)
    scale = HEIGHT / WIDTH
    boxes = [PixelBox(each.box.y_min * scale, each.box.x_min, each.box.y_max * scale, each.box.x_max) for each in drawn.objects]
    objects = tuple(AnnotatedObject(each.class_text, box, str(path)) for each, box in zip(drawn.objects, boxes, strict=True))
    return AnnotatedImage(path, path.name, path.name, (HEIGHT, WIDTH), objects, str(path))


def _same(image: AnnotatedImage) -> AnnotatedImage:
    return image
