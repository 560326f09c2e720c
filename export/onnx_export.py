"""ONNX files of the flavours `raw` and `decoded`: the float32 `.tflite` through tf2onnx, run in onnxruntime before anything appears."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export.convert import TfliteConverter
from export.exported_model import largest_errors
from export.flavours import Flavour, file_stem
from export.model import TrainedModel, float_model
from export.output_folder import complete_folder
from export.postprocessing_file import FILE_NAME, postprocessing_json
from export.quiet import native_output_hidden
from export.tflite_export import Report, label_lines, parity_samples
from export.tflite_file import INPUT_NAME
from export.tflite_graph import tflite_functions
from object_detection_ext.errors import InputError

TOLERANCE: Mapping[str, float] = {"box_encodings": 1e-2, "class_scores": 1e-3, "boxes": 1e-3, "scores": 1e-3}  # largest difference


class OnnxExport(NamedTuple):
    """What was made."""

    files: dict[str, Path]  # by flavour, then `labels` and `postprocessing`
    tensor_errors: dict[str, dict[str, float]]  # flavour -> output -> largest difference from the checkpoint

    def table(self) -> str:
        """Sizes, and how far each file is from the checkpoint, for people."""
        lines = [f"{path}  {path.stat().st_size / 1024:,.0f} KiB" for path in self.files.values()]
        for flavour, errors in self.tensor_errors.items():
            differences = ", ".join(f"{name} {value:.2g} (at most {TOLERANCE[name]:g})" for name, value in errors.items())
            lines.append(f"{self.files[flavour].name}: largest difference from the checkpoint in onnxruntime: {differences}")
        return "\n".join(lines)


def check_onnx_installed() -> None:
    """Raises:
    InputError: tf2onnx or onnxruntime is missing.
    """
    for name in ("tf2onnx", "onnxruntime"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of libraries
                importlib.import_module(name)
        except ImportError as error:
            raise InputError(f"ONNX needs {name}, which cannot be imported ({error}): pip install 'object-detection-ext[onnx]'") from error


def export_onnx(
    model: TrainedModel,
    output_directory: str | os.PathLike[str],
    *,
    flavours: Sequence[Flavour] = ("raw", "decoded"),
    opset: int = 17,
    num_parity_images: int = 20,
    report: Report = lambda line: None,
) -> OnnxExport:
    """Writes `model_<flavour>.onnx`, `labels.txt` and `postprocessing.json`; all of them or none.

    Raises:
        InputError: The label map is wrong, or a file differs from the checkpoint by more than TOLERANCE.
        OSError: The label map cannot be read, or `output_directory` not written.
    """
    model = float_model(model)
    detector = model.detector
    labels = label_lines(model.config, num_classes=detector.num_classes)
    samples = parity_samples(model, num_parity_images, report=report) or [_noise(detector.input_shape)]
    files, errors = {}, {}
    with complete_folder(output_directory) as folder:
        for flavour, function in tflite_functions(detector, flavours, None).items():
            report(f"{flavour}: converting")
            content = TfliteConverter(function, None, (0.0, 1.0), flavour).float32()
            files[flavour] = folder / f"{file_stem(flavour)}.onnx"
            convert_tflite(content, files[flavour], opset=opset)
            errors[flavour] = largest_errors(OnnxModel(files[flavour]), detector, samples, flavour)
            _check(files[flavour].name, errors[flavour])
        files["labels"], files["postprocessing"] = folder / "labels.txt", folder / FILE_NAME
        files["labels"].write_text("".join(f"{label}\n" for label in labels))
        files["postprocessing"].write_text(postprocessing_json(detector))
    return OnnxExport({name: Path(output_directory) / path.name for name, path in files.items()}, errors)


class OnnxModel:
    """An `.onnx` of ours in onnxruntime, on one thread of the CPU."""

    def __init__(self, path: Path) -> None:
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = tuple(output.name for output in self._session.get_outputs())

    def __call__(self, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """Outputs by name for a normalised image [h, w, C] float32."""
        return dict(zip(self.names, self._session.run(None, {INPUT_NAME: inputs[np.newaxis]}), strict=True))


def convert_tflite(content: bytes, path: Path, *, opset: int) -> None:
    """Converts a float32 `.tflite` of builtin operations."""
    source = path.with_suffix(".tflite")
    source.write_bytes(content)
    try:
        with native_output_hidden(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries
            convert: Any = importlib.import_module("tf2onnx.convert")
            logging.getLogger("tf2onnx").setLevel(logging.ERROR)
            convert.from_tflite(str(source), opset=opset, output_path=str(path))
    finally:
        source.unlink()


def _check(name: str, errors: Mapping[str, float]) -> None:
    for output, error in errors.items():
        if not error <= TOLERANCE[output]:
            raise InputError(
                f"{name}: {output} differs from the checkpoint by up to {error:.2g}, more than {TOLERANCE[output]:g}; nothing was written"
            )


def _noise(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.0, 1.0, shape).astype(np.float32)
