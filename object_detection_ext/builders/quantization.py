"""`GraphRewriter` -> fake quantisation of a network in training."""

from __future__ import annotations

from dataclasses import replace

from object_detection_ext.builders.fields import errors_at
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.models.quantized_network import FakeQuantization, NotQuantizableError
from object_detection_ext.protos import graph_rewriter_pb2

FIELD = "graph_rewriter.quantization"
_BITS = 8


def build_quantization(config: graph_rewriter_pb2.GraphRewriter) -> FakeQuantization | None:
    """What `config` describes; None where it asks for nothing.

    Raises:
        InputError: names the field.
    """
    if not config.HasField("quantization"):
        return None
    settings = config.quantization
    for name in ("weight_bits", "activation_bits"):
        if getattr(settings, name) != _BITS:
            raise InputError(
                f"{FIELD}.{name} must be {_BITS}, as in the files that python -m export.tflite writes, got {getattr(settings, name)}"
            )
    with errors_at(FIELD):
        return FakeQuantization(delay=settings.delay, symmetric=settings.symmetric)


def quantize_detector(detector: SsdDetector, quantization: FakeQuantization, *, feature_extractor: str) -> SsdDetector:
    """The same detector with a network that rounds, its weights fresh.

    Args:
        feature_extractor: its type, for messages.

    Raises:
        InputError: the network cannot be quantised.
    """
    input_range = detector.normalize.limits
    if input_range is None:
        raise InputError(
            f"{FIELD} does not work with the feature extractor {feature_extractor}: it normalises each channel differently, "
            "and 8-bit files take pixels as they are"
        )
    try:
        network = quantization(detector.network, input_range=input_range)
    except NotQuantizableError as error:
        raise InputError(f"{FIELD} does not work with the feature extractor {feature_extractor}: {error}") from error
    return replace(detector, network=network)
