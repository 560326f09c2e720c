"""Whole networks in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.quantization import int8
from export.quantization.fidelity import PERFECT, OutputFidelity, decibels
from export.quantization.int8 import Quantizer
from export.quantization.network import Network
from export.quantization.tap import Tap

FLAT = [np.full((13, 10, 3), value, np.float32) for value in (-1.0, 0.0, 1.0)]


def quantize(content, images, flat=FLAT):
    return Quantizer(images, flat, (-1.0, 1.0), ["boxes", "scores"])(content)


def test_every_step_is_measured_and_the_last_is_what_is_returned(content, images):
    result = quantize(content, images)
    assert {step.name for step in result.steps} == {
        "plain",
        "room for flat images",
        "and channels half equal",
        "and channels equal",
        "mean errors in the biases",
        "weights rounded together",
    }
    assert all(set(step.decibels) == {"boxes", "scores"} for step in result.steps)
    measured = OutputFidelity(content, ["boxes", "scores"], images[::4]).decibels(result.content)
    assert measured == pytest.approx(dict(result.steps[-1].decibels))
    assert min(measured.values()) > 25.0


def test_the_worst_layers_are_told_and_training_is_offered_below_the_aim(content, images, monkeypatch):
    def report_of(aim):
        monkeypatch.setattr(int8, "AIM", aim)
        lines = []
        return Quantizer(images, FLAT, (-1.0, 1.0), ["boxes", "scores"])(content, report=lines.append), lines

    found, lines = report_of(0.0)
    assert len(found.layers) == 9  # eight convolutions and a sum
    told = lines[lines.index("furthest from the float network, of all layers:") + 1 :]
    assert told == [f"  {layer}" for layer in sorted(found.layers, key=lambda layer: layer.decibels)[:5]]
    _, lines = report_of(150.0)
    assert [line.split(" reach ")[0] for line in lines if "150 dB is the aim; quantisation-aware training" in line] == [
        "warning: boxes",
        "warning: scores",
    ]


def test_layers_are_compared_with_the_float_network_by_hand(content, images):
    found = quantize(content, images)
    reference, quantized = Tap(found.network.content), Tap(found.content)
    head = next(each for each in found.layers if "re_lu" not in each.layer and "add" not in each.layer)
    places = [
        next(int(o.outputs[0]) for o in net.graph.operators if net.name(int(o.outputs[0])).startswith(head.layer) and net.code(o) in (3, 4))
        for net in (found.network, Network(found.content))
    ]
    expected, values = [], []
    for image in images[::4]:
        reference.run(image)
        quantized.run(image)
        expected.append(reference.tensor(places[0]))
        values.append(quantized.tensor(places[1]))
    difference = np.stack(expected).astype(np.float64) - np.stack(values)
    assert head.decibels == pytest.approx(
        10 * np.log10(np.square(np.stack(expected), dtype=np.float64).sum() / np.square(difference).sum())
    )


def test_all_convolutions_are_in_8_bits_and_pixels_go_in_as_they_are(content, images):
    quantized = Network(quantize(content, images).content)
    convolutions = [each for each in quantized.graph.operators if quantized.code(each) in (3, 4)]  # CONV_2D, DEPTHWISE_CONV_2D
    assert len(convolutions) == 8
    for operator in convolutions:
        types = [quantized.graph.tensors[int(index)].type for index in operator.inputs]
        assert types == [schema.TensorType.INT8, schema.TensorType.INT8, schema.TensorType.INT32]
    pixels = quantized.graph.tensors[int(quantized.graph.inputs[0])]
    assert pixels.type == schema.TensorType.UINT8
    assert pixels.quantization.scale[0] == pytest.approx(2 / 255)
    assert pixels.quantization.zeroPoint[0] == 128 or pixels.quantization.zeroPoint[0] == 127


def with_a_channel_that_spikes(content):
    """Channel 0 of the stem sees white only; the first projection makes ten times as much of it as of anything else."""
    network = Network(content)
    stem, depthwise, projection = network.convolutions[:3]
    for each, weights, bias in (
        (stem, np.full((3, 3, 3), 20.0 / 27), -14.0),  # 20 * (mean - 0.7): 6 on white, 0 on noise, whose means are near 0
        (depthwise, np.full((3, 3), 1.0 / 9), 0.0),
    ):
        kernel, biases = network.read(each.kernel), network.read(each.bias)
        if each.kind == "convolution":
            kernel[0] = weights
        else:
            kernel[0, :, :, 0] = weights
        biases[0] = bias
        network.write(each.kernel, kernel)
        network.write(each.bias, biases)
    kernel = network.read(projection.kernel)
    kernel[:, 0, 0, 0] = [0.0, 0.0, 8.0, 0.0, 0.0, 0.0]
    network.write(projection.kernel, kernel)
    for reader in network.convolutions:  # what reads it weighs it down again, so that outputs stay in their ranges
        if reader.kind == "convolution" and network.read(reader.kernel).shape[-1] == 6:
            kernel = network.read(reader.kernel)
            kernel[..., 2] *= 0.02
            network.write(reader.kernel, kernel)
    return network.content


def test_a_channel_that_spikes_on_flat_patches_has_room(content, images):
    spiking, white = with_a_channel_that_spikes(content), [np.ones((13, 10, 3), np.float32)]
    fidelity = OutputFidelity(spiking, ["boxes", "scores"], white)
    with_flat = fidelity.decibels(quantize(spiking, images).content)
    without = fidelity.decibels(quantize(spiking, images, flat=images[:1]).content)
    assert min(with_flat.values()) > min(without.values()) + 10.0


def test_decibels_by_hand():
    assert decibels(100.0, 1.0) == pytest.approx(20.0)
    assert decibels(0.0, 0.0) == PERFECT
