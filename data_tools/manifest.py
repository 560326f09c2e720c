"""The manifest of a conversion: what is in its files, and how to tell that they are still what was written."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_tools.conversion_plan import ConversionPlan
from data_tools.conversion_summary import Summary
from data_tools.image_file import find_inside
from data_tools.record_writer import ShardState, file_crc32c
from object_detection_ext.data.label_map import load_label_map
from object_detection_ext.errors import InputError

_VERSION = 1  # of the manifest's own form
_PACKAGE = "object-detection-ext"


def make_manifest(plan: ConversionPlan, summary: Summary, states: Sequence[ShardState], arguments: Mapping[str, object]) -> bytes:
    """The manifest as JSON; files are named relative to its folder."""
    shards = list(zip(plan.layout.shards, plan.layout.split_of_shard, states, strict=True))
    splits = [
        {
            "name": split.name,
            "images": split.num_images,
            "images_without_objects": split.num_negatives,
            "broken_boxes": split.num_broken_boxes,
            "turned_upright": split.num_turned,
            "boxes_as_masks": split.num_box_masks,
            "stored_as_png": dict(sorted(split.converted.items())),  # by the format of the image file
            "objects": dict(sorted(split.objects.items())),
            "shards": [
                {"file": path.name, "records": state.num_records, "bytes": state.num_bytes, "crc32c": f"{state.crc32c:08x}"}
                for path, place, state in shards
                if place == number
            ],
        }
        for number, split in enumerate(summary.splits)
    ]
    content = {
        "manifest_version": _VERSION,
        "tool": {"name": _PACKAGE, "version": tool_version()},
        "arguments": dict(arguments),
        "label_map": {
            "file": plan.label_map_target.name if plan.label_map_target else None,  # None: it was given, and lies elsewhere
            "classes": [{"id": item.id, "name": item.name} for item in plan.label_map.items],
        },
        "splits": splits,
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def tool_version() -> str:
    """The version of this package, "unknown" where it runs without being installed."""
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def verify_manifest(path: Path) -> Iterator[tuple[str, str]]:
    """Compares every record file, and the label map, with the manifest beside them.

    Yields:
        The file's name and what is wrong with it; nothing where it is what was written.

    Raises:
        InputError: the manifest cannot be read, is none, or names a file outside of its folder.
    """
    label_map, shards = _read(path)
    folder = path.parent.resolve()
    for name, check in [(shard["file"], partial(_compare_shard, shard)) for shard in shards] + (
        [(label_map["file"], partial(_compare_label_map, label_map))] if label_map["file"] else []
    ):
        try:
            found = find_inside(folder, name)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        yield name, "is missing" if found is None else check(found)


def _compare_shard(shard: Mapping[str, Any], path: Path) -> str:
    size = path.stat().st_size
    if size != shard["bytes"]:
        return f"has {size:,} bytes, not the {shard['bytes']:,} that were written"
    is_same = f"{file_crc32c(path, size):08x}" == shard["crc32c"]
    return "" if is_same else "has other content than was written (CRC-32C)"


def _compare_label_map(label_map: Mapping[str, Any], path: Path) -> str:
    try:
        found = [{"id": item.id, "name": item.name} for item in load_label_map(path).items]
    except InputError as error:
        return f"cannot be read: {error}"
    return "" if found == label_map["classes"] else "has other classes or ids than the records were written with"


def _read(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The label map and the shards of all splits, checked for their form."""
    try:
        content = json.loads(path.read_bytes())
        label_map = content["label_map"]
        shards = [shard for split in content["splits"] for shard in split["shards"]]
        texts = [shard[key] for shard in shards for key in ("file", "crc32c")]
        numbers = [shard["bytes"] for shard in shards]
        is_whole = bool(shards) and isinstance(label_map["file"], str | None) and isinstance(label_map["classes"], list)
    except (ValueError, RecursionError, KeyError, TypeError, IndexError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a manifest of records: {reason}") from None
    if not is_whole or not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise InputError(f"{path}: not a manifest of records: it must have a label_map with its classes, and splits with their shards")
    return label_map, shards
