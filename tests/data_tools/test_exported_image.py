from __future__ import annotations

import struct

import numpy as np
import pytest

from data_tools.annotated_image import AnnotatedObject, PixelBox
from data_tools.exported_image import decimal_places, export_image, shortest_float32
from object_detection_ext.errors import InputError


@pytest.mark.parametrize(("side", "places"), [(1, 6), (83, 5), (84, 4), (640, 4), (838, 4), (839, 3), (8192, 3), (10**6, 0), (10**9, 0)])
def test_decimals_that_float32_holds(side, places):
    """The largest side with d decimals has side * 2^-24 < 0.5 * 10^-d, so 838.86 for 4 and 83.886 for 5."""
    assert decimal_places(side) == places


@pytest.mark.parametrize("side", [64, 427, 640, 4000])
def test_places_of_few_decimals_come_back_exactly(side):
    decimals = decimal_places(side)
    edges = np.round(np.random.default_rng(3).uniform(0, side, 500), decimals)
    shares = (edges / side).astype(np.float32).tolist()
    assert [round(share * side, decimals) for share in shares] == edges.tolist()


def test_shortest_numbers():
    assert shortest_float32(2765.148681640625) == 2765.1487  # tinycoco's area 2765.1486500000005, in float32
    assert [shortest_float32(value) for value in (0.0, 1.0, 300.5, 1e30)] == [0, 1, 300.5, 1e30]
    for value in np.random.default_rng(4).uniform(0, 1e6, 200).astype(np.float32).tolist():
        assert struct.pack("<f", shortest_float32(value)) == struct.pack("<f", value)


def test_what_is_not_finite(write_image, tmp_path):
    from data_tools.annotated_image import AnnotatedImage

    write_image(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    for box, area in ((PixelBox(0, 0, float("nan"), 1), 0.0), (PixelBox(0, 0, 1, 1), float("inf"))):
        item = AnnotatedObject("cat", box, "a.record: record 0: object 0 (cat)", area=area)
        with pytest.raises(InputError, match=r"a\.record: record 0: object 0 \(cat\): box or area is not finite"):
            export_image(AnnotatedImage(tmp_path, "a.jpg", "a", None, (item,), "a.record: record 0", encoded=data))
    with pytest.raises(InputError, match=r"a\.record: record 0: "):
        export_image(AnnotatedImage(tmp_path, "a.jpg", "a", None, (), "a.record: record 0", encoded=data[:100]))
