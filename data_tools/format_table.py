"""The annotation formats that the commands offer, by the name given to `--format`."""

from __future__ import annotations

from data_tools.annotated_image import Format
from data_tools.formats import coco, voc

FORMATS: dict[str, Format] = {
    "coco": coco.FORMAT,
    "voc": voc.FORMAT,
}
