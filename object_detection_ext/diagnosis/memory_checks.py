"""A rough estimate of what a training batch needs in memory, against what the machine has. No TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from object_detection_ext.config import Config
from object_detection_ext.findings import Check, Finding, Severity
from object_detection_ext.protos import image_resizer_pb2, ssd_pb2

BATCH_MEMORY = Check(
    "batch_memory",
    Severity.WARNING,
    "a batch whose activations need more memory than the machine has free (a rough estimate; not on machines with a GPU)",
    "lower batch_size or the input size, or end other programs",
)
CHECKS = (BATCH_MEMORY,)

_PROCESS = 900 << 20  # bytes of a training process with a small network, batch 8 at 160 pixels; docs/performance.md has 1,150 MiB for all

# Bytes that a training step needs for a pixel of the input, at depth multiplier 1. Measured as the peak memory of 4 images against 1,
# 256 to 320 pixels large: MobileNetV2 FPNLite 1,630, MobileDet GPU 1,060, ResNet-50 FPN 2,300, ResNet-101 FPN 3,730, EfficientDet-D1
# 4,070; and of whole trainings, MobileNetV2 1,600 (docs/performance.md). The others follow by their depth and width.
_BYTES_A_PIXEL: tuple[tuple[str, float], ...] = (
    (r"mobiledet|edgetpu", 1100),
    (r"mobilenet", 1700),
    (r"efficientnet-b[01]", 4100),
    (r"efficientnet-b[23]", 6000),
    (r"efficientnet", 10000),
    (r"resnet50", 2400),
    (r"resnet101", 3800),
    (r"resnet152", 5200),
)


def check_memory(config: Config, *, available: int | None = None) -> Iterator[Finding]:
    """Yields where a batch needs more than `available` bytes; by default, what the machine has free."""
    if not config.proto.HasField("train_config") or not config.proto.model.HasField("ssd"):
        return
    free = available if available is not None else available_memory()
    needed = estimate_memory(config.proto.model.ssd, config.proto.train_config.batch_size)
    if free is not None and needed is not None and needed > free:
        batch = config.proto.train_config.batch_size
        message = f"a batch of {batch} needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        yield BATCH_MEMORY(config.where("train_config.batch_size"), message)


def estimate_memory(ssd: ssd_pb2.Ssd, batch_size: int) -> int | None:
    """Bytes of a training process; None for a feature extractor that nothing is known of."""
    extractor = ssd.feature_extractor
    rate = next((rate for pattern, rate in _BYTES_A_PIXEL if re.search(pattern, extractor.type)), None)
    pixels = _input_pixels(ssd.image_resizer)
    if rate is None or pixels is None:
        return None
    return _PROCESS + round(rate * max(extractor.depth_multiplier, 0.25) * pixels * batch_size)


def available_memory() -> int | None:
    """Bytes that programs can have without swapping; None where the system does not say, or trains on a GPU."""
    if Path("/dev/nvidia0").exists():
        return None
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _input_pixels(resizer: image_resizer_pb2.ImageResizer) -> int | None:
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return resizer.fixed_shape_resizer.height * resizer.fixed_shape_resizer.width
    if kind == "keep_aspect_ratio_resizer":
        keep = resizer.keep_aspect_ratio_resizer
        return keep.max_dimension * (keep.max_dimension if keep.pad_to_max_dimension else keep.min_dimension)
    return None
