"""What the doctor looks at: a config with its records, record files alone, or an annotated folder. No TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.annotated_image import ReadOptions
from data_tools.checks.input_size import FixedInputSize, InputSize, KeptAspectRatioInputSize, stored_size
from data_tools.checks.label_map import NO_LABEL_MAP, check_label_map
from data_tools.checks.scan import EVAL, TRAIN, RecordSet, Scan, ScanSettings, scan_records, scan_source
from data_tools.format_table import FORMATS
from data_tools.recognition import recognise
from object_detection_ext.config import Config
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.data.record_index import expand_paths
from object_detection_ext.diagnosis.config_checks import EVERYTHING, Job, check_config
from object_detection_ext.diagnosis.flip_checks import check_flips
from object_detection_ext.diagnosis.input_checks import nearest_files, reader_files
from object_detection_ext.diagnosis.schedule_checks import check_steps
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Finding, FindingCollector


@dataclass(frozen=True, eq=False)
class Examination:
    """One run of the doctor."""

    scan: Scan
    record_sets: tuple[RecordSet, ...]  # none of a source folder
    config: Config | None = None


def examine_config(config: Config, *, num_workers: int = 1) -> Examination:
    """Checks a config, its label maps and every record of its readers."""
    findings = FindingCollector()
    findings.add(check_config(config))
    record_sets = open_record_sets(config, findings)
    scan = scan_records(record_sets, scan_settings(config), findings=findings, num_workers=num_workers)
    train = next((each.summary for each in scan.sets if each.summary.name == TRAIN), None)
    if train is not None and train.num_images:
        findings.add(check_steps(config, num_images=train.num_images))
        findings.add(check_flips(config, dict.fromkeys((*train.class_names.values(), *train.class_counts))))
    return Examination(scan, record_sets, config)


def examine_records(patterns: Sequence[str], label_map_path: str | None, *, num_workers: int = 1) -> Examination:
    """Checks every record of some files as one set.

    Raises:
        InputError: the patterns match no file.
    """
    try:
        paths = expand_paths(patterns, where="--records")
    except InputError as error:
        raise InputError(f"{error}; {nearest_files(patterns[0])}") from None
    findings = FindingCollector()
    label_map = _given_label_map(label_map_path, findings)
    record_sets = (RecordSet("records", paths, label_map, label_map_path or ""),)
    return Examination(scan_records(record_sets, ScanSettings(), findings=findings, num_workers=num_workers), record_sets)


def examine_source(
    folder: Path, format_name: str, label_map_path: str | None, *, annotations: Path | None = None, num_workers: int = 1
) -> Examination:
    """Checks every image and annotation of a folder in any format that `data_tools.create_tf_record` reads.

    Args:
        folder: a data set whose layout shows where images and annotations are; with `annotations`, the folder of images.
        format_name: a format's name, or "auto".
        label_map_path: of the classes, if there is one already.
        annotations: file or folder, as the format says.
        num_workers: processes.

    Raises:
        InputError: the folder is laid out as no format, or as more than one, or its annotations cannot be opened at all.
    """
    if format_name not in ("auto", *FORMATS):
        raise InputError(f"--format must be auto or one of {', '.join(sorted(FORMATS))}, got {format_name!r}")
    if not folder.is_dir():
        raise InputError(f"--source {folder} is not a folder; {nearest_files(str(folder))}")
    if annotations is None:
        names = sorted(FORMATS) if format_name == "auto" else [format_name]
        instead = "or give --format and --annotations, and the folder of images as --source"
        name, options = recognise(folder, names, flag="--source", instead=instead)
    else:
        name, options = format_name, ReadOptions(folder, annotations)
    print(f"{folder} is read as {name}: images in {options.images}, annotations in {options.annotations}", file=sys.stderr)
    findings = FindingCollector()
    label_map = _given_label_map(label_map_path, findings)
    source = FORMATS[name].read(options)
    given = {"label_map": label_map, "label_map_path": label_map_path or ""}
    return Examination(scan_source(source, **given, findings=findings, num_workers=num_workers), ())


def open_record_sets(config: Config, findings: FindingCollector, job: Job = EVERYTHING) -> tuple[RecordSet, ...]:
    """The record files of the readers with their label maps; what is wrong with these goes to `findings`."""
    return tuple(_record_sets(config, findings, job))


def scan_settings(config: Config) -> ScanSettings:
    """What a config says that the data are judged by."""
    ssd = config.proto.model.ssd
    nms = ssd.post_processing.batch_non_max_suppression
    return ScanSettings(
        num_classes=ssd.num_classes if ssd.num_classes > 0 else None,
        max_boxes=config.proto.train_input_reader.max_number_of_boxes,
        max_detections=nms.max_total_detections,
        input_size=input_size_of(config),
    )


def input_size_of(config: Config) -> InputSize:
    """What the network sees of an image; the stored size for a resizer that is not supported."""
    resizer = config.proto.model.ssd.image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return FixedInputSize(resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width)
    if kind == "keep_aspect_ratio_resizer":
        keep = resizer.keep_aspect_ratio_resizer
        return KeptAspectRatioInputSize(keep.min_dimension, keep.max_dimension)
    return stored_size


def _given_label_map(path: str | None, findings: FindingCollector) -> LabelMap | None:
    if path is None:
        return None
    label_map, found = check_label_map(path)
    findings.add(found)
    return label_map


def _record_sets(config: Config, findings: FindingCollector, job: Job) -> Iterator[RecordSet]:
    num_classes = config.proto.model.ssd.num_classes
    label_maps: dict[str, LabelMap | None] = {}
    for reader in reader_files(config, trains=job.trains, evaluates=job.evaluates):
        if isinstance(reader, Finding):
            findings.add((reader,))
            continue
        path = reader.label_map_path
        if not path:
            findings.add((NO_LABEL_MAP(config.where(reader.field), f"{reader.field}.label_map_path is not set"),))
        elif path not in label_maps:
            label_maps[path], found = check_label_map(
                path,
                num_classes=num_classes if num_classes > 0 else None,
                field=f"{reader.field}.label_map_path",
                where=config.where(f"{reader.field}.label_map_path"),
            )
            findings.add(found)
        if reader.paths:
            yield RecordSet(TRAIN if reader.name == TRAIN else EVAL, reader.paths, label_maps.get(path), path)
