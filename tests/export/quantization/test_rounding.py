"""Rounding on kernels small enough to try everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from export.quantization.rounding import round_convolution, round_depthwise, round_nearest
from export.quantization.statistics import Moments


def covariance_of(random, size):
    """Strongly correlated, as neighbouring pixels are."""
    mixing = random.normal(size=(size, size)) + 3.0
    return mixing @ mixing.T / size


def variance(rows, rounded, covariances):
    errors = rows - rounded.values * rounded.scales[:, np.newaxis]
    return np.einsum("ci,cij,cj->c", errors, covariances, errors)


def test_nearest_by_hand():
    rounded = round_nearest(np.array([[1.27, 0.304, -0.016]]), np.array([1.0, 2.0, 10.0]))
    np.testing.assert_allclose(rounded.scales, [0.01])
    np.testing.assert_array_equal(rounded.values, [[127, 30, -2]])
    np.testing.assert_allclose(rounded.mean_error, [0.004 * 2.0 + 0.004 * 10.0])


@pytest.mark.parametrize("round_kernel", [round_nearest, round_convolution, round_depthwise])
def test_an_output_without_weights(round_kernel):
    moments = Moments(np.zeros(3), np.eye(3))
    if round_kernel is round_depthwise:
        moments = Moments(np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1)))
    rounded = round_kernel(np.zeros((2, 3)), moments.mean if round_kernel is round_nearest else moments)
    np.testing.assert_array_equal(rounded.values, 0)
    assert np.isfinite(rounded.scales).all() and (rounded.scales > 0).all()


def test_depthwise_finds_the_best_of_all_roundings():
    random = np.random.default_rng(0)
    rows, covariances = random.normal(size=(5, 4)), np.stack([covariance_of(random, 4) for _ in range(5)])
    rounded = round_depthwise(rows, Moments(np.zeros((5, 4)), covariances))
    for row, covariance, found in zip(rows, covariances, variance(rows, rounded, covariances), strict=True):
        scale = np.abs(row).max() / 127  # the least that must be reached: everything at the full scale
        every = [
            [int(np.floor(weight / scale)) + step for weight, step in zip(row, steps, strict=True)]
            for steps in itertools.product((0, 1), repeat=4)
        ]
        costs = [(row - np.clip(q, -127, 127) * scale) @ covariance @ (row - np.clip(q, -127, 127) * scale) for q in every]
        assert found <= min(costs) * (1 + 1e-9)


def test_depthwise_of_five_by_five_is_rounded_weight_by_weight():
    rows = np.random.default_rng(0).normal(size=(3, 25))
    moments = Moments(np.ones((3, 25)), np.tile(np.eye(25), (3, 1, 1)))
    np.testing.assert_array_equal(round_depthwise(rows, moments).values, round_nearest(rows, moments.mean).values)


def test_convolution_beats_nearest_where_inputs_are_correlated():
    random = np.random.default_rng(1)
    rows, covariance = random.normal(size=(16, 32)), covariance_of(random, 32)
    together = variance(rows, round_convolution(rows, Moments(np.zeros(32), covariance)), np.tile(covariance, (16, 1, 1)))
    alone = variance(rows, round_nearest(rows, np.zeros(32)), np.tile(covariance, (16, 1, 1)))
    assert together.sum() < 0.3 * alone.sum()


def test_convolution_rounds_to_nearest_where_inputs_are_independent():
    rows = np.random.default_rng(2).normal(size=(4, 6))
    moments = Moments(np.arange(6.0), np.eye(6))
    rounded, nearest = round_convolution(rows, moments), round_nearest(rows, moments.mean)
    np.testing.assert_array_equal(rounded.values, nearest.values)
    np.testing.assert_allclose(rounded.mean_error, nearest.mean_error)


@pytest.mark.parametrize("kind", ["dead", "all dead", "equal", "negative by rounding"])
def test_convolution_of_inputs_without_full_rank(kind):
    random = np.random.default_rng(3)
    samples = random.normal(size=(50, 40))
    if kind == "dead":
        samples[:, ::3] = 0.0
    if kind == "all dead":
        samples[:] = 0.0
    if kind == "equal":
        samples[:, 20:] = samples[:, :20]
    covariance = samples.T @ samples / 50 * 1e6
    if kind == "negative by rounding":
        covariance -= 1e3 * np.eye(40)  # 50 samples of 40 inputs: some eigenvalues are near 0
    rows = random.normal(size=(8, 40))
    rounded = round_convolution(rows, Moments(np.zeros(40), covariance))
    assert np.abs(rows - rounded.values * rounded.scales[:, np.newaxis]).max() < 30 * rounded.scales.max()
    if kind != "negative by rounding":
        every = np.tile(covariance, (8, 1, 1))
        assert variance(rows, rounded, every).sum() <= variance(rows, round_nearest(rows, np.zeros(40)), every).sum()
