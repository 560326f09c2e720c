"""Rounds kernels to 8 bits so that what a layer computes changes least, instead of each weight by itself.

The error of one output is the rounding error of its weights times what they are multiplied with. Its mean goes into the bias (Nagel et al.
2019, "Data-Free Quantization", section 4.2, with measured means); its variance is a quadratic form of the rounding error and the inputs'
covariance. A depthwise kernel of 3x3 is small enough to try every way of rounding; a larger one is rounded weight by weight, each error
made good by those that follow (Frantar et al. 2022, "GPTQ", section 3).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from export.quantization.statistics import Moments

LIMIT = 127  # of an int8 weight; -128 is not used
_MOST_ENUMERATED = 9  # weights: 512 ways to round
_SHRINKS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8)  # of the scale: the largest weights saturate, the others have finer steps
_DAMPING = 0.01  # share of the mean variance that every input is given on top


class RoundedKernel(NamedTuple):
    """Weights in 8 bits, a scale for every output."""

    values: np.ndarray  # [outputs, K] int8
    scales: np.ndarray  # [outputs] float64
    mean_error: np.ndarray  # [outputs] float64: what the layer computes too little on average


def round_nearest(rows: np.ndarray, mean: np.ndarray) -> RoundedKernel:
    """Every weight to the nearest step, the largest weight at 127.

    Args:
        rows: [outputs, K].
        mean: of what the weights are multiplied with, [K] or [outputs, K].
    """
    scales = _scales(rows)
    values = np.clip(np.rint(rows / scales[:, np.newaxis]), -LIMIT, LIMIT)
    return _rounded(rows, values, scales, mean)


def round_convolution(rows: np.ndarray, moments: Moments) -> RoundedKernel:
    """Weight by weight, strongest input first; the error so far is spread over the weights to come.

    Args:
        rows: [outputs, K].
        moments: [K] and [K, K].
    """
    variances = np.diag(moments.covariance)
    order = np.argsort(-variances, kind="stable")
    upper = _root_of_inverse(moments.covariance[np.ix_(order, order)])
    scales, left = _scales(rows), rows[:, order].astype(np.float64)
    values = np.zeros_like(left)
    for column in range(left.shape[1]):
        values[:, column] = np.clip(np.rint(left[:, column] / scales), -LIMIT, LIMIT)
        error = (left[:, column] - values[:, column] * scales) / upper[column, column]
        left[:, column + 1 :] -= np.outer(error, upper[column, column + 1 :])
    return _rounded(rows, values[:, np.argsort(order)], scales, moments.mean)


def round_depthwise(rows: np.ndarray, moments: Moments) -> RoundedKernel:
    """The best of all ways to round each channel up or down, at several scales; by `round_nearest` where a kernel is larger than 3x3.

    Args:
        rows: [channels, K].
        moments: [channels, K] and [channels, K, K].
    """
    size = rows.shape[1]
    if size > _MOST_ENUMERATED:
        return round_nearest(rows, moments.mean)
    ups = (np.arange(1 << size)[:, np.newaxis] >> np.arange(size)) & 1  # [2^K, K]
    full = _scales(rows)
    values, scales, costs = np.zeros(rows.shape), full.copy(), np.full(len(rows), np.inf)
    for shrink in _SHRINKS:
        tried = full * shrink
        steps = rows / tried[:, np.newaxis]
        candidates = np.clip(np.floor(steps)[:, np.newaxis] + ups, -LIMIT, LIMIT)  # [channels, 2^K, K]
        errors = (candidates - steps[:, np.newaxis]) * tried[:, np.newaxis, np.newaxis]
        cost = ((errors @ moments.covariance) * errors).sum(axis=-1)
        best = cost.argmin(axis=1)
        found = cost[np.arange(len(rows)), best]
        better = found < costs
        values[better], scales[better], costs[better] = candidates[better, best[better]], tried[better], found[better]
    return _rounded(rows, values, scales, moments.mean)


def _root_of_inverse(covariance: np.ndarray) -> np.ndarray:
    """Upper triangle U with U^T U = C^-1, of a covariance made well enough conditioned: inputs may be dead, or equal to one another."""
    mean = np.diag(covariance).mean()
    if not mean > 0.0:  # nothing flows in: any rounding will do
        return np.eye(len(covariance))
    symmetric = 0.5 * (covariance + covariance.T) / mean
    # U is the Cholesky factor of the inverse; from the eigenvalues, which rounding may have made negative, it always exists.
    values, vectors = np.linalg.eigh(symmetric)
    inverse = (vectors / (np.maximum(values, 0.0) + _DAMPING)) @ vectors.T
    return np.linalg.cholesky(0.5 * (inverse + inverse.T)).T


def _scales(rows: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(rows).max(axis=1).astype(np.float64), 1e-12) / LIMIT


def _rounded(rows: np.ndarray, values: np.ndarray, scales: np.ndarray, mean: np.ndarray) -> RoundedKernel:
    errors = rows - values * scales[:, np.newaxis]
    return RoundedKernel(values.astype(np.int8), scales, (errors * mean).sum(axis=1))
