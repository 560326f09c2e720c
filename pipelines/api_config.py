"""A pipeline.config of ours as the original API reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import Message

from object_detection_ext.config import Config
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.text_scan import is_repeated

_FIRST_OWN_NUMBER = 1000  # the API's fields have lower numbers
_KERAS = "_keras"  # how the API's TF 2 feature extractors end; names without it are those of TF 1


class ApiConfig(NamedTuple):
    """A config for the API, and what is not as before: `train_config.seed is left out: ...`."""

    config: Config
    changes: tuple[str, ...]


def as_api_config(config: Config) -> ApiConfig:
    """Takes away the fields that only this project has, and names the feature extractor as TF 2 does.

    Raises:
        InputError: one of these fields makes another network of it.
    """
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    proto.CopyFrom(config.proto)
    changes = []
    for path in _clear_own(proto, ""):
        if path.startswith("model."):
            raise config.error(path, "is this project's own: the API builds another network without it")
        changes.append(f"{path} is left out: the API does not know it")
    extractor = proto.model.ssd.feature_extractor
    if not extractor.type.endswith(_KERAS):
        changes.append(f"model.ssd.feature_extractor.type is {extractor.type}{_KERAS}: what {extractor.type} is called in TF 2")
        extractor.type += _KERAS
    return ApiConfig(Config(proto, config.path, config.sites), tuple(changes))


def _clear_own(message: Message, path: str) -> Iterator[str]:
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        if field.number >= _FIRST_OWN_NUMBER:
            message.ClearField(field.name)
            yield name
        elif field.message_type is not None:
            for item in value if is_repeated(field) else [value]:
                yield from _clear_own(item, name)
