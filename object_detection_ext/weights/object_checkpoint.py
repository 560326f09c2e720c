"""TF 2 object-based checkpoints: the API's, ours, and Keras models'.

Such a checkpoint stores each tensor under its key, the path of attributes that led to it, and beside them a graph of the objects with every
variable's own name. Names say more: keys count layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from object_detection_ext.errors import InputError
from object_detection_ext.weights.api_names import BACKBONE, without_scope
from object_detection_ext.weights.checkpoint_file import OBJECT_GRAPH, VALUE, CheckpointFile, open_checkpoint_file
from object_detection_ext.weights.names import part_of
from object_detection_ext.weights.source import Scheme, WeightSource

_SLOT = "/.OPTIMIZER_SLOT/"
AVERAGE = f"{_SLOT}optimizer/average"
_NOT_WEIGHTS = ("optimizer", "_optimizer", "save_counter", "step", "global_step")  # first attribute of a key

_DETECTOR = re.compile(r"(?:\w+/)*?(?=_feature_extractor/|_box_predictor/)")  # the way to the API's detection model
_BACKBONE_ROOT = "feature_extractor/"  # where the API keeps a backbone that it trained or converted as a classifier


class _Weight(NamedTuple):
    """A stored weight."""

    key: str  # without `VALUE`
    name: str  # without `:0`; empty where the file has none


class _Content(NamedTuple):
    owner: str
    scheme: Scheme
    keys: Mapping[str, str]  # name under the scheme -> key without `VALUE`


def open_object_checkpoint(prefix: str, *, use_moving_averages: bool = False, what: str = "TF 2 checkpoint") -> WeightSource:
    """Opens an object-based checkpoint. Whose it is follows from its content.

    Ours and the API's name variables as the network does, the API's without the feature extractor's scope. Where a file of the API lacks
    a name, or has one twice, its variables go by their keys (scheme "api_graph").

    Args:
        prefix: `model_dir/ckpt-1200`.
        use_moving_averages: the averages of weights that have one, instead of the weights.
        what: kind of file, for messages.

    Raises:
        InputError: A file is missing or damaged, it is no object-based checkpoint, holds no weights, or no averages where they are
            asked for.
    """
    file = open_checkpoint_file(prefix)
    if not file.is_object_based:
        raise InputError(f"{prefix} is no object-based checkpoint of TF 2: it has no {OBJECT_GRAPH}")
    weights = list(_weights(file))
    if not weights:
        raise InputError(f"{prefix} holds no weights, only {', '.join(sorted(file.shapes)[:3])}")
    content = _content(weights, has_step=file.step is not None)
    keys = {name: key + VALUE for name, key in content.keys.items()}
    if use_moving_averages:
        keys = _averaged(keys, file)
    return WeightSource(
        path=prefix,
        kind=f"{what} of {content.owner}",
        scheme=content.scheme,
        shapes={name: file.shapes[key] for name, key in keys.items()},
        read=lambda name: file.read(keys[name]),
        step=file.step,
    )


def _weights(file: CheckpointFile) -> Iterator[_Weight]:
    """What is no step, counter, optimizer or slot of one, in the order of the object graph."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(cast(Any, file.read(OBJECT_GRAPH)))  # bytes
    names = {attribute.checkpoint_key: attribute.full_name for node in graph.nodes for attribute in node.attributes}
    for key, name in names.items():
        is_weight = key.endswith(VALUE) and _SLOT not in key and key.partition("/")[0] not in _NOT_WEIGHTS
        if is_weight and key in file.shapes:
            yield _Weight(key.removesuffix(VALUE), name.partition(":")[0])


def _content(weights: Sequence[_Weight], *, has_step: bool) -> _Content:
    names = {without_scope(weight.name): weight.key for weight in weights if weight.name}
    is_named = len(names) == len(weights)
    keys = {_key_of_api(weight.key): weight.key for weight in weights}
    has_heads = any(part_of(name) == "heads" for name in names)
    by_api = any(_DETECTOR.match(weight.key) or weight.key.startswith(_BACKBONE_ROOT) for weight in weights)
    is_scoped = any(without_scope(weight.name) != weight.name or weight.name.endswith("/pointwise_kernel") for weight in weights)
    if by_api or (has_heads and is_scoped):
        owner = "the Object Detection API" if has_heads else "a backbone of the Object Detection API"
        return _Content(owner, "api", names) if is_named else _Content(owner, "api_graph", keys)
    if has_heads or (has_step and any(weight.key.startswith("model/") for weight in weights)):
        return _Content("this project", "ours", names)
    return _Content("a Keras model", "keras", names)


def _key_of_api(key: str) -> str:
    """The path from the API's detection model, where there is one on the way."""
    if key.startswith(_BACKBONE_ROOT):
        return f"{BACKBONE}/{key.removeprefix(_BACKBONE_ROOT)}"
    match = _DETECTOR.match(key)
    return key[match.end() :] if match else key


def _averaged(keys: Mapping[str, str], file: CheckpointFile) -> dict[str, str]:
    averages = {name: key.removesuffix(VALUE) + AVERAGE + VALUE for name, key in keys.items()}
    if not any(key in file.shapes for key in averages.values()):
        raise InputError(
            f"{file.prefix} holds no moving averages: it was trained with train_config.optimizer.use_moving_average: false, "
            "so eval_config.use_moving_averages must be false too"
        )
    return {name: averages[name] if averages[name] in file.shapes else key for name, key in keys.items()}
