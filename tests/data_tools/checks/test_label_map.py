"""Label maps that cannot be meant, or that do not go with num_classes."""

from __future__ import annotations

import pytest

from data_tools.checks.label_map import NamedAt, check_label_map, check_names


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("item { name: 'cat' }", 1, '"cat" has no id'),
        ("item { id: 1 }", 1, "id 1 has no name"),
        ("item { id: 0 name: 'cat' }", 1, '"cat" has id 0, which is kept for background'),
        ("item { id: 1 name: 'cat' }\nitem { id: 1 name: 'dog' }", 2, '"dog" has the id 1 of "cat" on line 1'),
        ("item { id: 1 name: 'cat' }\nitem { id: 2 name: 'cat' }", 2, '"cat" has the name cat of "cat" on line 1'),
        ("item {\n id: 1\n name: 'cat'\n id: 2\n name: 'dog'\n}", 4, "is set twice"),
        ("item { id: 1 name: 'cat' ", 1, ""),
        ("", None, "the label map has no class"),
    ],
    ids=["no id", "no name", "id 0", "doubled id", "doubled name", "merged items", "unclosed", "empty"],
)
def test_a_bad_label_map(tmp_path, text, line, message):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    label_map, (finding,) = check_label_map(str(path))
    assert label_map is None
    assert (finding.check, finding.severity) == ("bad_label_map", 2)
    assert finding.where.startswith(f"{path}:{line}" if line else f"{path}")
    assert message in finding.message


def test_a_missing_label_map_names_those_beside_it(tmp_path):
    (tmp_path / "right.pbtxt").touch()
    _, (finding,) = check_label_map(str(tmp_path / "wrong.pbtxt"), field="train_input_reader.label_map_path", where="a.config:3")
    assert (finding.check, finding.where) == ("bad_label_map", "a.config:3")
    assert finding.message.startswith("train_input_reader.label_map_path: there is no file")
    assert finding.advice.endswith("there are right.pbtxt")


def test_gaps_and_background_are_legal(tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text("item { id: 0 name: 'background' } item { id: 1 name: 'cat' }\nitem { id: 90 name: 'toothbrush' }")
    label_map, findings = check_label_map(str(path), num_classes=90)
    assert label_map is not None
    assert findings == ()


@pytest.mark.parametrize(
    ("num_classes", "check", "message", "advice"),
    [
        (1, "id_above_num_classes", 'label map item "dog" has id 2, above num_classes 1 of the model; 1 more are', "set num_classes to 90"),
        (91, "num_classes_above_ids", "num_classes is 91, the largest id is 90", "set num_classes to the largest id of the label map"),
    ],
)
def test_num_classes(tmp_path, num_classes, check, message, advice):
    path = tmp_path / "map.pbtxt"
    path.write_text("item { id: 1 name: 'cat' }\nitem { id: 2 name: 'dog' }\nitem { id: 90 name: 'toothbrush' }")
    _, (finding,) = check_label_map(str(path), num_classes=num_classes)
    assert (finding.check, finding.message) == (check, message)
    assert finding.advice.startswith(advice)


def test_names_that_are_said_alike():
    names = ["traffic light", "Traffic-Light", "traffic_light", "trafficlight", "traffic light", "fire hydrant"]
    (finding,) = check_names(NamedAt(name, f"line {index}") for index, name in enumerate(names))
    assert finding.message == (
        "'traffic light' (line 0), 'Traffic-Light' (line 1), 'traffic_light' (line 2), 'trafficlight' (line 3) differ in spelling only"
    )
