"""All `.tflite` files of one detector: convert, run, compare with the checkpoint, and only then let them appear."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.convert import TfliteConverter
from export.images import draw_images, eval_records, train_records
from export.model import TrainedModel
from export.output_folder import complete_folder
from export.parity import Find, Found, Parity, found_in, measure_parity, parity_table
from export.postprocess_op import postprocess_op_of
from export.quiet import native_output_hidden
from export.tflite_file import INPUT_NAME, SIGNATURE
from export.tflite_graph import tflite_function
from object_detection_ext.config import UNCONFIGURED, Config
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector

Report = Callable[[str], None]  # takes a line about what goes on


@dataclass(frozen=True)
class TfliteOptions:
    """What to make; see the flags of `export.tflite`."""

    types: Sequence[str] = ("float32", "fp16", "int8")
    max_detections: int = 100
    use_regular_nms: bool = True
    num_calibration_images: int = 200
    num_parity_images: int = 50


class TfliteExport(NamedTuple):
    """What was made."""

    files: dict[str, Path]  # by type, then `labels`
    parity: dict[str, Parity]  # by type; empty when nothing was compared

    def table(self) -> str:
        """Sizes, and how far each file is from the checkpoint, for people."""
        lines = [f"{path}  {path.stat().st_size / 1024:,.0f} KiB" for path in self.files.values()]
        rows = [(self.files[kind].name, parity) for kind, parity in self.parity.items()]
        return "\n".join(lines + ([parity_table(rows)] if rows else []))


def export_tflite(
    model: TrainedModel, output_directory: str | os.PathLike[str], options: TfliteOptions, *, report: Report = lambda line: None
) -> TfliteExport:
    """Writes `model_<type>.tflite` for each type, and `labels.txt`; all of them or none.

    Raises:
        InputError: The label map or records are wrong, there is no image to calibrate or compare with, or the fused post-processing
            cannot serve the model.
        OSError: The label map or records cannot be read, or `output_directory` not written.
    """
    detector = model.detector
    labels = label_lines(model.config, num_classes=detector.num_classes)
    samples = _samples(model, options, report=report)
    with complete_folder(output_directory) as folder:
        files = {}
        for kind, content in _convert(detector, model.config, options, report=report):
            files[kind] = folder / f"model_{kind}.tflite"
            files[kind].write_bytes(content)
        parity = _compare(detector, files, samples, max_detections=options.max_detections)
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    made = {kind: Path(output_directory) / path.name for kind, path in files.items()}
    return TfliteExport(made | {"labels": Path(output_directory) / "labels.txt"}, parity)


def label_lines(config: Config, *, num_classes: int) -> list[str]:
    """The classes' names, index by index; `class_<id>` where the label map has a gap or the config names no map.

    Raises:
        InputError, OSError: The label map is wrong or cannot be read.
    """
    readers = [config.proto.train_input_reader, *config.proto.eval_input_reader]
    path = next((reader.label_map_path for reader in readers if reader.label_map_path not in ("", UNCONFIGURED)), None)
    label_map = load_label_map(path, num_classes=num_classes) if path else LabelMap(())
    return [label_map.name_of(class_id) for class_id in range(1, num_classes + 1)]


def tflite_finder(path: str | os.PathLike[str], detector: SsdDetector) -> Find:
    """Runs a `.tflite` of ours on network inputs [h, w, C] float32; a uint8 file gets their pixels."""
    with native_output_hidden():
        # One thread: with T > 1 of them the runtime's regular suppression leaves out class T (see postprocess_op).
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(SIGNATURE)
    takes_pixels = runner.get_input_details()[INPUT_NAME]["dtype"] == np.uint8

    def find(inputs: np.ndarray) -> Found:
        image = np.clip(np.rint(detector.denormalize(inputs)), 0, 255).astype(np.uint8) if takes_pixels else inputs
        outputs = runner(**{INPUT_NAME: image[np.newaxis]})
        count = int(outputs["num_detections"][0])
        boxes, scores, classes = (outputs[f"detection_{name}"][0, :count] for name in ("boxes", "scores", "classes"))
        return Found(boxes, scores, classes.astype(int))

    return find


def _samples(model: TrainedModel, options: TfliteOptions, *, report: Report) -> list[np.ndarray]:
    """Network inputs to compare on; none where the config's records cannot be read, which conversion does not need."""
    if not options.num_parity_images:
        return []
    try:
        records = eval_records(model.config)
    except InputError as error:
        report(f"not compared with the checkpoint: {error}")
        return []
    report(f"comparing on {records.name} images")
    return list(_network_inputs(model.detector, draw_images(records, options.num_parity_images)))


def _network_inputs(detector: SsdDetector, images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    return (detector.preprocess(tf.constant(image[np.newaxis]))[0][0].numpy() for image in images)


def _convert(detector: SsdDetector, config: Config, options: TfliteOptions, *, report: Report) -> Iterable[tuple[str, bytes]]:
    """Yields each type and its file's content."""
    calibration = train_records(config) if "int8" in options.types else None
    input_range = _input_range(detector) if "int8" in options.types else (0.0, 1.0)
    postprocess = postprocess_op_of(detector, max_detections=options.max_detections, use_regular_nms=options.use_regular_nms)
    converter = TfliteConverter(tflite_function(detector, postprocess), postprocess, input_range)
    for kind in options.types:
        if kind == "int8":
            assert calibration is not None
            images = list(_network_inputs(detector, draw_images(calibration, options.num_calibration_images)))
            if not images:
                raise InputError(
                    f"no image of the train records can be decoded, int8 needs some to calibrate with: {calibration.records.paths[0]}"
                )
            report(f"int8: calibrating on {len(images)} training images")
            yield kind, converter.int8(images, _flat_images(detector), report=lambda line: report(f"  {line}"))
        else:
            report(f"{kind}: converting")
            yield kind, converter.fp16() if kind == "fp16" else converter.float32()


def _flat_images(detector: SsdDetector) -> list[np.ndarray]:
    """Network inputs of one colour each: black, grey and white in every channel."""
    height, width, channels = detector.input_shape
    colours = itertools.product((0.0, 127.5, 255.0), repeat=channels)
    normalized = [np.asarray(detector.normalize(tf.constant(colour))) for colour in colours]
    return [np.broadcast_to(colour, (height, width, channels)).astype(np.float32) for colour in normalized]


def _input_range(detector: SsdDetector) -> tuple[float, float]:
    """What pixels 0 and 255 become in the network's input."""
    black, white = (np.asarray(detector.normalize(tf.fill([detector.input_shape[2]], value))) for value in (0.0, 255.0))
    if np.ptp(black) > 0 or np.ptp(white) > 0:
        raise InputError(
            "int8 takes pixels as they are, but this feature extractor normalises each channel differently; use --types float32,fp16"
        )
    return float(black[0]), float(white[0])


def _compare(detector: SsdDetector, files: dict[str, Path], samples: Sequence[np.ndarray], *, max_detections: int) -> dict[str, Parity]:
    """Runs every file and the detector on the same network inputs."""
    if not samples:
        return {}

    @tf.function(input_signature=[tf.TensorSpec([None, *detector.input_shape], tf.float32)])
    def detect(inputs: tf.Tensor) -> tf.Tensor:
        return detector.postprocess(detector.predict(inputs))

    all_found = (found_in(detect(inputs[np.newaxis])) for inputs in samples)
    expected = [Found(*(rows[:max_detections] for rows in found)) for found in all_found]
    return {kind: measure_parity(expected, tflite_finder(path, detector), samples) for kind, path in files.items()}
