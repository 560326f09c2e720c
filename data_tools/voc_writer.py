"""Writes images with their objects as a Pascal VOC tree: `Annotations`, `JPEGImages` and `ImageSets/Main/all.txt`."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from data_tools.annotated_image import AnnotatedObject
from data_tools.export_names import ExportNames
from data_tools.exported_image import ExportedImage
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError


class VocWriter:
    """Writes one data set; a context manager, which completes the files when left without an exception.

    Raises (when written to):
        InputError: a text cannot stand in XML.
    """

    features = frozenset(
        (schema.OBJECT_DIFFICULT, schema.OBJECT_TRUNCATED, schema.OBJECT_OCCLUDED, schema.OBJECT_VIEW, schema.OBJECT_CLASS_LABEL)
    )

    def __init__(self, folder: Path, *, has_occluded: bool = False) -> None:
        self._folder, self._has_occluded = folder, has_occluded
        self._stems: list[str] = []
        self.names = ExportNames(is_flat=True)

    def __enter__(self) -> VocWriter:
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (self._folder / name).mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            (self._folder / "ImageSets/Main/all.txt").write_text("".join(f"{stem}\n" for stem in self._stems), encoding="utf-8")

    def write(self, image: ExportedImage) -> None:
        """Writes one image and its objects."""
        name = self.names(image.recorded_name, image.format, len(self._stems))
        (self._folder / "JPEGImages" / name).write_bytes(image.encoded)
        stem = name.rpartition(".")[0]
        self._stems.append(stem)
        root = etree.Element("annotation")
        _add(root, "folder", "JPEGImages")
        _add(root, "filename", name)
        size = etree.SubElement(root, "size")
        for tag, value in (("width", image.width), ("height", image.height), ("depth", 3)):
            _add(size, tag, str(value))
        for item in image.objects:
            try:
                self._add_object(root, item)
            except ValueError:  # lxml takes no control characters
                raise InputError(f"{item.where}: class {item.class_text!r} or view {item.view!r} cannot stand in XML") from None
        etree.indent(root)
        (self._folder / "Annotations" / f"{stem}.xml").write_bytes(etree.tostring(root, encoding="utf-8") + b"\n")

    def _add_object(self, root: etree._Element, item: AnnotatedObject) -> None:
        element = etree.SubElement(root, "object")
        _add(element, "name", item.class_text)
        _add(element, "pose", item.view)
        _add(element, "truncated", str(int(item.is_truncated)))
        _add(element, "difficult", str(int(item.is_difficult)))
        if self._has_occluded:
            _add(element, "occluded", str(int(item.is_occluded)))
        box = etree.SubElement(element, "bndbox")
        for tag, value in (("xmin", item.box.x_min), ("ymin", item.box.y_min), ("xmax", item.box.x_max), ("ymax", item.box.y_max)):
            _add(box, tag, str(int(value)) if value.is_integer() else repr(value))


def _add(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text
