"""Box coders against the original's numbers (1e-5 relative) and against themselves."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder, MeanStddevBoxCoder, SquareBoxCoder

RTOL, ATOL = 1e-5, 1e-6


@pytest.fixture
def data(golden):
    return np.load(golden("box_coder.npz"))


@pytest.mark.parametrize(
    ("coder", "name"),
    [(FasterRcnnBoxCoder(), "encoded"), (MeanStddevBoxCoder(0.1), "mean_stddev_encoded"), (SquareBoxCoder(), "square_encoded")],
    ids=["faster_rcnn", "mean_stddev", "square"],
)
def test_codes_equal_the_reference(data, traced, coder, name):
    codes = traced(coder.encode, data["boxes"], data["anchors"])
    assert codes.shape[-1] == coder.code_size
    np.testing.assert_allclose(codes, data[name], rtol=RTOL, atol=ATOL)


def test_decoded_boxes_equal_the_reference(data, traced):
    decoded = traced(FasterRcnnBoxCoder().decode, data["rel_codes"], data["anchors"])
    np.testing.assert_allclose(decoded, data["decoded"], rtol=RTOL, atol=ATOL)


def test_boxes_without_area_have_finite_codes(data):
    codes = FasterRcnnBoxCoder().encode(data["degenerate_boxes"], data["degenerate_anchors"])
    np.testing.assert_allclose(codes, data["degenerate_encoded"], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("coder", [FasterRcnnBoxCoder(3.0, 4.0, 5.0, 6.0), MeanStddevBoxCoder(0.1)], ids=["faster_rcnn", "mean_stddev"])
def test_decode_is_the_inverse_of_encode_for_a_batch(data, traced, coder):
    boxes = data["boxes"].reshape(5, 100, 4)
    anchors = data["anchors"][:100]
    np.testing.assert_allclose(traced(coder.decode, traced(coder.encode, boxes, anchors), anchors), boxes, atol=1e-5)


def test_square_coder_decodes_the_square_of_equal_area():
    coder = SquareBoxCoder()
    anchors = np.float32([[0.2, 0.2, 0.4, 0.4]])
    decoded = coder.decode(coder.encode(np.float32([[0.0, 0.0, 0.4, 0.1]]), anchors), anchors)
    np.testing.assert_allclose(decoded, [[0.1, -0.05, 0.3, 0.15]], atol=1e-6)  # centre (0.2, 0.05), side sqrt(0.4 * 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FasterRcnnBoxCoder(x_scale=0.0), "x_scale must be > 0, got 0"),
        (lambda: MeanStddevBoxCoder(-1.0), "stddev must be > 0, got -1"),
        (lambda: SquareBoxCoder(length_scale=float("nan")), "length_scale must be > 0, got nan"),
    ],
)
def test_refuses_scales_that_cannot_be_inverted(make, message):
    with pytest.raises(ValueError, match=message):
        make()
