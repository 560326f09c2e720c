from __future__ import annotations

import numpy as np
import pytest

from export.parity import Found, measure_parity, parity_table


def _found(*rows: tuple[list[float], float, int]) -> Found:
    """Rows of box, score, class."""
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return Found(boxes, np.array([score for _, score, _ in rows], np.float32), np.array([label for _, _, label in rows], int))


LEFT, RIGHT = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]


def _measure(expected: Found, other: Found):
    return measure_parity([expected], lambda image: other, [np.zeros([2, 2, 3], np.uint8)])


def test_equal_detections_match_fully() -> None:
    found = _found((LEFT, 0.9, 0), (RIGHT, 0.8, 1))
    parity = _measure(found, found)
    assert (parity.num_images, parity.num_expected, parity.num_matched) == (1, 2, 2)
    assert (parity.max_score_difference, parity.min_iou, parity.mean_iou) == (0.0, 1.0, 1.0)


def test_differences_are_those_of_the_matched_pairs() -> None:
    half = [0.0, 0.0, 0.5, 0.375]  # three quarters of LEFT: IoU 0.75
    parity = _measure(_found((LEFT, 0.9, 0), (RIGHT, 0.8, 1)), _found((RIGHT, 0.7, 1), (half, 0.6, 0)))
    assert parity.num_matched == 2
    assert parity.max_score_difference == pytest.approx(0.3)
    assert parity.mean_score_difference == pytest.approx(0.2)
    assert parity.min_iou == pytest.approx(0.75)
    assert parity.mean_iou == pytest.approx(0.875)


@pytest.mark.parametrize(
    ("other", "matched"),
    [
        pytest.param(_found(), 0, id="nothing found"),
        pytest.param(_found((LEFT, 0.9, 1)), 0, id="another class"),
        pytest.param(_found(([0.0, 0.0, 0.5, 0.2], 0.9, 0)), 0, id="IoU 0.4"),
        pytest.param(_found(([-0.2, -0.1, 0.5, 0.5], 0.9, 0)), 1, id="beyond the image, as the fused operation leaves it"),
    ],
)
def test_what_counts_as_found(other: Found, matched: int) -> None:
    parity = _measure(_found((LEFT, 0.9, 0)), other)
    assert (parity.num_expected, parity.num_matched) == (1, matched)


def test_one_box_answers_for_one_detection_only() -> None:
    parity = _measure(_found((LEFT, 0.9, 0), (LEFT, 0.8, 0)), _found((LEFT, 0.9, 0)))
    assert (parity.num_expected, parity.num_matched) == (2, 1)


def test_weak_detections_are_not_looked_for_beyond_the_best_five() -> None:
    strong = [(LEFT, 0.3, 0)] * 6
    weak = [(LEFT, 0.29, 0)] * 7
    assert _measure(_found(*strong, *weak), _found()).num_expected == 6
    assert _measure(_found(*weak), _found()).num_expected == 5


def test_no_detection_at_all_is_full_agreement() -> None:
    parity = _measure(_found(), _found((LEFT, 0.9, 0)))
    assert (parity.num_expected, parity.num_matched, parity.max_score_difference, parity.min_iou) == (0, 0, 0.0, 1.0)


def test_the_table_has_a_line_a_file() -> None:
    parity = _measure(_found((LEFT, 0.9, 0)), _found((LEFT, 0.8, 0)))
    lines = parity_table([("model_int8.tflite", parity)]).splitlines()
    assert len(lines) == 3
    assert lines[-1].split() == ["model_int8.tflite", "1/1", "0.10000", "0.10000", "1.0000", "1.0000"]
