"""Names, numbers, types and defaults are the API's (`tests/golden/api_protos.json`, dumped from its descriptors); ours start at 1000."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from object_detection_ext.protos import generate, pipeline_pb2, preprocessor_pb2, string_int_label_map_pb2
from object_detection_ext.text_scan import is_repeated

PACKAGE = "object_detection_ext.protos."
OTHER_MODELS = {"ExperimentalModel"}
LEFT_OUT = {"DetectionModel": {"faster_rcnn", "experimental_model", "center_net"}}
OUR_NUMBERS = range(1000, 2000)
TYPE_NAMES = {getattr(FieldDescriptor, name): name[5:].lower() for name in dir(FieldDescriptor) if name.startswith("TYPE_")}


@pytest.fixture(scope="module")
def api(golden) -> dict:
    return json.loads(golden("api_protos.json").read_text())


def _types(descriptor: Descriptor, seen: dict[str, Descriptor | EnumDescriptor]) -> dict[str, Descriptor | EnumDescriptor]:
    """Every message and enum that can be reached, by name without package."""
    if descriptor.full_name not in seen:
        seen[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                _types(field.message_type, seen)
            elif field.enum_type is not None:
                seen[field.enum_type.full_name] = field.enum_type
        for enum in descriptor.enum_types:
            seen[enum.full_name] = enum
    return seen


@pytest.fixture(scope="module")
def ours() -> dict[str, Descriptor | EnumDescriptor]:
    seen: dict[str, Descriptor | EnumDescriptor] = {}
    for root in (pipeline_pb2.TrainEvalPipelineConfig, string_int_label_map_pb2.StringIntLabelMap):
        _types(root.DESCRIPTOR, seen)
    return {name.removeprefix(PACKAGE): descriptor for name, descriptor in seen.items()}


def _described(field: FieldDescriptor) -> list:
    referred = field.message_type or field.enum_type
    default = field.default_value if field.has_default_value else None
    if field.enum_type is not None and default is not None:
        default = field.enum_type.values_by_number[default].name
    return [
        field.number,
        "repeated" if is_repeated(field) else "optional",
        TYPE_NAMES[field.type] if referred is None else referred.full_name.removeprefix(PACKAGE),
        pytest.approx(default, rel=1e-6) if isinstance(default, float) else default,
        field.containing_oneof.name if field.containing_oneof else None,
    ]


def test_every_field_of_the_api_has_its_name_number_type_and_default(api, ours):
    reached = {name for name, descriptor in ours.items() if isinstance(descriptor, Descriptor) or hasattr(descriptor, "fields")}
    assert reached == set(api["messages"]) - OTHER_MODELS
    for name in reached:
        fields = api["messages"][name]
        left_out = LEFT_OUT.get(name, set())
        expected = {field: row for field, row in fields.items() if field not in left_out}
        assert {field.name: _described(field) for field in ours[name].fields if field.number not in OUR_NUMBERS} == expected, name
        assert not {field.name for field in ours[name].fields} & left_out


def test_every_enum_value_of_the_api(api, ours):
    for name, values in api["enums"].items():
        assert {value.name: value.number for value in ours[name].values} == values, name


def test_the_39_preprocessing_steps():
    assert [field.number for field in preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields] == list(range(1, 40))


def test_our_own_fields_are_few_and_numbered_from_1000(ours):
    own = {f"{name}.{field.name}": field.number for name, field in _fields(ours) if field.number >= OUR_NUMBERS.start}
    assert {"SsdFeatureExtractor.output_stride": 1000, "TrainConfig.seed": 1000}.items() <= own.items()


def _fields(types: dict) -> Iterator[tuple[str, FieldDescriptor]]:
    for name, descriptor in types.items():
        for field in getattr(descriptor, "fields", ()):
            yield name, field


needs_compiler = pytest.mark.skipif(
    not (generate.COMPILER_FOLDER / f".{generate.COMPILER}").exists(),
    reason="no protobuf compiler; python -m object_detection_ext.protos.generate --check installs it",
)


@needs_compiler
def test_the_generated_files_are_current():
    assert generate.outdated() == []


@needs_compiler
def test_check_tells_what_is_not_current(monkeypatch, tmp_path: Path, capsys):
    package = tmp_path / "object_detection_ext" / "protos"
    package.mkdir(parents=True)
    for path in generate.PROTOS.glob("*"):
        if path.is_file():
            (package / path.name).write_bytes(path.read_bytes())
    train = package / "train.proto"
    train.write_text(train.read_text().replace("uint32 seed = 1000", "uint32 seed = 1001"))
    (package / "gone_pb2.py").write_text("")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PROTOS", package)
    assert generate.outdated() == ["gone_pb2.py", "train_pb2.py"]
    with pytest.raises(ValueError, match=r"^not current: gone_pb2.py, train_pb2.py; run python -m object_detection_ext.protos.generate$"):
        generate.main(["--check"])
    assert capsys.readouterr().out == ""
