"""Means, covariances and ranges against what the network itself computes."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.quantization.network import Network, rows_of
from export.quantization.statistics import measure_moments, measure_ranges
from export.quantization.tap import Tap


def test_moments_give_mean_and_variance_of_every_convolution(content, images):
    """Where a convolution has no activation, its output's mean and variance follow from those of its windows."""
    network = Network(content)
    moments = measure_moments(network, images)
    tap, outputs = Tap(content), {each.output: [] for each in network.convolutions}
    for image in images:
        tap.run(image)
        for output, values in outputs.items():
            values.append(tap.tensor(output).reshape(-1, tap.tensor(output).shape[-1]))
    linear = [each for each in network.convolutions if each.activation == schema.ActivationFunctionType.NONE]
    assert {each.kind for each in network.convolutions} == {"convolution", "depthwise"}
    assert len(linear) == 4
    for each in linear:
        rows, found = rows_of(network.read(each.kernel), each.kind), np.concatenate(outputs[each.output]).astype(np.float64)
        mean, covariance = moments[each.output]
        np.testing.assert_allclose(rows @ mean + network.read(each.bias), found.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.einsum("oi,ij,oj->o", rows, covariance, rows), found.var(axis=0), rtol=1e-3)


def test_windows_of_activated_convolutions(content, images):
    """Behind ReLU6 only unclipped outputs can be told: one image, all positions, sums of single windows."""
    network = Network(content)
    stem, depthwise = network.convolutions[:2]
    assert (stem.kind, depthwise.kind) == ("convolution", "depthwise")
    assert stem.strides == depthwise.strides == (2, 2)
    moments = measure_moments(network, images[:1])
    padded = np.pad(
        images[0].astype(np.float64), ((1, 1), (0, 1), (0, 0))
    )  # 13 -> 7: one row on both sides; 10 -> 5: one column at the end
    expected = np.mean([padded[y : y + 3, x : x + 3].ravel() for y in range(0, 13, 2) for x in range(0, 10, 2)], axis=0)
    np.testing.assert_allclose(moments[stem.output].mean, expected, atol=1e-6)
    tap = Tap(content)
    tap.run(images[0])
    source = np.pad(tap.tensor(depthwise.source)[0].astype(np.float64), ((1, 1), (1, 1), (0, 0)))  # 7 -> 4, 5 -> 3
    windows = [source[y : y + 3, x : x + 3].reshape(9, -1).T for y in range(0, 7, 2) for x in range(0, 5, 2)]
    np.testing.assert_allclose(moments[depthwise.output].mean, np.mean(windows, axis=0), atol=1e-6)


def test_ranges_hold_all_values_and_zero(content, images):
    network = Network(content)
    ranges = measure_ranges(network, images)
    low, high = ranges.tensors[int(network.graph.inputs[0])]
    assert (low, high) == (min(image.min() for image in images), max(image.max() for image in images))
    for convolution in network.convolutions:
        found = ranges.tensors[convolution.output]
        assert found.low <= 0.0 <= found.high
        assert np.isclose(max(-found.low, found.high), ranges.channels[convolution.output].max())
