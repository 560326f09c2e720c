"""Pascal VOC: one XML file an image, box edges in pixels (Everingham et al., VOC2012 Development Kit, section 5).

Edges are divided by width and height as they stand, as the TF Object Detection API does, although VOC counts pixels from 1.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Format, PixelBox, ReadOptions, Source
from data_tools.file_bytes import read_file
from data_tools.formats.first_bytes import first_bytes
from data_tools.formats.options import refuse_unused
from data_tools.formats.voc_plain import VocAnnotation, read_plain
from data_tools.image_file import CONTROL_CHARACTERS, IMAGE_SUFFIXES, find_inside
from data_tools.image_folder import other_place
from data_tools.split_file import read_split_file
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_OBJECT_FEATURES = (schema.OBJECT_CLASS_LABEL, schema.OBJECT_DIFFICULT, schema.OBJECT_TRUNCATED, schema.OBJECT_VIEW)
# Second column of the class files in ImageSets/Main: the image shows the class (1), does not (-1), or shows it only as difficult (0).
_CLASS_FLAG = re.compile(r"\s+-?[01]$")
_ROOT = re.compile(rb"<annotation[\s>]")
# Annotation files are downloaded: no entities, DTD or network; comments would split texts; libxml2's size limits stay on.
_PARSER = etree.XMLParser(
    resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True, collect_ids=False
)
_LARGEST_FILE = 1 << 26  # bytes; a thousand objects take about 300,000


def read_voc(options: ReadOptions) -> Source:
    """Lists a VOC data set.

    Args:
        options: `images` and `annotations` are the folders of image and XML files; `split_file` holds image ids, one a line, optionally
            followed by VOC's class flag; without it every XML file counts, by name.
    """
    refuse_unused(options, "voc", "split_file")
    annotations, split_file = options.annotations, options.split_file
    if not annotations.is_dir():
        raise InputError(f"{annotations} is not a folder; the voc format needs a folder of XML files")
    if split_file is not None:
        paths = _split_paths(annotations, split_file)
    else:
        paths = _all_paths(annotations)
    return Source(paths, VocReader(options.images.resolve()), _OBJECT_FEATURES)


@dataclass(frozen=True)
class VocReader:
    """Reads one XML file; the image is the one that `filename` names, else the one with the XML file's stem."""

    images: Path  # resolved

    def __call__(self, path: Path) -> AnnotatedImage:
        try:
            content = read_file(path, largest=_LARGEST_FILE)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        annotation = read_plain(content, str(path)) or read_xml(content, path)
        image_path, filename = self._find_image(annotation.filename, path)
        return AnnotatedImage(image_path, filename, filename, annotation.size, annotation.objects, str(path))

    def _find_image(self, named: str, path: Path) -> tuple[Path, str]:
        for suffix in (None, *IMAGE_SUFFIXES):
            name = named if suffix is None else path.stem + suffix
            if not name:
                continue
            try:
                found = find_inside(self.images, name)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            if found is not None:
                return found, name
        message = f"{path}: no image {named!r} in {self.images}, nor one named {path.stem!r} with the suffix of an image"
        raise InputError(message + other_place(self.images, named))


def _recognise(folder: Path) -> ReadOptions | None:
    """`Annotations` beside `JPEGImages` as in VOC, the same in lower case, or XML files among the images as labelImg leaves them."""
    for place in (folder / "Annotations", folder / "annotations", folder):
        first = min((path for path in place.glob("*.[xX][mM][lL]") if not path.name.startswith(".")), default=None)
        if first is not None:
            images = next(images for images in (folder / "JPEGImages", folder / "images", folder) if images.is_dir())
            return ReadOptions(images, place) if _ROOT.search(first_bytes(first)) else None
    return None


def _all_paths(annotations: Path) -> list[Path]:
    """Every XML file of the folder, by name; links may not lead out of it.

    Hidden files (macOS packs `._a.xml` beside every `a.xml`) and what is no file (a pipe would never end) do not count.
    """
    root = annotations.resolve()
    with os.scandir(root) as found:
        visible = (entry for entry in found if entry.name[-4:].lower() == ".xml" and not entry.name.startswith("."))
        entries = sorted(visible, key=lambda entry: entry.name)
    names = [each.name for each in entries if each.is_file(follow_symlinks=False) or (each.is_symlink() and find_inside(root, each.name))]
    if not names:
        raise InputError(f"no *.xml file in {annotations}")
    return [annotations / name for name in names]


def _split_paths(annotations: Path, split_file: Path) -> list[Path]:
    numbers: dict[str, int] = {}  # by file name
    root = annotations.resolve()
    with os.scandir(root) as listing:
        plain = {entry.name for entry in listing if entry.is_file(follow_symlinks=False) and not CONTROL_CHARACTERS.search(entry.name)}
    for number, line in read_split_file(split_file):
        image_id = _CLASS_FLAG.sub("", line)
        names = [f"{name}.xml" for name in dict.fromkeys((line, image_id))]
        try:
            found = next((name for name in names if name in plain or find_inside(root, name)), None)
        except InputError as error:
            raise InputError(f"{split_file}:{number}: {error}") from None
        if found is None:
            raise InputError(f"{split_file}:{number}: no {names[-1]} in {annotations}")
        if found in numbers:
            raise InputError(f"{split_file}:{number}: {found.removesuffix('.xml')!r} is listed twice, first in line {numbers[found]}")
        numbers[found] = number
    return [annotations / name for name in numbers]


def read_xml(content: bytes, path: Path) -> VocAnnotation:
    """What a file says, whatever XML it is.

    Raises:
        InputError: it is not well-formed, has a document type, or is no VOC annotation; names file and line.
    """
    filename, size, elements = "", None, []
    for child in _parse(content, path):
        tag = child.tag
        if tag == "object":
            elements.append(child)
        elif tag == "filename":
            filename = _strip(child.text)
        elif tag == "size":
            size = _read_size(child, path)
    return VocAnnotation(filename, size, tuple([_read_object(element, path, index) for index, element in enumerate(elements)]))


def _parse(content: bytes, path: Path) -> etree._Element:
    try:
        root = etree.fromstring(content, _PARSER)
    except etree.XMLSyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: not well-formed XML: {error.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise InputError(f"{path}: a document type (DTD) is not allowed in an annotation file")
    if root.tag != "annotation":
        raise InputError(f"{path}:{root.sourceline}: the root element must be <annotation>, got <{root.tag}>")
    return root


def _read_size(element: etree._Element, path: Path) -> tuple[int, int] | None:
    sides = {child.tag: child.text for child in element}
    if "height" not in sides or "width" not in sides:
        return None
    where = f"{path}:{element.sourceline}: <size>"
    height, width = _number(sides["height"], "height", where), _number(sides["width"], "width", where)
    if not height.is_integer() or not width.is_integer():
        raise InputError(f"{where}: <height> and <width> must be whole numbers, got {sides['height']!r} and {sides['width']!r}")
    return (int(height), int(width)) if height > 0 and width > 0 else None  # some tools write 0 for "not known"


def _read_object(element: etree._Element, path: Path, index: int) -> AnnotatedObject:
    where = f"{path}:{element.sourceline}: object {index + 1}"
    fields = {child.tag: child for child in element}
    texts = {tag: child.text for tag, child in fields.items()}
    name = _strip(texts.get("name"))
    if not name:
        raise InputError(f"{where} has no <name>")
    where = f"{where} ({name})"
    if "bndbox" not in fields:
        raise InputError(f"{where} has no <bndbox>")
    edges = {edge.tag: edge.text for edge in fields["bndbox"]}
    box = PixelBox(*[_number(edges.get(edge), edge, where) for edge in ("ymin", "xmin", "ymax", "xmax")])
    is_difficult = _flag(texts.get("difficult", "0"), "difficult", where)
    is_truncated = _flag(texts.get("truncated", "0"), "truncated", where)
    view = _strip(texts["pose"]) if "pose" in texts else "Unspecified"
    return AnnotatedObject(name, box, where, is_difficult, is_truncated, view)


def _strip(text: str | None) -> str:
    return text.strip() if text else ""


def _number(text: str | None, name: str, where: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InputError(f"{where}: <{name}> must be a number, got {text!r}") from None


def _flag(text: str | None, name: str, where: str) -> bool:
    text = _strip(text)
    if text not in ("0", "1"):
        raise InputError(f"{where}: <{name}> must be 0 or 1, got {text!r}")
    return text == "1"


FORMAT = Format(read_voc, _recognise)
