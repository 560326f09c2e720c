"""All `.tflite` files of one detector: convert, run, compare with the checkpoint, and only then let them appear."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from export.certificate.certificate import Certificate
from export.certificate.examination import Examination, Subject
from export.certificate.page import write_certificate_page
from export.certificate.samples import NoImagesError
from export.convert import TfliteConverter
from export.exported_model import ExportedModel, largest_errors, tflite_finder
from export.flavours import OUTPUTS, Flavour, file_stem
from export.images import RecordSource, draw_images, eval_records, train_records
from export.input_type import InputType
from export.metadata import LABELS_FILE, detector_metadata, with_metadata
from export.model import TrainedModel, float_model, quantized_network
from export.multiply_adds import int8_share
from export.output_folder import complete_folder
from export.parity import Found, Parity, found_in, measure_parity, parity_table
from export.postprocess_op import postprocess_op_of
from export.postprocessing_file import FILE_NAME, postprocessing_json
from export.quantization.layers import LayerFidelity
from export.tflite_graph import tflite_functions
from object_detection_ext.config import UNCONFIGURED, Config
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector

Report = Callable[[str], None]  # takes a line about what goes on
_QUANTIZED = ("int8", "int16")


@dataclass(frozen=True)
class TfliteOptions:
    """What to make; see the flags of `export.tflite`."""

    types: Sequence[str] = ("float32", "fp16", "int8")
    max_detections: int = 100
    use_regular_nms: bool = True
    num_calibration_images: int = 200
    num_parity_images: int = 50
    flavours: Sequence[Flavour] = ("nms",)
    input_type: InputType = "uint8"  # of int8 and int16
    certificate: bool = False  # of all files: see `export.certificate`
    allow_divergence: bool = False  # write files that are beyond the certificate's tolerance


class TfliteExport(NamedTuple):
    """What was made. Files are called by their type, with the flavour in front unless it is `nms`: `int8`, `raw_int8`."""

    files: dict[str, Path]  # then `certificate` and `certificate_page`, `labels` and, behind `raw` and `decoded`, `postprocessing`
    parity: dict[str, Parity]  # empty when nothing was compared
    tensor_errors: dict[str, dict[str, float]]  # of `raw` and `decoded` files: output -> largest difference from the checkpoint

    def table(self) -> str:
        """Sizes, and how far each file is from the checkpoint, for people."""
        lines = [f"{path}  {path.stat().st_size / 1024:,.0f} KiB" for path in self.files.values()]
        rows = [(self.files[name].name, parity) for name, parity in self.parity.items()]
        if rows:
            lines.append(parity_table(rows))
        for name, errors in self.tensor_errors.items():
            differences = ", ".join(f"{output} {value:.2g}" for output, value in errors.items())
            lines.append(f"{self.files[name].name}: largest difference from the checkpoint: {differences}")
        return "\n".join(lines)


def export_tflite(
    model: TrainedModel, output_directory: str | os.PathLike[str], options: TfliteOptions, *, report: Report = lambda line: None
) -> TfliteExport:
    """Writes `model_<type>.tflite` for each type and flavour, and `labels.txt`; all of them or none.

    Raises:
        InputError: The label map or records are wrong, there is no image to calibrate or compare with, or the fused post-processing
            cannot serve the model.
        OSError: The label map or records cannot be read, or `output_directory` not written.
    """
    labels = label_lines(model.config, num_classes=model.detector.num_classes)
    with complete_folder(output_directory) as folder, contextlib.ExitStack() as stack:
        examination = _examination(model, options, stack, report=report)
        # The certificate compares on the same images, and more.
        samples = parity_samples(model, options.num_parity_images, report=report) if examination is None else []
        files = {"labels": folder / LABELS_FILE}
        files["labels"].write_text("".join(f"{label}\n" for label in labels))
        if any(flavour != "nms" for flavour in options.flavours):
            files["postprocessing"] = folder / FILE_NAME
            files["postprocessing"].write_text(postprocessing_json(model.detector))
        models, layers = _write_models(model, folder, labels, options, examination, report=report)
        if examination is None:
            parity, errors = _compare(model.detector, models, samples, max_detections=options.max_detections)
        else:
            certificate = examination.certificate(layers=layers)
            parity, errors = _found_by(certificate, models)
            files = _write_certificate(certificate, folder, options, report=report) | files
    return TfliteExport({name: Path(output_directory) / path.name for name, path in (models | files).items()}, parity, errors)


def _examination(model: TrainedModel, options: TfliteOptions, stack: contextlib.ExitStack, *, report: Report) -> Examination | None:
    """What compares the files, where that is asked for and there are images."""
    if not options.certificate:
        return None
    try:
        count = max(options.num_parity_images, 1)
        examination = stack.enter_context(Examination(model, num_images=count, max_detections=options.max_detections))
    except NoImagesError as error:
        report(f"no certificate: {error}")
        return None
    report(f"certificate: comparing on {len(examination.samples.samples)} of {examination.samples.num_records} evaluation images")
    return examination


def _write_models(
    model: TrainedModel,
    folder: Path,
    labels: Sequence[str],
    options: TfliteOptions,
    examination: Examination | None,
    *,
    report: Report,
) -> tuple[dict[str, Path], Sequence[LayerFidelity]]:
    """Writes the models, which are examined while the next are made; returns them and the ranking of the int8 network's layers."""
    files: dict[str, Path] = {}
    layers: Sequence[LayerFidelity] = ()
    for made in _convert(model, options, report=report):
        path = folder / f"{file_stem(made.flavour, made.kind)}.tflite"
        name = model.config.proto.model.ssd.feature_extractor.type
        metadata = detector_metadata(model.detector, labels, name=name, flavour=made.flavour)
        path.write_bytes(with_metadata(made.content, metadata))
        if made.kind == "int8" and not any(other.endswith("int8") for other in files):  # flavours share the network
            report(f"  {int8_share(made.content)}")
            layers = made.layers
        files[_name(made.flavour, made.kind)] = path
        if examination is not None:
            examination.add(Subject(made.flavour, made.kind, path))
    return files, layers


def _found_by(certificate: Certificate, models: Mapping[str, Path]) -> tuple[dict[str, Parity], dict[str, dict[str, float]]]:
    """What `_compare` measures, from the certificate."""
    by_name = {each.name: each for each in certificate.comparisons}
    found = {name: by_name[path.name] for name, path in models.items()}
    errors = {
        name: dict(zip(OUTPUTS[flavour], (found[name].max_box_error, found[name].max_score_error), strict=True))
        for flavour in ("raw", "decoded")
        for name in found
        if name.startswith(f"{flavour}_")
    }
    return {name: each.parity for name, each in found.items()}, errors


def _write_certificate(certificate: Certificate, folder: Path, options: TfliteOptions, *, report: Report) -> dict[str, Path]:
    """Raises InputError where a file is beyond its tolerance, unless that is allowed."""
    report(certificate.table())
    if not options.allow_divergence:
        certificate.check()
    written = {name: folder / f"certificate.{suffix}" for name, suffix in (("certificate", "json"), ("certificate_page", "html"))}
    certificate.write_json(written["certificate"])
    write_certificate_page(certificate, written["certificate_page"])
    return written


def _name(flavour: Flavour, kind: str) -> str:
    return kind if flavour == "nms" else f"{flavour}_{kind}"


def label_lines(config: Config, *, num_classes: int) -> list[str]:
    """The classes' names, index by index; `class_<id>` where the label map has a gap or the config names no map.

    Raises:
        InputError, OSError: The label map is wrong or cannot be read.
    """
    readers = [config.proto.train_input_reader, *config.proto.eval_input_reader]
    path = next((reader.label_map_path for reader in readers if reader.label_map_path not in ("", UNCONFIGURED)), None)
    label_map = load_label_map(path, num_classes=num_classes) if path else LabelMap(())
    return [label_map.name_of(class_id) for class_id in range(1, num_classes + 1)]


def parity_samples(model: TrainedModel, count: int, *, report: Report) -> list[np.ndarray]:
    """Network inputs to compare on; none where the config's records cannot be read, which conversion does not need."""
    if not count:
        return []
    try:
        records = eval_records(model.config)
    except InputError as error:
        report(f"not compared with the checkpoint: {error}")
        return []
    report(f"comparing on {records.name} images")
    return list(_network_inputs(model.detector, draw_images(records, count)))


def _network_inputs(detector: SsdDetector, images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    return (detector.preprocess(tf.constant(image[np.newaxis]))[0][0].numpy() for image in images)


class _Converted(NamedTuple):
    flavour: Flavour
    kind: str
    content: bytes
    layers: tuple[LayerFidelity, ...]  # of a network quantised here


def _convert(model: TrainedModel, options: TfliteOptions, *, report: Report) -> Iterator[_Converted]:
    """Yields each file. All but int8 are made of the float network."""
    detector = float_model(model).detector
    is_quantizing = any(kind in _QUANTIZED for kind in options.types)
    calibrated = [kind for kind in options.types if kind == "int16" or (kind == "int8" and not model.is_fake_quantized)]
    calibration = train_records(model.config) if calibrated else None
    input_range = _input_range(detector) if is_quantizing else (0.0, 1.0)
    trained = quantized_network(model) if model.is_fake_quantized and "int8" in options.types else None
    converters = _converters(detector, options, input_range, trained)
    images: list[np.ndarray] = []
    for kind in options.types:
        if kind in calibrated and calibration is not None and not images:
            images = _calibration_images(detector, calibration, options.num_calibration_images)
        how = f"calibrating on {len(images)} training images" if kind in calibrated else "converting"
        report(f"{kind}: {'ranges as trained' if kind in _QUANTIZED and kind not in calibrated else how}")
        for flavour, converter in converters.items():
            if kind in _QUANTIZED:
                quantize = converter.int8 if kind == "int8" else converter.int16
                content = quantize(images, _flat_images(detector), report=lambda line: report(f"  {line}"))
            else:
                content = {"float32": converter.float32, "fp16": converter.fp16, "dynamic": converter.dynamic}[kind]()
            yield _Converted(flavour, kind, content, converter.layers.get(kind, ()))


def _converters(
    detector: SsdDetector, options: TfliteOptions, input_range: tuple[float, float], trained: tf_keras.Model | None
) -> Mapping[Flavour, TfliteConverter]:
    """One for each flavour; they share what they convert."""
    postprocess = None
    if "nms" in options.flavours:
        postprocess = postprocess_op_of(detector, max_detections=options.max_detections, use_regular_nms=options.use_regular_nms)
    bodies: dict[str, bytes] = {}
    layers: dict[str, tuple[LayerFidelity, ...]] = {}
    return {
        flavour: TfliteConverter(
            function, postprocess if flavour == "nms" else None, input_range, flavour, options.input_type, bodies, trained, layers
        )
        for flavour, function in tflite_functions(detector, options.flavours, postprocess).items()
    }


def _calibration_images(detector: SsdDetector, records: RecordSource, count: int) -> list[np.ndarray]:
    images = list(_network_inputs(detector, draw_images(records, count)))
    if not images:
        raise InputError(
            f"no image of the train records can be decoded, quantisation needs some to calibrate with: {records.records.paths[0]}"
        )
    return images


def _flat_images(detector: SsdDetector) -> list[np.ndarray]:
    """Network inputs of one colour each: black, grey and white in every channel."""
    height, width, channels = detector.input_shape
    colours = itertools.product((0.0, 127.5, 255.0), repeat=channels)
    normalized = [np.asarray(detector.normalize(tf.constant(colour))) for colour in colours]
    return [np.broadcast_to(colour, (height, width, channels)).astype(np.float32) for colour in normalized]


def _input_range(detector: SsdDetector) -> tuple[float, float]:
    """What pixels 0 and 255 become in the network's input."""
    limits = detector.normalize.limits
    if limits is None:
        raise InputError(
            "quantised files take pixels as they are, but this feature extractor normalises each channel differently; "
            "use --types float32,fp16,dynamic"
        )
    return limits


def _compare(
    detector: SsdDetector, files: Mapping[str, Path], samples: Sequence[np.ndarray], *, max_detections: int
) -> tuple[dict[str, Parity], dict[str, dict[str, float]]]:
    """Runs every file and the detector on the same network inputs."""
    if not samples:
        return {}, {}

    @tf.function(input_signature=[tf.TensorSpec([None, *detector.input_shape], tf.float32)])
    def detect(inputs: tf.Tensor) -> tf.Tensor:
        return detector.postprocess(detector.predict(inputs))

    all_found = (found_in(detect(inputs[np.newaxis])) for inputs in samples)
    expected = [Found(*(rows[:max_detections] for rows in found)) for found in all_found]
    parity = {name: measure_parity(expected, tflite_finder(path, detector), samples) for name, path in files.items()}
    models = {name: ExportedModel(path, detector) for name, path in files.items()}
    errors = {
        name: largest_errors(exported, detector, samples, exported.flavour)
        for name, exported in models.items()
        if exported.flavour != "nms"
    }
    return parity, errors
