"""The annotation formats that the commands offer, by the name given to `--format`."""

from __future__ import annotations

from data_tools.annotated_image import Format
from data_tools.formats import coco, csv_table, cvat, kitti, labelme, open_images, pets, tfrecord, voc, yolo

FORMATS: dict[str, Format] = {
    "coco": coco.FORMAT,
    "csv": csv_table.FORMAT,
    "cvat": cvat.FORMAT,
    "kitti": kitti.FORMAT,
    "labelme": labelme.FORMAT,
    "open_images": open_images.FORMAT,
    "pets": pets.FORMAT,
    "tfrecord": tfrecord.FORMAT,
    "voc": voc.FORMAT,
    "yolo": yolo.FORMAT,
}
