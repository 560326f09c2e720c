"""What flows through a network: ranges of its tensors, means and covariances of what its convolutions see."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.quantization.network import Convolution, Network
from export.quantization.tap import Tap

MAX_POSITIONS = 1024  # of one image and layer; neighbours tell little that is new


class Range(NamedTuple):
    """The least and the largest value of a tensor; zero always belongs to it."""

    low: float
    high: float


class Moments(NamedTuple):
    """Of the values that one output of a convolution is made of; K of them: a window of all inputs, or of one channel."""

    mean: np.ndarray  # [K] float64; depthwise: [channels, K]
    covariance: np.ndarray  # [K, K] float64; depthwise: [channels, K, K]


@dataclass(frozen=True)
class Ranges:
    """Of every float tensor that is computed.

    Attributes:
        lows: the least value of each channel, [C], of tensors [1, H, W, C]; of other tensors the least of all, [1].
        highs: likewise the largest.
    """

    lows: Mapping[int, np.ndarray]
    highs: Mapping[int, np.ndarray]

    @cached_property
    def tensors(self) -> Mapping[int, Range]:
        """The range of each whole tensor."""
        return {tensor: Range(min(float(low.min()), 0.0), max(float(self.highs[tensor].max()), 0.0)) for tensor, low in self.lows.items()}

    @cached_property
    def channels(self) -> Mapping[int, np.ndarray]:
        """The largest magnitude of each channel."""
        return {tensor: np.maximum(-low, self.highs[tensor]) for tensor, low in self.lows.items()}

    def join(self, other: Ranges, *, without: Container[int] = ()) -> Ranges:
        """Ranges that hold both, but for the tensors `without`, which stay as they are here."""
        lows = {tensor: low if tensor in without else np.minimum(low, other.lows[tensor]) for tensor, low in self.lows.items()}
        highs = {tensor: high if tensor in without else np.maximum(high, other.highs[tensor]) for tensor, high in self.highs.items()}
        return Ranges(lows, highs)

    def scaled(self, factors: Mapping[int, np.ndarray]) -> Ranges:
        """The ranges after the channels of some tensors were multiplied by positive factors, [C] each."""
        lows = {tensor: low * factors[tensor] if tensor in factors else low for tensor, low in self.lows.items()}
        highs = {tensor: high * factors[tensor] if tensor in factors else high for tensor, high in self.highs.items()}
        return Ranges(lows, highs)


def measure_ranges(network: Network, images: Iterable[np.ndarray]) -> Ranges:
    """Ranges over images [H, W, C] float32, normalised."""
    tap, indices = Tap(network.content), list(_computed(network))
    lows: dict[int, np.ndarray] = {}
    highs: dict[int, np.ndarray] = {}
    for image in images:
        tap.run(image)
        for index in indices:
            value = tap.tensor(index)
            # Row by row of the image first: long runs of numbers side by side.
            planes = value[0] if value.ndim == 4 else value.reshape(1, -1, 1)  # [H, W, C]
            low, high = planes.min(axis=0).min(axis=0), planes.max(axis=0).max(axis=0)
            lows[index] = np.minimum(low, lows[index]) if index in lows else low
            highs[index] = np.maximum(high, highs[index]) if index in highs else high
    return Ranges(lows, highs)


def measure_moments(network: Network, images: Sequence[np.ndarray], *, seed: int = 0) -> Mapping[int, Moments]:
    """By a convolution's output, over images [H, W, C] float32, at up to MAX_POSITIONS positions of each, drawn by `seed`."""
    tap, random = Tap(network.content), np.random.default_rng(seed)
    sums: dict[int, tuple[np.ndarray, np.ndarray, int]] = {}
    for image in images:
        tap.run(image)
        for convolution in network.convolutions:
            windows = _windows(tap.tensor(convolution.source)[0], convolution, network.graph.tensors[convolution.kernel].shape, random)
            first, second = windows.sum(axis=-1), windows @ np.swapaxes(windows, -1, -2)
            before = sums.get(convolution.output, (0.0, 0.0, 0))
            sums[convolution.output] = (before[0] + first, before[1] + second, before[2] + windows.shape[-1])
    return {output: _moments(*totals) for output, totals in sums.items()}


def _moments(first: np.ndarray, second: np.ndarray, count: int) -> Moments:
    mean = first.astype(np.float64) / count
    return Moments(mean, second.astype(np.float64) / count - mean[..., :, np.newaxis] * mean[..., np.newaxis, :])


def _computed(network: Network) -> Iterator[int]:
    yield int(network.graph.inputs[0])
    for operator in network.graph.operators:
        for index in map(int, operator.outputs):
            if network.graph.tensors[index].type == schema.TensorType.FLOAT32:
                yield index


def _windows(source: np.ndarray, convolution: Convolution, kernel_shape: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """What the kernel lies on at some positions: [H, W, C] -> [K, N], K in the kernel's order; depthwise: [C, K, N], contiguous."""
    size = (int(kernel_shape[1]), int(kernel_shape[2]))
    padded = np.pad(source, (*(_padding(source.shape[axis], size[axis], convolution, axis) for axis in (0, 1)), (0, 0)))
    extent = [(size[axis] - 1) * convolution.dilations[axis] + 1 for axis in (0, 1)]
    rows, columns = (np.arange(0, padded.shape[axis] - extent[axis] + 1, convolution.strides[axis]) for axis in (0, 1))
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    if len(places) > MAX_POSITIONS:
        places = places[random.choice(len(places), MAX_POSITIONS, replace=False)]
    offsets = [np.arange(size[axis]) * convolution.dilations[axis] for axis in (0, 1)]
    y = places[:, 0, np.newaxis, np.newaxis] + offsets[0][:, np.newaxis]
    x = places[:, 1, np.newaxis, np.newaxis] + offsets[1]
    windows = padded[y, x]  # [N, height, width, C]
    if convolution.kind == "depthwise":
        return np.ascontiguousarray(windows.reshape(len(places), -1, windows.shape[-1]).transpose(2, 1, 0))
    return windows.reshape(len(places), -1).T


def _padding(length: int, size: int, convolution: Convolution, axis: int) -> tuple[int, int]:
    """TensorFlow's "SAME": the odd pixel goes to the end."""
    if not convolution.is_padded:
        return 0, 0
    stride, extent = convolution.strides[axis], (size - 1) * convolution.dilations[axis] + 1
    total = max((-(-length // stride) - 1) * stride + extent - length, 0)
    return total // 2, total - total // 2
