"""What an Android app needs to run one `.tflite`: the file, Kotlin and Gradle lines filled in from it, an image with the boxes expected.

The templates are in `export/android`; `{{name}}` in them is replaced.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from export.input_metadata import InputMetadata, read_input_metadata
from export.operations import read_model
from export.output_folder import complete_folder
from export.quiet import native_output_hidden
from object_detection_ext.data.bilinear import resize_bilinear
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    from object_detection_ext.config import Config

TEMPLATES = Path(__file__).parent / "android"
_PLACES = {  # template -> where it goes
    "README.md": "README.md",
    "InterpreterDetector.kt": "interpreter/InterpreterDetector.kt",
    "InterpreterGoldenTest.kt": "interpreter/InterpreterGoldenTest.kt",
    "interpreter.gradle.kts": "interpreter/build.gradle.kts",
    "MediaPipeDetector.kt": "mediapipe/MediaPipeDetector.kt",
    "mediapipe.gradle.kts": "mediapipe/build.gradle.kts",
}
_OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
_CUT_RANGE = (0.2, 0.5)  # where the least score of the objects written down may lie
_BOX_TOLERANCE, _SCORE_TOLERANCE = 0.02, 0.05  # a phone's kernels round 8-bit sums in other ways
_MOBILENET = InputMetadata((127.5,), (127.5,))
_PUT = {
    "float32": "input.putFloat((value - MEAN[channel]) / STD[channel])",
    "uint8": "input.put(Math.round(value).coerceIn(0, 255).toByte())",
    "int8": "input.put((Math.round(value).coerceIn(0, 255) - 128).toByte())",
}
_MEANINGS = {
    "float32": "(pixel - {mean}) / {std}",
    "uint8": "the pixels, 0 to 255",
    "int8": "the pixels less 128",
}


class _Interface(NamedTuple):
    """What a file takes and gives."""

    interpreter: Any
    input: dict[str, Any]  # as the interpreter describes it
    outputs: list[int]  # positions of boxes, classes, scores and count
    metadata: InputMetadata

    @property
    def input_type(self) -> str:
        return np.dtype(self.input["dtype"]).name


def kit_of_export(config: Config, files: Mapping[str, Path], output_directory: str | os.PathLike[str]) -> Path:
    """The kit of what `export.tflite` wrote: of its int8 file, else of a float one; the image is the middle one of the evaluation records.

    Raises:
        InputError: as `write_deployment_kit`; or the config's records cannot be read.
    """
    from export.images import draw_images, eval_records

    kind = next(kind for kind in ("int8", "fp16", "dynamic", "float32") if kind in files)
    images = list(draw_images(eval_records(config), 3))
    if not images:
        raise InputError("--deployment_kit: no image of the evaluation records can be read")
    labels = files["labels"].read_text(encoding="utf-8").splitlines()
    return write_deployment_kit(files[kind], labels, images[len(images) // 2], output_directory)


def write_deployment_kit(model: Path, labels: Sequence[str], golden: np.ndarray, output_directory: str | os.PathLike[str]) -> Path:
    """Writes the folder, whole or not at all.

    Args:
        model: a `.tflite` of ours, of flavour `nms`.
        labels: the classes' names, by index.
        golden: [H, W, 3] uint8.
        output_directory: is made.

    Returns:
        The folder.

    Raises:
        InputError: the file is of another kind, or pads its images.
    """
    interface = _interface(model)
    objects = _detect(interface, golden, labels)
    min_score = cut_score([item["score"] for item in objects])
    objects = [item for item in objects if item["score"] >= min_score]
    values = _values(interface, model.name, labels) | {"num_golden": len(objects), "min_score": min_score}
    with complete_folder(output_directory) as folder:
        for template, place in _PLACES.items():
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_text(fill((TEMPLATES / template).read_text(encoding="utf-8"), values), encoding="utf-8")
        assets = folder / "assets"
        assets.mkdir()
        (assets / model.name).write_bytes(model.read_bytes())
        (assets / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        Image.fromarray(golden).save(assets / "golden.png")
        (assets / "golden.json").write_text(json.dumps({"min_score": min_score, "objects": objects}, indent=1) + "\n", encoding="utf-8")
    return Path(output_directory)


def cut_score(scores: Sequence[float]) -> float:
    """A least score that no object is near, so that a small difference does not change how many there are: the middle of the widest gap."""
    low, high = _CUT_RANGE
    stops = sorted([low, high, *(score for score in scores if low < score < high)])
    width, start = max((after - before, before) for before, after in itertools.pairwise(stops))
    return round(start + width / 2, 3)


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replaces each `{{name}}`; an unknown name is a `KeyError`."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: str(values[match[1]]), template)


def _interface(model: Path) -> _Interface:
    from ai_edge_litert.interpreter import Interpreter

    content = read_model(model)
    metadata = read_input_metadata(content, model) or _MOBILENET
    if metadata.fitting is not None:
        raise InputError(f"{model} pads its images (keep_aspect_ratio_resizer); a deployment kit is written for fixed_shape_resizer only")
    with native_output_hidden():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    names = [str(tensor["name"]) for tensor in interpreter.get_output_details()]
    if sorted(names) != sorted(_OUTPUTS):
        raise InputError(f"{model} gives {', '.join(names)}; a deployment kit is written for {', '.join(_OUTPUTS)} (--flavour nms)")
    interface = _Interface(interpreter, interpreter.get_input_details()[0], [names.index(name) for name in _OUTPUTS], metadata)
    if interface.input_type not in _PUT:
        raise InputError(f"{model}: the input must be {', '.join(_PUT)}, got {interface.input_type}")
    return interface


def _values(interface: _Interface, model: str, labels: Sequence[str]) -> dict[str, object]:
    """What the templates are filled with."""
    _, height, width, _ = map(int, interface.input["shape"])
    mean, std = (_per_channel(numbers) for numbers in (interface.metadata.mean or (127.5,), interface.metadata.std or (127.5,)))
    is_float = interface.input_type == "float32"
    lines = [
        f"val {name} = floatArrayOf({', '.join(f'{value:g}f' for value in numbers)})" for name, numbers in (("MEAN", mean), ("STD", std))
    ]
    values: dict[str, object] = {
        "model": model,
        "height": height,
        "width": width,
        "rows": int(interface.interpreter.get_output_details()[interface.outputs[0]]["shape"][1]),
        "num_classes": len(labels),
        "labels": ", ".join(labels),
        "input_name": interface.input["name"],
        "input_type": interface.input_type,
        "input_meaning": _MEANINGS[interface.input_type].format(mean=_listed(mean), std=_listed(std)),
        "bytes_per_value": np.dtype(interface.input["dtype"]).itemsize,
        "put": _PUT[interface.input_type],
        "normalization": f"\n{' ' * 8}".join(lines) if is_float else "// the input takes the pixels as they are",
        "box_tolerance": _BOX_TOLERANCE,
        "score_tolerance": _SCORE_TOLERANCE,
    }
    return values | dict(zip(("boxes_output", "classes_output", "scores_output", "count_output"), interface.outputs, strict=True))


def _detect(interface: _Interface, image: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The objects as `golden.json` has them, best first."""
    shape = interface.input["shape"]
    pixels = resize_bilinear(image, (int(shape[1]), int(shape[2])))
    if interface.input_type == "float32":
        mean, std = (
            np.array(_per_channel(numbers or (127.5,)), np.float32) for numbers in (interface.metadata.mean, interface.metadata.std)
        )
        values = (pixels - mean) / std
    else:
        # As the Kotlin code: halves go up.
        values = (np.clip(np.floor(pixels + 0.5), 0, 255) + np.iinfo(interface.input["dtype"]).min).astype(interface.input["dtype"])
    interpreter = interface.interpreter
    interpreter.set_tensor(interface.input["index"], values[np.newaxis])
    interpreter.invoke()
    details = interpreter.get_output_details()
    boxes, classes, scores, count = (interpreter.get_tensor(details[place]["index"])[0] for place in interface.outputs)
    height, width = image.shape[:2]
    objects = []
    for row in range(int(count)):
        box = np.clip(boxes[row].astype(np.float64), 0, 1) * [height, width, height, width]
        name = labels[int(classes[row])]
        objects.append({"label": name, "score": round(float(scores[row]), 5), "box": [round(side, 2) for side in box.tolist()]})
    return objects


def _per_channel(numbers: Sequence[float]) -> list[float]:
    return [float(number) for number in (numbers if len(numbers) == 3 else [numbers[0]] * 3)]


def _listed(numbers: Sequence[float]) -> str:
    return f"{numbers[0]:g}" if len(set(numbers)) == 1 else f"[{', '.join(f'{number:g}' for number in numbers)}]"
