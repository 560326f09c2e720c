"""Scaled channels: the network computes the same, and every channel uses its tensor's range."""

from __future__ import annotations

import numpy as np
import pytest

from export.quantization.equalization import equalize, find_groups
from export.quantization.fidelity import run_outputs
from export.quantization.network import Network
from export.quantization.statistics import measure_ranges


def test_the_residual_chain_is_one_group(content):
    network = Network(content)
    (group,) = find_groups(network)
    assert len(group.tensors) == 3  # two projections and their sum
    assert [each.output in group.tensors for each in group.producers] == [True, True]
    assert len(group.consumers) == 3  # the expansion and both heads


def test_equal_channels_and_equal_outputs(content, images):
    network = Network(content)
    (group,) = find_groups(network)
    before = np.max([measure_ranges(network, images).channels[tensor] for tensor in group.tensors], axis=0)
    assert before.max() > 1.5 * before.min()
    ranges = measure_ranges(network, images)
    factors = equalize(network, ranges.channels)
    assert set(factors) == set(group.tensors)
    measured, derived = measure_ranges(network, images), ranges.scaled(factors)
    for tensor, (low, high) in measured.tensors.items():
        assert derived.tensors[tensor] == (pytest.approx(low, rel=1e-5, abs=1e-6), pytest.approx(high, rel=1e-5, abs=1e-6))
    after = np.max([measure_ranges(network, images).channels[tensor] for tensor in group.tensors], axis=0)
    np.testing.assert_allclose(after, before.max(), rtol=1e-5)
    for expected, found in zip(run_outputs(content, images), run_outputs(network.content, images), strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_a_dead_channel_stays_dead(content, images):
    network = Network(content)
    (group,) = find_groups(network)
    for producer in group.producers:
        kernel, bias = network.read(producer.kernel), network.read(producer.bias)
        kernel[2], bias[2] = 0.0, 0.0
        network.write(producer.kernel, kernel)
        network.write(producer.bias, bias)
    expected = run_outputs(network.content, images[:2])
    equalize(network, measure_ranges(network, images).channels)
    for one, other in zip(expected[1], run_outputs(network.content, images[:2])[1], strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
