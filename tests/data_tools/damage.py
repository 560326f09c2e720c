"""Hypothesis strategies that turn a valid file into what a stranger may have written instead."""

from __future__ import annotations

import copy
import functools
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from data_tools.record_file import read_records
from data_tools.tf_example import bytes_feature, encode_example, float_feature, frame_record, int64_feature, parse_example

Content = st.SearchStrategy[bytes]

_HUGE = "9" * 400
_LONGEST = "9" * 4300  # digits: what Python makes a number of; with one more it refuses, to print it too
NUMBERS = (
    _LONGEST,
    "0",
    "-1",
    "1",
    "0.5",
    "1e30",
    "1e308",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    _HUGE,
    f"-{_HUGE}",
    f"1e{_HUGE}",
)
NAMES = (
    *("", " ", ".", "..", "../secret.jpg", "/etc/passwd", "a.jpg/../../secret.jpg", "~/x", "file:///etc/passwd", "C:\\x", "a.jpg\0.png"),
    *("a\nb", "\x1b[2J", "\u202e", "\udc80", "é" * 300, "x" * 5000, "a/" * 3000, "*", "%s%n", "-rf", "b.jpg", "a", "person", "cat"),
)
_RAW_JSON = (*NUMBERS, "null", "true", "[]", "{}", '""', "[[[[1]]]]", "9" * 10_000, "[" * 10_000, '{"a":' * 2_000, "1e-999", "-0")
_DOCTYPES = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">',
    '<!DOCTYPE a [<!ENTITY x "y">]>',
    "<?xml version='1.0' encoding='utf-16'?>",
    "<?xml version='1.1'?>",
)
_PLACEHOLDER = "@raw json %d@"


def damaged(path: Path) -> Content:
    """What may stand in a file instead of its content: bytes changed anywhere, or values and parts changed with the syntax kept."""
    content = path.read_bytes()
    by_suffix: dict[str, Callable[[bytes], Content]] = {
        ".json": _damaged_json,
        ".xml": _damaged_xml,
        ".csv": _damaged_table,
        ".record": lambda _: _damaged_records(path),
        **dict.fromkeys((".jpg", ".png", ".bmp", ".gif", ".webp"), _damaged_header),
    }
    structured = by_suffix.get(path.suffix, _damaged_lines)
    return st.one_of(structured(content), structured(content), damaged_bytes(content))


def damaged_bytes(content: bytes) -> Content:
    """A few edits: bytes flipped, cut out, doubled, put in; or the end cut off."""
    position = st.integers(0, len(content))
    edit = st.tuples(st.sampled_from(("flip", "cut", "double", "insert", "end")), position, st.integers(1, 64), st.binary(max_size=8))
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: _apply_edits(content, edits))


def _apply_edits(content: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, position, length, data in edits:
        head, middle, tail = content[:position], content[position : position + length], content[position + length :]
        if kind == "flip":
            content = head + bytes(byte ^ (length | 1) for byte in middle[:2]) + middle[2:] + tail
        elif kind == "cut":
            content = head + tail
        elif kind == "double":
            content = head + middle + middle + tail
        elif kind == "insert":
            content = head + data + middle + tail
        else:
            content = head
    return content


def _damaged_header(content: bytes) -> Content:
    """Numbers of the first bytes set to what sizes, lengths and offsets should not be."""
    head = content[:256]
    value = st.sampled_from((b"\0", b"\xff", b"\0\0", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
    change = st.tuples(st.integers(0, len(head)), value)
    values = st.lists(change, min_size=1, max_size=3).map(
        lambda changes: functools.reduce(lambda found, item: found[: item[0]] + item[1] + found[item[0] + len(item[1]) :], changes, content)
    )
    return st.one_of(values, damaged_bytes(head).map(lambda found: found + content[256:]))


def _damaged_json(content: bytes) -> Content:
    tree = json.loads(content)
    places = list(_json_places(tree))
    other = st.sampled_from(places).map(lambda place: _at(tree, place))
    value = st.one_of(st.sampled_from(_RAW_JSON), st.sampled_from(NAMES).map(json.dumps), other)
    change = st.tuples(st.sampled_from(("replace", "replace", "remove", "double")), st.sampled_from(places[1:]), value)
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: _change_json(tree, changes))


def _json_places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(inner for key, item in items for inner in _json_places(item, (*place, key)))]


def _at(tree: Any, place: tuple[Any, ...]) -> str:
    for key in place:
        tree = tree[key]
    return json.dumps(tree)


def _change_json(tree: Any, changes: list[tuple[str, tuple[Any, ...], str]]) -> bytes:
    tree, raw = copy.deepcopy(tree), dict[str, str]()
    for kind, place, value in changes:
        parent: Any = tree
        try:
            for key in place[:-1]:
                parent = parent[key]
            if kind == "remove":
                del parent[place[-1]]
            elif kind == "double" and isinstance(parent, list):
                parent.append(copy.deepcopy(parent[place[-1]]))
            else:
                parent[place[-1]] = _PLACEHOLDER % len(raw)
                raw[parent[place[-1]]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    text = json.dumps(tree)
    for name, value in raw.items():
        text = text.replace(json.dumps(name), value)
    return text.encode()


def _damaged_xml(content: bytes) -> Content:
    count = sum(1 for _ in ET.fromstring(content).iter())
    text = st.one_of(st.sampled_from(NUMBERS), st.sampled_from([name for name in NAMES if _is_xml_text(name)]))
    kind = st.sampled_from(("text", "text", "remove", "double", "rename", "attributes", "deepen"))
    change = st.tuples(kind, st.integers(0, count - 1), text, st.integers(0, count - 1))
    start = st.sampled_from(("",) * 12 + _DOCTYPES)
    return st.tuples(st.lists(change, min_size=1, max_size=3), start).map(lambda drawn: _change_xml(content, *drawn))


def _is_xml_text(text: str) -> bool:
    return all(character >= " " and not "\ud800" <= character <= "\udfff" for character in text)


def _change_xml(content: bytes, changes: list[tuple[str, int, str, int]], start: str) -> bytes:
    root = ET.fromstring(content)
    for kind, index, text, other in changes:
        elements = list(root.iter())
        element, second = elements[index % len(elements)], elements[other % len(elements)]
        parent = next((each for each in elements if element in list(each)), None)
        if kind == "text":
            element.text = text
        elif kind == "rename":
            element.tag = second.tag
        elif kind == "attributes":
            for key in element.attrib or ("id",):
                element.set(key, text)
        elif kind == "deepen":
            for _ in range(400):
                element = ET.SubElement(element, second.tag)
        elif parent is not None and kind == "remove":
            parent.remove(element)
        elif parent is not None:
            parent.append(copy.deepcopy(element))
    return f"{start}{ET.tostring(root, encoding='unicode')}".encode(errors="surrogatepass")


def _damaged_table(content: bytes) -> Content:
    return _damaged_cells(content, ",")


def _damaged_lines(content: bytes) -> Content:
    return st.one_of(_damaged_cells(content, " "), _damaged_cells(content, ":"))


def _damaged_cells(content: bytes, separator: str) -> Content:
    rows = [line.split(separator) for line in content.decode().splitlines()]
    value = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(NAMES), st.sampled_from(('"', "'", "[", "{", "- x", "&a *a", "\t", "#")))
    kind = st.sampled_from(("value", "value", "value", "remove", "double", "no line", "line twice"))
    change = st.tuples(kind, st.integers(0, max(len(rows) - 1, 0)), st.integers(0, 30), value)
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: _change_cells(rows, separator, changes))


def _change_cells(rows: list[list[str]], separator: str, changes: list[tuple[str, int, int, str]]) -> bytes:
    rows = copy.deepcopy(rows)
    for kind, row_index, column_index, value in changes:
        if not rows:
            break
        row = rows[row_index % len(rows)]
        column = column_index % max(len(row), 1)
        if kind == "value":
            row[column : column + 1] = [value]
        elif kind == "remove":
            del row[column : column + 1]
        elif kind == "double":
            row[column:column] = row[column : column + 1]
        elif kind == "no line":
            rows.remove(row)
        else:
            rows.append(list(row))
    return "\n".join(separator.join(row) for row in rows).encode(errors="surrogatepass") + b"\n"


def _damaged_records(path: Path) -> Content:
    """Records whose checksums fit, so that what stands in them is read."""
    payloads = list(read_records(path))
    examples = [dict(parse_example(payload)) for payload in payloads]
    keys = sorted({key for example in examples for key in example})
    feature = st.one_of(
        st.binary(max_size=20),  # no Feature at all
        st.sampled_from(NAMES).map(lambda name: bytes_feature([name.encode(errors="surrogatepass")])),
        st.lists(st.binary(max_size=40), max_size=5).map(bytes_feature),
        st.lists(st.floats(width=32), max_size=5).map(float_feature),
        st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(int64_feature),
        st.sampled_from((b"", b"\x1a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x7f")),  # nothing; a number of more than 64 bits
    )
    raw = [_raw_features(payload) for payload in payloads]
    changed = st.tuples(
        st.integers(0, len(payloads) - 1), st.dictionaries(st.sampled_from(keys), st.one_of(st.none(), feature), min_size=1, max_size=3)
    ).map(lambda drawn: _change_features(raw, *drawn))
    noise = st.integers(0, len(payloads) - 1).flatmap(
        lambda index: damaged_bytes(payloads[index]).map(lambda bad: [*payloads[:index], bad, *payloads[index + 1 :]])
    )
    return st.one_of(changed, noise).map(lambda found: b"".join(map(frame_record, found)))


def _raw_features(payload: bytes) -> dict[str, bytes]:
    """Key to serialized Feature."""
    by_type = {bytes: bytes_feature, float: float_feature, int: int64_feature}
    return {key: by_type[type(values[0])](values) if values else b"" for key, values in parse_example(payload).items()}


def _change_features(raw: list[dict[str, bytes]], index: int, changes: dict[str, bytes | None]) -> list[bytes]:
    features = {key: value for key, value in (raw[index] | changes).items() if value is not None}
    return [encode_example(features if number == index else own) for number, own in enumerate(raw)]
