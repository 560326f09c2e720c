"""Post-training quantisation of a network to 8 bits, step by step, with what every step gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

# Not public, but what tf.lite.TFLiteConverter itself calls; it starts from a .tflite, which the public interface does not.
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator

from export.quantization.equalization import equalize
from export.quantization.fidelity import OutputFidelity
from export.quantization.layers import LayerFidelity, rank_layers
from export.quantization.network import Convolution, Network, kernel_of, rows_of
from export.quantization.rounding import RoundedKernel, round_convolution, round_depthwise, round_nearest
from export.quantization.statistics import Moments, Range, Ranges, measure_moments, measure_ranges
from export.quiet import native_output_hidden

MAX_MOMENT_IMAGES = 64
_MOST_CHECKED = 16  # images that are kept apart to measure with
_LEAST_FOR_CHECKS = 16  # with fewer images all serve both ends
AIM = 26.0  # decibels of boxes and scores; source: this project's aim for its published pedestrian network
TRAINING = (
    "quantisation-aware training makes up for it: fine-tune from this checkpoint with graph_rewriter { quantization { delay: 0 } } "
    "(docs/to-the-phone.md)"
)
_BIAS_LIMIT = 2**31 - 1
_SHOWN_LAYERS = 5

_EQUALIZATIONS = {"room for flat images": 0.0, "and channels half equal": 0.5, "and channels equal": 1.0}

Round = Callable[[np.ndarray, Moments], RoundedKernel]


class Step(NamedTuple):
    """A way to quantise and how near it comes: signal to noise of each kind of output, in decibels."""

    name: str
    decibels: Mapping[str, float]  # on images that it has not seen
    flat_decibels: Mapping[str, float]  # on flat images

    @property
    def score(self) -> float:
        """What steps are compared by: the worst kind of output, natural and flat images alike."""
        return min(0.5 * (self.decibels[kind] + self.flat_decibels[kind]) for kind in self.decibels)

    def __str__(self) -> str:
        numbers = "".join(f"  {kind} {value:5.1f} ({self.flat_decibels[kind]:5.1f}) dB" for kind, value in self.decibels.items())
        return f"{self.name:<42}{numbers}"


class QuantizedNetwork(NamedTuple):
    """The result: the best of all steps."""

    content: bytes  # uint8 in, float32 out
    network: Network  # the float network that it stands for: channels of linear tensors may be scaled
    steps: tuple[Step, ...]  # the last is what `content` does
    layers: tuple[LayerFidelity, ...]  # against `network`, on images kept apart; worst first


@dataclass(frozen=True)
class Quantizer:
    """Quantises a float32 network whose outputs are the heads of a detector.

    1. plain: the runtime's own way, ranges as seen, each weight to its nearest step;
    2. flat images count for the ranges, and channels of linear tensors are equalised as far as it helps. Some channels of a trained
       network spike on flat patches (a clear sky at the upper edge) many times over anything else, and calibration images need not
       hold one;
    3. mean errors of rounded weights go into the biases;
    4. kernels are rounded together.

    Attributes:
        images: [H, W, C] float32 each, normalised: calibrates.
        flat_images: the same of one colour each; only for ranges, and not for those of the outputs.
        input_range: what pixels 0 and 255 are in the input, so that the uint8 input takes them as they are.
        kinds: output of the network by its place -> what it is, "boxes" or "scores".
    """

    images: Sequence[np.ndarray]
    flat_images: Sequence[np.ndarray]
    input_range: tuple[float, float]
    kinds: Sequence[str]

    def __call__(self, content: bytes, *, report: Callable[[str], None] = lambda line: None) -> QuantizedNetwork:
        seen, checked = _divide(self.images)
        fidelity = OutputFidelity(content, self.kinds, checked)
        flat_fidelity = OutputFidelity(content, self.kinds, self.flat_images)
        steps: list[_Candidate] = []

        def add(name: str, network: Network, candidate: bytes) -> _Candidate:
            step = Step(name, fidelity.decibels(candidate), flat_fidelity.decibels(candidate))
            report(str(step))
            steps.append(_Candidate(step, network, candidate))
            return steps[-1]

        plain = Network(content)
        seen_ranges = measure_ranges(plain, seen)
        add("plain", plain, self._quantize(plain, seen_ranges))
        ranges = seen_ranges.join(measure_ranges(plain, self.flat_images), without=_output_tensors(plain))
        tried = [add(name, *self._equalized(content, ranges, strength)) for name, strength in _EQUALIZATIONS.items()]
        network, base = max(tried, key=_score)[1:]
        moments = measure_moments(network, seen[:: max(1, len(seen) // MAX_MOMENT_IMAGES)][:MAX_MOMENT_IMAGES])
        for name, rules in _ROUNDINGS.items():
            kernels = {each.output: _rounded(network, each, moments, rules[each.kind]) for each in network.convolutions}
            add(name, network, _with_kernels(base, network, kernels))
        best = max(steps, key=_score)
        layers = rank_layers(best.network.content, best.content, checked)
        for kind, value in best.step.decibels.items():
            if value < AIM:
                report(f"warning: {kind} reach {value:.1f} dB, {AIM:g} dB is the aim; {TRAINING}")
        report("furthest from the float network, of all layers:")
        for layer in layers[:_SHOWN_LAYERS]:
            report(f"  {layer}")
        return QuantizedNetwork(best.content, best.network, (*(each.step for each in steps if each is not best), best.step), layers)

    def _equalized(self, content: bytes, ranges: Ranges, strength: float) -> tuple[Network, bytes]:
        network = Network(content)
        factors = equalize(network, ranges.channels, strength=strength) if strength else {}
        return network, self._quantize(network, ranges.scaled(factors))

    def _quantize(self, network: Network, ranges: Ranges) -> bytes:
        """The runtime's own quantisation with given ranges."""
        content, first = network.content, int(network.graph.inputs[0])
        by_name = {network.name(index): found for index, found in ranges.tensors.items()}
        by_name[network.name(first)] = Range(*self.input_range)
        with native_output_hidden():
            # What it has seen is replaced, but only a calibrated model has places for ranges.
            blank = np.zeros(network.graph.tensors[first].shape, np.float32)
            calibrated = Network(Calibrator(content).calibrate(lambda: iter([[blank]])))
            for tensor in calibrated.graph.tensors:
                found = by_name.get(tensor.name.decode())
                if found is not None and tensor.quantization is not None and tensor.quantization.min is not None:
                    tensor.quantization.min, tensor.quantization.max = (np.array([value], np.float32) for value in found)
            return mlir_quantize(calibrated.content, input_data_type=tf.uint8, output_data_type=tf.float32)


class _Candidate(NamedTuple):
    step: Step
    network: Network
    content: bytes


def _score(candidate: _Candidate) -> float:
    return candidate.step.score


def _divide(images: Sequence[np.ndarray]) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Images to calibrate with and, apart from them, to measure with."""
    if len(images) < _LEAST_FOR_CHECKS:
        return images, images
    every = max(len(images) // _MOST_CHECKED, 4)
    return [image for index, image in enumerate(images) if index % every], images[::every]


def _nearest(rows: np.ndarray, moments: Moments) -> RoundedKernel:
    return round_nearest(rows, moments.mean)


_ROUNDINGS: Mapping[str, Mapping[str, Round]] = {
    "mean errors in the biases": {"depthwise": _nearest, "convolution": _nearest},
    "weights rounded together": {"depthwise": round_depthwise, "convolution": round_convolution},
}


def _rounded(network: Network, convolution: Convolution, moments: Mapping[int, Moments], rule: Round) -> RoundedKernel:
    return rule(rows_of(network.read(convolution.kernel), convolution.kind), moments[convolution.output])


def _output_tensors(network: Network) -> frozenset[int]:
    """The outputs, and what reaches them in another shape only."""
    found = {int(index) for index in network.graph.outputs}
    for operator in reversed(network.graph.operators):
        if network.code(operator) == schema.BuiltinOperator.RESHAPE and int(operator.outputs[0]) in found:
            found.add(int(operator.inputs[0]))
    return frozenset(found)


def _with_kernels(content: bytes, source: Network, kernels: Mapping[int, RoundedKernel]) -> bytes:
    """Puts kernels and corrected biases in place of those that a quantised model has."""
    quantized = Network(content)
    places = zip(_convolution_operators(source), _convolution_operators(quantized), strict=True)
    by_output = {each.output: each for each in source.convolutions}
    for ours, theirs in places:
        convolution = by_output.get(int(ours.outputs[0]))
        inputs, kernel, bias = (quantized.graph.tensors[int(index)] for index in theirs.inputs)
        if convolution is None or kernel.type != schema.TensorType.INT8:
            continue
        rounded = kernels[convolution.output]
        shape = tuple(map(int, source.graph.tensors[convolution.kernel].shape))
        if tuple(map(int, kernel.shape)) != shape:
            raise RuntimeError(f"the quantised model has another order: {kernel.shape} in place of {shape}")
        kernel.quantization.scale = rounded.scales.astype(np.float32)
        _store(quantized, kernel, kernel_of(rounded.values, shape, convolution.kind))
        bias_scales = float(inputs.quantization.scale[0]) * rounded.scales
        bias.quantization.scale = bias_scales.astype(np.float32)
        values = np.rint((source.read(convolution.bias) + rounded.mean_error) / bias_scales)
        _store(quantized, bias, np.clip(values, -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32))
    return quantized.content


def _convolution_operators(network: Network) -> list[schema.OperatorT]:
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    return [operator for operator in network.graph.operators if network.code(operator) in kinds]


def _store(network: Network, tensor: schema.TensorT, values: np.ndarray) -> None:
    network.model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
