from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_tools.formats.json_stream import JsonStream, decode_json, load_json
from object_detection_ext.errors import InputError


def read_all(path: Path, *, block: int = 1 << 20, largest_value: int = 1 << 20) -> dict[str, Any]:
    """The whole file, lists item by item; each item must be what lies at its place in the file."""
    content: dict[str, Any] = {}
    data = path.read_bytes()
    with JsonStream(path, block=block, largest_value=largest_value) as stream:
        for key in stream.members():
            if stream.kind() == "list":
                content[key] = []
                for item in stream.items():
                    content[key].append(item)
                    start, length = stream.place()
                    assert json.loads(data[start : start + length]) == item
            else:
                content[key] = stream.value()
    return content


TWICE = "the key 'b' is set twice in one object, in the value that starts here"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans(), st.sampled_from([None, 1]), st.integers(1, 40))
def test_reads_as_json_loads(tmp_path, content, ensure_ascii, indent, block):
    path = write(tmp_path, json.dumps(content, ensure_ascii=ensure_ascii, indent=indent).encode("utf-8", "replace"))
    assert read_all(path, block=block) == json.loads(path.read_bytes())


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_values_that_a_block_cuts(tmp_path, block, bom):
    text = '\n{"a" : [ 123456, -1.5e-7 ,true,null ,"x\\ud83d\\ude00é猫", {"b":[1,2]} ]\n,"c":12345,"d":{},"e":[ ]} \n'
    expected = {"a": [123456, -1.5e-7, True, None, "x😀é猫", {"b": [1, 2]}], "c": 12345, "d": {}, "e": []}
    assert read_all(write(tmp_path, bom + text.encode()), block=block) == expected


def test_lines(tmp_path):
    path = write(tmp_path, '{\n"a": [\n1,\n\n2, 3]}')
    with JsonStream(path, block=1) as stream:
        assert next(stream.members()) == "a"
        assert [(item, stream.line()) for item in stream.items()] == [(1, 3), (2, 5), (3, 5)]


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", ":1: not valid JSON: Expecting value", id="empty"),
        pytest.param(" \n ", ":2: not valid JSON: Expecting value", id="blank"),
        pytest.param("[1]", ": must be an object at the top, got a JSON list", id="list"),
        pytest.param('"a"', ": must be an object at the top, got a JSON str", id="text"),
        pytest.param("-1", ": must be an object at the top, got a JSON number", id="number"),
        pytest.param('{"a": 1', ":1: not valid JSON: Expecting ',' delimiter", id="not closed"),
        pytest.param('{"a":\n[1', ":2: not valid JSON: Expecting ',' delimiter", id="list not closed"),
        pytest.param('{"a": [1 2]}', ":1: not valid JSON: Expecting ',' delimiter", id="no comma"),
        pytest.param('{"a": [1,]}', ":1: not valid JSON: Expecting value", id="comma at the end"),
        pytest.param('{"a": 1,\n}', ":2: not valid JSON: Expecting property name enclosed in double quotes", id="comma after a member"),
        pytest.param('{"a": <b>}', ":1: not valid JSON: Expecting value", id="no value"),
        pytest.param("{a: 1}", ":1: not valid JSON: Expecting property name enclosed in double quotes", id="no quotes"),
        pytest.param('{"a" 1}', ":1: not valid JSON: Expecting ':' delimiter", id="no colon"),
        pytest.param('{"a": [{"b" 1}]}', ":1: not valid JSON: Expecting ':' delimiter", id="no colon below"),
        pytest.param('{"a": 1}\n{', ":2: not valid JSON: Extra data", id="two objects"),
        pytest.param('{"a": "x', ":1: not valid JSON: Unterminated string starting at", id="text not closed"),
        pytest.param('{"a": ["x\n"]}', ":1: not valid JSON: Invalid control character at", id="line end in a text"),
        pytest.param('{"a": ["\\x"]}', ":1: not valid JSON: Invalid \\escape", id="escape"),
        pytest.param('{"a": [tru]}', ":1: not valid JSON: Expecting value", id="half a word"),
        pytest.param('{"a":\n\n[NaN]}', ":3: not valid JSON: NaN is not a number that JSON allows", id="nan"),
        pytest.param('{"a": [{"b": -Infinity}]}', ":1: not valid JSON: -Infinity is not a number that JSON allows", id="infinite"),
        pytest.param('{"a": 1,\n"a": [2]}', ":2: not valid JSON: the key 'a' is set twice in one object", id="key twice"),
        pytest.param('{"a": [{"b": 1,\n"c": ["NaN", NaN]}]}', ":2: not valid JSON: NaN is not a number that JSON allows", id="nan below"),
        pytest.param('{"a": [\n{"b": 1, "c": 2, "b": 3}]}', f":2: not valid JSON: {TWICE}", id="twice below"),
    ],
)
def test_wrong_files(tmp_path, text, message, block):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as raised:
        read_all(path, block=block)
    assert str(raised.value) == f"{path}{message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{"a": "\xff"}', r"a\.json: not valid JSON: not UTF-8 at byte 7: invalid start byte", id="not UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), r"a\.json: not valid JSON: not UTF-8 at byte 0", id="UTF-16"),
        pytest.param(b'{"a": ' + b"[" * 100_000, r"a\.json:1: not valid JSON: nested too deeply", id="deep"),
        pytest.param(b'{"a": ' + b'{"b":' * 100_000, r"a\.json:1: not valid JSON: nested too deeply", id="deep objects"),
        pytest.param(b'{"a": [' + b"9" * 5000 + b"]}", r"a\.json:1: not valid JSON: Exceeds the limit", id="a number of 5000 digits"),
        pytest.param(
            b'{"a": ["' + b"x" * 200_000 + b'"]}', r"a\.json:1: not valid JSON: a value of more than 100,000 characters", id="long"
        ),
    ],
)
def test_hostile_files(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_all(write(tmp_path, content), block=1 << 16, largest_value=100_000)


FLAT = st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9) | TEXTS | st.lists(st.integers(0, 9), max_size=2), max_size=3)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FLAT | VALUES, max_size=12), st.booleans(), st.sampled_from([None, 1]), st.integers(1, 400))
def test_lists_of_plain_objects(tmp_path, items, ensure_ascii, indent, block):
    """They are parsed many at a time, and mixed with others they are not."""
    path = write(tmp_path, json.dumps({"a": items}, ensure_ascii=ensure_ascii, indent=indent).encode("utf-8", "replace"))
    assert read_all(path, block=block) == json.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('{"b": 1, "c": 2, "b": 3}', TWICE),
        ('{"b" : 1, "b" : 3}', TWICE),
        ('{"b": 1 "c": 2}', "Expecting ',' delimiter"),
        ('{"b": NaN}', "NaN is not a number that JSON allows"),
        ('{"b": [1,, 2]}', "Expecting value"),
        ('{"b": tru}', "Expecting value"),
        ('{"b": "1\t2"}', "Invalid control character at"),
        ('{"b": 1}, ', "Expecting value"),
        ('{"b": 1}}', "Expecting ',' delimiter"),
    ],
)
def test_one_wrong_object_among_many_is_named(tmp_path, wrong, message):
    objects = [f'{{"b": {number}}}' for number in range(900)]
    objects[700] = wrong
    path = write(tmp_path, '{"a": [\n' + ",\n".join(objects) + "]}")
    with pytest.raises(InputError) as raised:
        read_all(path)
    assert str(raised.value) == f"{path}:702: not valid JSON: {message}"


def test_a_syntax_error_is_found_before_the_rest_is_read(tmp_path):
    path = write(tmp_path, '{"a": [{"b": 1 "c": 2}, ' + "1," * 3_000_000 + "1]}")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.json:1: not valid JSON: Expecting ',' delimiter"):
        read_all(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6  # the test's own copy of the file and two blocks
    tracemalloc.stop()


def test_whole_files(tmp_path):
    assert load_json(write(tmp_path, ' [1, {"a": "é"}]\n'), largest=100) == [1, {"a": "é"}]
    assert load_json(write(tmp_path, "12"), largest=2) == 12
    with pytest.raises(InputError, match=r"a\.json: has 3 bytes, more than the 2 that are read"):
        load_json(write(tmp_path, "123"), largest=2)
    for text in ("", "[1", "1 2", '{"a": 1, "a": 2}', "[NaN]"):
        with pytest.raises(InputError, match=r"a\.json:1: not valid JSON: "):
            load_json(write(tmp_path, text), largest=100)


def test_single_values():
    assert decode_json('{"a": "é"}'.encode()) == {"a": "é"}
    for data in (b"", b"{", b"1 2", b"\xff", b"[NaN]", b"[" * 100_000):
        with pytest.raises(InputError, match="not valid JSON: "):
            decode_json(data)
