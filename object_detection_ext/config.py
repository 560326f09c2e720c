"""`pipeline.config`: loading, locating, checking and saving. The file format is the API's, text-format `TrainEvalPipelineConfig`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from object_detection_ext.config_support import (
    ALLOWED_VALUES,
    DONE_OTHERWISE,
    FIRST_ONLY,
    NOT_SUPPORTED,
    OLD_RUNTIME_ONLY,
    VALUES_DONE_OTHERWISE,
)
from object_detection_ext.errors import InputError
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.text_proto import SetField, merge_text, read_text, save_text, set_fields
from object_detection_ext.text_scan import Site

EXAMPLE_CONFIG = "configs/ssdlite_mobilenet_v2_035_320x320_bccd.config"
UNCONFIGURED = "PATH_TO_BE_CONFIGURED"  # what published configs hold where a path must be filled in

_OTHER_MODELS = ("faster_rcnn", "center_net", "experimental_model", "context_config")


@dataclass(frozen=True)
class Config:
    """A loaded pipeline configuration that remembers where each field was set.

    Field paths are dotted, with an index on repeated fields: `train_config.data_augmentation_options[0].ssd_random_crop`.
    """

    proto: pipeline_pb2.TrainEvalPipelineConfig  # a message; use `merged` to change it
    path: Path
    sites: Mapping[str, Site]
    overwritten: tuple[tuple[str, Site, Site], ...] = ()  # scalars that one text sets twice: path, earlier place, the place that counts

    def where(self, field_path: str) -> str:
        """`pipeline.config:12` or `--config_override`: where the field, or else the nearest message around it, was set."""
        while field_path:
            if field_path in self.sites:
                return str(self.sites[field_path])
            field_path = field_path.rpartition(".")[0]
        return str(self.path)

    def place(self, field_path: str) -> str:
        """Like `where`, but `line 12` for the file's own fields: for messages that name the file once."""
        where = self.where(field_path)
        return where.replace(f"{self.path}:", "line ") if where.startswith(f"{self.path}:") else where

    def error(self, field_path: str, message: str) -> InputError:
        """An error to raise about one field; `message` goes on after its path: `must be >= 1, got 0`."""
        return InputError(f"{self.where(field_path)}: {field_path} {message}")

    @contextmanager
    def locate_errors(self) -> Iterator[None]:
        """Puts the place in front of errors of builders, which know a field's path but not its file: `model.ssd.num_classes must ...`.

        Raises:
            InputError: In place of an InputError or ValueError whose first word is a path into the config.
        """
        try:
            yield
        except ValueError as error:
            start = re.match(r"([\w.\[\]]+)(?= |:|$)", str(error))
            if start is None or not _is_field_path(start[1]):
                raise
            raise InputError(f"{self.where(start[1])}: {error}") from error

    def text(self) -> str:
        """The effective configuration, overrides included, in text format."""
        return text_format.MessageToString(self.proto, as_utf8=True)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `text()`; the file appears complete or not at all."""
        save_text(self.proto, path)

    def merged(self, text: str, *, source: str) -> Config:
        """A new configuration with text-format `text` merged over this one; errors and `where` call its fields by `source`.

        Scalars are replaced, repeated fields appended, as in the API.
        """
        proto = pipeline_pb2.TrainEvalPipelineConfig()
        proto.CopyFrom(self.proto)
        parsed = merge_text(text, proto, source=source, known=self.sites, explain=_why_unknown, single_line="\n" not in text.strip())
        return Config(proto, self.path, parsed.sites, self.overwritten + parsed.overwritten)


def load_config(path: str | os.PathLike[str], *, override: str = "") -> Config:
    """Reads a pipeline config; `override` (the flag `--config_override`) is text format merged over it.

    Raises:
        OSError: The file cannot be read.
        InputError: It is not a pipeline config; names file, line, the field and the nearest right name.
    """
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    parsed = merge_text(read_text(path), proto, source=str(path), explain=_why_unknown)
    config = Config(proto, Path(path), parsed.sites, parsed.overwritten)
    return config.merged(override, source="--config_override") if override.strip() else config


def check_paths_configured(config: Config, *, for_training: bool = False, for_evaluation: bool = False) -> None:
    """Refuses a config that still holds PATH_TO_BE_CONFIGURED in what the job reads.

    Raises:
        InputError: Lists every such field with its place in one message.
    """
    jobs = [(for_training, ("train_config", "train_input_reader")), (for_evaluation, ("eval_config", "eval_input_reader"))]
    prefixes = tuple(prefix for is_wanted, names in jobs if is_wanted for prefix in names)
    paths = [path for path in unconfigured_paths(config) if prefixes and path.startswith(prefixes)]
    if paths:
        fields = "field still holds" if len(paths) == 1 else "fields still hold"
        listed = ", ".join(f"{path} ({config.place(path)})" for path in paths)
        raise InputError(f"{config.path}: {len(paths)} {fields} {UNCONFIGURED}; fill in {listed}")


def unconfigured_paths(config: Config) -> list[str]:
    """The field paths whose text still holds PATH_TO_BE_CONFIGURED, in the order of the message."""
    return [field.path for field in set_fields(config.proto) if isinstance(field.value, str) and UNCONFIGURED in field.value]


class Unsupported(NamedTuple):
    """One setting that this project does not honour."""

    path: str
    reason: str


def check_supported(config: Config) -> list[str]:
    """Refuses settings that are not honoured.

    Returns:
        The settings that only steered the API's runtime and have no effect here, as `path (file:line)`; to be named once in the log.

    Raises:
        InputError: A field is set to something not supported, or there is no `model.ssd`; names path, place and reason.
    """
    if not config.proto.model.HasField("ssd"):
        raise InputError(
            f"{config.where('model')}: model.ssd is not set: this project trains SSD detectors; {EXAMPLE_CONFIG} is an example"
        )
    problems = list(unsupported_settings(config))
    if len(problems) == 1:
        raise config.error(problems[0].path, f"is not supported: {problems[0].reason}")
    if problems:
        listed = "; ".join(f"{problem.path} ({config.place(problem.path)}): {problem.reason}" for problem in problems)
        raise InputError(f"{config.path}: {len(problems)} settings are not supported: {listed}")
    return [f"{path} ({config.where(path)})" for path in old_runtime_settings(config)]


def unsupported_settings(config: Config) -> Iterator[Unsupported]:
    """Every setting that is not honoured and differs from what has no effect (its default)."""
    refused: list[str] = []
    for field in set_fields(config.proto):
        if any(field.path.startswith(f"{path}.") for path in refused):
            continue  # a refused message is named once, not field by field
        reason = _refusal(field)
        if reason is not None:
            refused.append(field.path)
            yield Unsupported(field.path, reason)


def old_runtime_settings(config: Config) -> list[str]:
    """The field paths that are set, differ from their default and steered only the API's runtime."""
    return [field.path for field in set_fields(config.proto) if _key(field.descriptor) in OLD_RUNTIME_ONLY and not _is_default(field)]


def settings_done_otherwise(config: Config) -> list[str]:
    """The accepted settings in whose place something else happens, as `path (file:line): what`; to be said once in the log."""
    found = []
    for field in set_fields(config.proto):
        key = _key(field.descriptor)
        what = None if _is_default(field) else DONE_OTHERWISE.get(key)
        what = what or VALUES_DONE_OTHERWISE.get(key, {}).get(_value_text(field))
        if what is not None:
            found.append(f"{field.path} ({config.where(field.path)}): {what}")
    return found


def _refusal(field: SetField) -> str | None:
    key = _key(field.descriptor)
    if key in FIRST_ONLY and not field.path.endswith("[0]"):
        return FIRST_ONLY[key]
    if key in NOT_SUPPORTED and not _is_default(field):
        return NOT_SUPPORTED[key]
    if key in ALLOWED_VALUES:
        value = _value_text(field)
        allowed = ALLOWED_VALUES[key]
        if value not in allowed:
            return f"got {value or 'an empty string'}, allowed: {', '.join(allowed)}"
    return None


def _is_field_path(text: str) -> bool:
    """Whether the first two steps of a dotted path exist: tells `model.ssd.depth` from a file `model.pbtxt`."""
    first, _, rest = re.sub(r"\[\d+\]", "", text).partition(".")
    field = pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR.fields_by_name.get(first)
    return field is not None and (not rest or rest.partition(".")[0] in cast(Descriptor, field.message_type).fields_by_name)


def _key(descriptor: FieldDescriptor) -> str:
    """`Message.field`, as the tables of `config_support` name it."""
    return f"{cast(Descriptor, descriptor.containing_type).name}.{descriptor.name}"  # None for extensions only, which we have none of


def _is_default(field: SetField) -> bool:
    """Whether the value is the one that the field has when it is not set; never for messages and elements of lists."""
    return field.descriptor.message_type is None and field.value == field.descriptor.default_value


def _value_text(field: SetField) -> str:
    if field.descriptor.enum_type is not None and isinstance(field.value, int):
        return field.descriptor.enum_type.values_by_number[field.value].name
    return str(field.value)


def _why_unknown(field_path: str) -> str | None:
    message, _, name = field_path.rpartition(".")
    if message not in ("model", "model.ssd") or name not in _OTHER_MODELS:
        return None
    return (
        "is not a model of this project, which trains SSD detectors (model { ssd { feature_extractor { type: ... } } }); "
        f"the nearest is ssd_resnet50_v1_fpn_keras, for phones ssd_mobilenet_v2_fpn_keras; {EXAMPLE_CONFIG} is an example"
    )
