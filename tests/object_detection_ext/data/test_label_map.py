from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format

from object_detection_ext.data.label_map import LabelMap, LabelMapItem, load_label_map
from object_detection_ext.errors import InputError
from object_detection_ext.protos import string_int_label_map_pb2


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_map(text: str) -> str:
        Path("map.pbtxt").write_text(text, encoding="utf-8")
        return "map.pbtxt"

    return write_map


CAT_AND_DOG = "item {\n  id: 1\n  name: 'cat'\n  display_name: 'Cat'\n}\nitem {\n  id: 3\n  name: 'dog'\n}\n"


def test_ids_and_names(write):
    label_map = load_label_map(write(CAT_AND_DOG), num_classes=3)
    assert label_map.items == (LabelMapItem(1, "cat", "Cat"), LabelMapItem(3, "dog"))
    assert (label_map.max_id, label_map.name_of(1), label_map.name_of(3)) == (3, "cat", "dog")
    assert label_map.name_of(2) == "class_2", "a gap has the API's name for it"
    assert (label_map.id_of("cat"), label_map.id_of("Cat"), label_map.id_of("dog")) == (1, 1, 3)
    with pytest.raises(InputError, match=r'^class "dgo" is not in the label map \(did you mean "dog"\?\)$'):
        label_map.id_of("dgo")


def test_display_names_where_asked_for_and_present(write):
    label_map = load_label_map(write(CAT_AND_DOG), use_display_name=True)
    assert [label_map.name_of(class_id) for class_id in (1, 3)] == ["Cat", "dog"]


def test_a_name_goes_before_the_display_name_of_another_class(write):
    label_map = load_label_map(write("item { id: 1 name: 'a' display_name: 'b' } item { id: 2 name: 'b' }"))
    assert label_map.id_of("b") == 2


def test_background_is_accepted_and_no_class(write):
    label_map = load_label_map(write("item { id: 0 name: 'background' } item { id: 1 name: 'cat' }"))
    assert label_map.items == (LabelMapItem(1, "cat"),)


def test_published_label_maps(test_data, tmp_path):
    num_items = {"mscoco": (80, 90), "oid_v4": (601, 601), "pascal": (20, 20), "pet": (37, 37), "kitti": (2, 2)}
    for name, (count, max_id) in num_items.items():
        for use_display_name in (False, True):
            path = test_data / "odapi" / "label_maps" / f"{name}_label_map.pbtxt"
            label_map = load_label_map(path, use_display_name=use_display_name, num_classes=max_id)
            assert (len(label_map.items), label_map.max_id) == (count, max_id), name
            label_map.save(tmp_path / "saved.pbtxt")
            assert load_label_map(tmp_path / "saved.pbtxt", use_display_name=use_display_name) == label_map, name


def test_what_is_saved_is_the_apis_message(tmp_path):
    item = LabelMapItem(
        2, "é", "Person", keypoints=((0, "nose"), (1, "eye")), ancestor_ids=(5, 7), descendant_ids=(9,), frequency=2, instance_count=12
    )
    LabelMap((item,)).save(tmp_path / "folder" / "map.pbtxt")
    message = text_format.Parse((tmp_path / "folder" / "map.pbtxt").read_text("utf-8"), string_int_label_map_pb2.StringIntLabelMap())
    expected = string_int_label_map_pb2.StringIntLabelMap()
    text_format.Parse(
        "item { id: 2 name: 'é' display_name: 'Person' keypoints { id: 0 label: 'nose' } keypoints { id: 1 label: 'eye' } "
        "ancestor_ids: [5, 7] descendant_ids: 9 frequency: COMMON instance_count: 12 }",
        expected,
    )
    assert message == expected
    assert load_label_map(tmp_path / "folder" / "map.pbtxt").items == (item,)


def test_names_in_order():
    assert LabelMap.from_names(["b", "a"]).items == (LabelMapItem(1, "b"), LabelMapItem(2, "a"))


@pytest.mark.parametrize("items", [[(0, "a")], [(1, "a"), (1, "b")], [(1, "a"), (2, "a")]], ids=["id 0", "doubled id", "doubled name"])
def test_a_map_that_contradicts_itself_cannot_be_made(items):
    with pytest.raises(ValueError, match="label map"):
        LabelMap(tuple(LabelMapItem(*item) for item in items))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("item {\n  id: 1\n  name: 'a'\n}\nitem {\n  name: 'b'\n}", 'map.pbtxt:5: label map item "b" has no id; ids start at 1'),
        (
            "item {\n  id: 1\n  name: 'a'\n}\nitem {\n  name: 'b'\n  id: 1\n}",
            'map.pbtxt:7: label map item "b" has the id 1 of "a" on line 2',
        ),
        ("item { name: 'a'\n id: -2 }", 'map.pbtxt:2: label map item "a" has the negative id -2; ids start at 1'),
        ("item { name: 'a'\n id: 0 }", 'map.pbtxt:2: label map item "a" has id 0, which is kept for background; ids start at 1'),
        ("item { name: 'a'\n id: 4 }", 'map.pbtxt:2: label map item "a" has id 4, above num_classes 3 of the model'),
        ("item { id: 1 name: 'a' }\nitem { id: 2 name: 'a' }", 'map.pbtxt:2: label map item "a" has the name a of "a" on line 1'),
        ("item { id: 1 }", "map.pbtxt:1: label map item id 1 has no name; expected item { id: 1 name: 'cat' }"),
        ("\nitem {\n}", "map.pbtxt:2: label map item has neither id nor name; expected item { id: 1 name: 'cat' }"),
        ("", "map.pbtxt: the label map has no class; expected item { id: 1 name: 'cat' }, ..."),
        ("item { id: 0 name: 'background' }", "map.pbtxt: the label map has no class; expected item { id: 1 name: 'cat' }, ..."),
        ("id: 1\nname: 'a'", 'map.pbtxt:1: unknown field "id" ("id" belongs in item)'),
        ("items { id: 1 name: 'a' }", 'map.pbtxt:1: unknown field "items" (did you mean "item"?)'),
        ("item {\n id: 1\n nmae: 'a' }", 'map.pbtxt:3: unknown field "nmae" in item[0] (did you mean "name"?)'),
        ("item { id: 1 name: cat }", "map.pbtxt:1: item[0].name must be a string in quotes, got cat"),
        ("item { id: 'cat' }", "map.pbtxt:1: item[0].id must be an integer from -2147483648 to 2147483647, got 'cat'"),
        (
            "item {\n id: 1\n name: 'a'\n id: 2\n name: 'b'\n}",
            'map.pbtxt:4: item[0].id is set twice (first on line 2): is a "}" or "item {" missing between?',
        ),
        ("item {\n id: 1\n name: 'a'\n", 'map.pbtxt:1:6: "{" of item[0] is never closed with "}"'),
        ('[{"id": 1}]', 'map.pbtxt:1:1: expected a field name, got "["'),
    ],
)
def test_errors_name_file_and_line(write, text, error):
    with pytest.raises(InputError) as caught:
        load_label_map(write(text), num_classes=3)
    assert str(caught.value) == error


def test_doubled_display_names_matter_only_where_they_are_used(write):
    path = write("item { id: 1 name: 'a' display_name: 'x' }\nitem { id: 2 name: 'b' display_name: 'x' }")
    assert len(load_label_map(path).items) == 2
    with pytest.raises(InputError, match=r'^map.pbtxt:2: label map item "b" has the display_name x of "a" on line 1$'):
        load_label_map(path, use_display_name=True)


def test_no_tensorflow_is_loaded():
    code = "import sys; import object_detection_ext.data.label_map; sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
