"""A pipeline config as a person reads it: the settings that a run will use, defaults resolved. Pure text from protos, no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import Message

from object_detection_ext.builders.warm_start import warm_start_kind
from object_detection_ext.config import Config, old_runtime_settings, settings_done_otherwise, unconfigured_paths
from object_detection_ext.errors import InputError
from object_detection_ext.protos import (
    anchor_generator_pb2,
    image_resizer_pb2,
    input_reader_pb2,
    optimizer_pb2,
    pipeline_pb2,
    post_processing_pb2,
    ssd_pb2,
    train_pb2,
)
from object_detection_ext.text_proto import set_fields


class Line(NamedTuple):
    """One line of the summary."""

    section: str
    label: str
    text: str


def summarize(config: Config) -> list[Line]:
    """The resolved settings of an SSD config, section by section, and notes on what has no effect or is still to be filled in."""
    proto = config.proto
    sections = {
        "network": _network(proto.model.ssd),
        "targets": _targets(proto.model.ssd),
        "losses": _losses(proto.model.ssd),
        "detections": _detections(proto.model.ssd.post_processing),
        "training": _training(proto),
        "evaluation": _evaluation(proto),
        "notes": _notes(config),
    }
    return [Line(section, label, text) for section, lines in sections.items() for label, text in lines]


def format_summary(lines: list[Line]) -> str:
    """The lines as aligned text, one block a section."""
    width = max(len(line.label) for line in lines)
    blocks: dict[str, list[str]] = {}
    for line in lines:
        blocks.setdefault(line.section, []).append(f"  {line.label:<{width}}  {line.text}")
    return "\n".join("\n".join([section, *texts]) for section, texts in blocks.items())


Lines = Iterator[tuple[str, str]]


def _network(ssd: ssd_pb2.Ssd) -> Lines:
    extractor = ssd.feature_extractor
    depth = f"depth multiplier {_number(extractor.depth_multiplier)}, at least {extractor.min_depth} channels"
    stride = f", output stride {extractor.output_stride}" if extractor.output_stride else ""
    pyramid = extractor.WhichOneof("feature_pyramid_oneof")
    levels = f", {pyramid} on levels {getattr(extractor, pyramid).min_level} to {getattr(extractor, pyramid).max_level}" if pyramid else ""
    yield "classes", str(ssd.num_classes)
    yield "feature extractor", f"{extractor.type or '(no type)'}: {depth}{stride}{levels}"
    yield "input", _image_resizer(ssd.image_resizer)
    yield "batch norm", "frozen" if ssd.freeze_batchnorm else "trained"
    predictor = ssd.box_predictor.WhichOneof("box_predictor_oneof")
    if predictor is None:
        yield "box predictor", "(not set)"
    else:
        heads = getattr(ssd.box_predictor, predictor)
        kind = "SSDLite (depthwise separable)" if getattr(heads, "use_depthwise", False) else "full convolutions"
        kernel = getattr(heads, "kernel_size", None)
        yield "box predictor", f"{predictor}: {kind}" + (f", {kernel}x{kernel} kernels" if kernel else "")
    yield "anchors", _anchors(ssd.anchor_generator)


def _image_resizer(resizer: image_resizer_pb2.ImageResizer) -> str:
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        fixed = resizer.fixed_shape_resizer
        method = image_resizer_pb2.ResizeType.Name(fixed.resize_method).lower()
        return f"{fixed.height} x {fixed.width} pixels (height x width), {method}, aspect ratio not kept"
    if kind == "keep_aspect_ratio_resizer":
        keep = resizer.keep_aspect_ratio_resizer
        method = image_resizer_pb2.ResizeType.Name(keep.resize_method).lower()
        padded = f"padded to {keep.max_dimension} x {keep.max_dimension}" if keep.pad_to_max_dimension else "not padded"
        return f"shorter side {keep.min_dimension}, longer at most {keep.max_dimension} pixels, {method}, {padded}"
    return _choice(resizer, "image_resizer_oneof")


def _anchors(generator: anchor_generator_pb2.AnchorGenerator) -> str:
    if generator.WhichOneof("anchor_generator_oneof") != "ssd_anchor_generator":
        return _choice(generator, "anchor_generator_oneof")
    ssd = generator.ssd_anchor_generator
    ratios = ", ".join(_number(ratio) for ratio in ssd.aspect_ratios) or "none"
    if ssd.scales:
        scales = ", ".join(_number(scale) for scale in ssd.scales)
    else:
        scales = f"{_number(ssd.min_scale)} to {_number(ssd.max_scale)}"
    lowest = ", three in the lowest layer" if ssd.reduce_boxes_in_lowest_layer else ""
    return f"ssd_anchor_generator: {ssd.num_layers} layers, scales {scales}, aspect ratios {ratios}{lowest}"


def _targets(ssd: ssd_pb2.Ssd) -> Lines:
    yield "matcher", _choice(ssd.matcher, "matcher_oneof")
    yield "similarity", _choice(ssd.similarity_calculator, "region_similarity")
    yield "box coder", _choice(ssd.box_coder, "box_coder_oneof")


def _losses(ssd: ssd_pb2.Ssd) -> Lines:
    loss = ssd.loss
    classification = _choice(loss.classification_loss, "classification_loss")
    localization = _choice(loss.localization_loss, "localization_loss")
    yield "classification", f"{classification}, weight {_number(loss.classification_weight)}"
    yield "localization", f"{localization}, weight {_number(loss.localization_weight)}"
    yield (
        "hard examples",
        _described("hard_example_miner", loss.hard_example_miner) if loss.HasField("hard_example_miner") else "none mined",
    )
    by_matches = "divided by the number of matches" if ssd.normalize_loss_by_num_matches else "not divided by the number of matches"
    by_code = ", localization by the code size" if ssd.normalize_loc_loss_by_codesize else ""
    yield "normalisation", by_matches + by_code


def _detections(post_processing: post_processing_pb2.PostProcessing) -> Lines:
    nms = post_processing.batch_non_max_suppression
    converter = post_processing_pb2.PostProcessing.ScoreConverter.Name(post_processing.score_converter)
    yield "scores", f"{converter.lower()}, from {_number(nms.score_threshold)}"
    yield "NMS", f"IoU {_number(nms.iou_threshold)}, at most {nms.max_detections_per_class} a class, {nms.max_total_detections} an image"


def _training(proto: pipeline_pb2.TrainEvalPipelineConfig) -> Lines:
    train = proto.train_config
    steps = f"{train.num_steps} steps" if train.num_steps else "without end (num_steps 0)"
    yield "length", f"{steps} of {train.batch_size} images, seed {train.seed}"
    yield "optimizer", _optimizer(train.optimizer)
    for index, step in enumerate(train.data_augmentation_options):
        yield "augmentation" if index == 0 else "", _choice(step, "preprocessing_step")
    if train.gradient_clipping_by_norm > 0:
        yield "gradients", f"clipped to norm {_number(train.gradient_clipping_by_norm)}"
    if proto.graph_rewriter.HasField("quantization"):
        settings = proto.graph_rewriter.quantization
        ranges = ", symmetric ranges" if settings.symmetric else ""
        yield "fake quantisation", f"{settings.weight_bits} bits from step {settings.delay + 1} on{ranges}"
    yield "start", _start(train)
    for label, patterns in (("only trained", train.update_trainable_variables), ("not trained", train.freeze_variables)):
        if patterns:
            yield label, ", ".join(patterns)
    yield "train input", _reader(proto.train_input_reader) + ("" if proto.train_input_reader.shuffle else "; not shuffled")


def _start(train: train_pb2.TrainConfig) -> str:
    if not train.fine_tune_checkpoint:
        return "random weights"
    try:
        kind = warm_start_kind(train)
    except InputError:
        return f"{train.fine_tune_checkpoint} ({train.fine_tune_checkpoint_type or 'no fine_tune_checkpoint_type'})"
    parts = {
        "classification": "the backbone",
        "detection": "backbone and feature-map layers",
        "full": "backbone, feature-map layers and heads",
    }
    return f"{train.fine_tune_checkpoint} ({kind}: {parts[kind]})"


def _optimizer(optimizer: optimizer_pb2.Optimizer) -> str:
    kind = optimizer.WhichOneof("optimizer")
    if kind is None:
        return "(not set)"
    settings = getattr(optimizer, kind)
    name = {"momentum_optimizer": "momentum", "rms_prop_optimizer": "RMSProp", "adam_optimizer": "Adam"}[kind]
    momentum = f" {_number(settings.momentum_optimizer_value)}" if kind != "adam_optimizer" else ""
    average = f", weights averaged with decay {_number(optimizer.moving_average_decay)}" if optimizer.use_moving_average else ""
    return f"{name}{momentum}, learning rate {_learning_rate(settings.learning_rate)}{average}"


def _learning_rate(rate: optimizer_pb2.LearningRate) -> str:
    kind = rate.WhichOneof("learning_rate")
    if kind == "constant_learning_rate":
        return _number(rate.constant_learning_rate.learning_rate)
    if kind == "cosine_decay_learning_rate":
        cosine = rate.cosine_decay_learning_rate
        warm_up = f"from {_number(cosine.warmup_learning_rate)} up in {cosine.warmup_steps} steps, " if cosine.warmup_steps else ""
        hold = f", held for {cosine.hold_base_rate_steps}" if cosine.hold_base_rate_steps else ""
        return f"{warm_up}{_number(cosine.learning_rate_base)}{hold}, cosine to 0 at step {cosine.total_steps}"
    if kind == "manual_step_learning_rate":
        manual = rate.manual_step_learning_rate
        changes = "".join(f", {_number(change.learning_rate)} from step {change.step}" for change in manual.schedule)
        return f"{_number(manual.initial_learning_rate)}{changes}{' (with warm-up)' if manual.warmup else ''}"
    return _choice(rate, "learning_rate")


def _evaluation(proto: pipeline_pb2.TrainEvalPipelineConfig) -> Lines:
    if not proto.eval_input_reader:
        yield "input", "none: no evaluation while training"
        return
    metrics = ", ".join(proto.eval_config.metrics_set) or "coco_detection_metrics"
    averaged = ", of the averaged weights" if proto.eval_config.use_moving_averages else ""
    yield "metrics", f"{metrics}{averaged}"
    yield "batch size", str(proto.eval_config.batch_size)
    for index, reader in enumerate(proto.eval_input_reader):
        yield "input" if index == 0 else "", _reader(reader)


def _reader(reader: input_reader_pb2.InputReader) -> str:
    paths = ", ".join(reader.tf_record_input_reader.input_path) or "(no input_path)"
    return f"{paths}; label map {reader.label_map_path or '(none)'}"


def _notes(config: Config) -> Lines:
    paths = unconfigured_paths(config)
    if paths:
        yield "to be filled in", _listed(config, paths)
    ignored = old_runtime_settings(config)
    if ignored:
        yield "no effect here", _listed(config, ignored)
    for index, text in enumerate(settings_done_otherwise(config)):
        yield "done otherwise" if index == 0 else "", text.replace(f"{config.path}:", "line ")
    for path, earlier, later in config.overwritten:
        yield "set twice", f"{path}: {earlier} and {later}; the second counts"


def _listed(config: Config, paths: list[str]) -> str:
    return ", ".join(f"{path} ({config.place(path)})" for path in paths)


def _choice(message: Message, oneof: str) -> str:
    """The member of a oneof that is set, with the fields that it sets."""
    kind = message.WhichOneof(oneof)
    return "(not set)" if kind is None else _described(kind, getattr(message, kind))


def _described(name: str, message: Message) -> str:
    """`name(field value, ...)`."""
    values = [
        f"{field.path} {_text(field.value, field.descriptor)}" for field in set_fields(message) if field.descriptor.message_type is None
    ]
    return f"{name}({', '.join(values)})" if values else name


def _text(value: object, descriptor: object) -> str:
    enum = getattr(descriptor, "enum_type", None)
    if enum is not None:
        return str(enum.values_by_number[value].name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    """Seven digits are what float32 holds: 0.1, not 0.10000000149."""
    return f"{value:.7g}"
