"""VOC annotations as the devkit and labelImg write them, read by regular expressions in less than half the time of an XML parser.

A file counts as plain only if all of it is elements without attributes, at most two deep besides the objects, which hold their fields in
the devkit's order, and if no text has an entity, a comment or a control character. Whatever else XML allows, and whatever is wrong, is left
to an XML parser. So nothing that a document can do to its reader happens here: what a pattern takes is what stands there.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from data_tools.annotated_image import AnnotatedObject, PixelBox

_SPACE = r"[ \t\r\n]*"
_TEXT = r"[^<>&\x00-\x1f\ufffe\uffff]*"  # no line breaks, no brackets: those are rare, and XML has rules for them
_NAME = r"[A-Za-z_]\w*"

_START = re.compile(
    rf"\ufeff?(?:<\?xml version=(['\"])1\.0\1(?: encoding=(['\"])(?i:utf-8)\2)? ?\?>{_SPACE})?"
    rf"<annotation(?: verified=(['\"])(?:yes|no)\3)?>{_SPACE}",
    re.ASCII,
)
_END = re.compile(rf"</annotation>{_SPACE}")
_ELEMENT = re.compile(rf"<({_NAME})>(?:({_TEXT})|{_SPACE}((?:<({_NAME})>{_TEXT}</\4>{_SPACE})*))</\1>{_SPACE}", re.ASCII)
_SIZE = re.compile(rf"<width>(\d{{1,9}})</width>{_SPACE}<height>(\d{{1,9}})</height>{_SPACE}(?:<depth>{_TEXT}</depth>{_SPACE})?", re.ASCII)
_OBJECT = re.compile(
    rf"<object>{_SPACE}<name>({_TEXT})</name>{_SPACE}(?:<pose>({_TEXT})</pose>{_SPACE})?(?:<truncated>([01])</truncated>{_SPACE})?"
    rf"(?:<difficult>([01])</difficult>{_SPACE})?<bndbox>{_SPACE}<xmin>({_TEXT})</xmin>{_SPACE}<ymin>({_TEXT})</ymin>{_SPACE}"
    rf"<xmax>({_TEXT})</xmax>{_SPACE}<ymax>({_TEXT})</ymax>{_SPACE}</bndbox>{_SPACE}</object>{_SPACE}"
)


class VocAnnotation(NamedTuple):
    """What one file says."""

    filename: str
    size: tuple[int, int] | None  # height, width
    objects: tuple[AnnotatedObject, ...]


def read_plain(content: bytes, name: str) -> VocAnnotation | None:
    """What an XML parser would find, None where it takes one.

    Args:
        content: of the file.
        name: of the file, for the messages about its objects.
    """
    try:
        text = content.decode()
        return _read(text, name)
    except ValueError:  # not UTF-8, or an edge that is no number
        return None


def _read(text: str, name: str) -> VocAnnotation | None:
    match = _START.match(text)
    filename, size, objects, line, counted = "", None, list[AnnotatedObject](), 1, 0
    while match:
        position = match.end()
        if match := _OBJECT.match(text, position):
            line, counted = line + text.count("\n", counted, position), position
            item = _read_object(match, f"{name}:{line}: object {len(objects) + 1}")
            if not item.class_text:
                return None
            objects.append(item)
        elif match := _ELEMENT.match(text, position):
            tag, content, children, _ = match.groups()
            if tag == "filename" and content is not None:
                filename = content.strip()
            elif tag == "size" and children is not None and (sides := _SIZE.fullmatch(children)):
                height, width = int(sides[2]), int(sides[1])
                size = (height, width) if height and width else None  # some tools write 0 for "not known"
            elif tag in ("filename", "size", "object"):
                return None
        else:
            return VocAnnotation(filename, size, tuple(objects)) if _END.fullmatch(text, position) else None
    return None


def _read_object(match: re.Match[str], where: str) -> AnnotatedObject:
    class_text, view, truncated, difficult, x_min, y_min, x_max, y_max = match.groups()
    class_text = class_text.strip()
    box = PixelBox(float(y_min), float(x_min), float(y_max), float(x_max))
    view = "Unspecified" if view is None else view.strip()
    return AnnotatedObject(class_text, box, f"{where} ({class_text})", difficult == "1", truncated == "1", view)
