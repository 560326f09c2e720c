"""The worked example of docs/extending.md works as it stands there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.feature_extractor import FEATURE_EXTRACTORS
from object_detection_ext.config import load_config

ROOT = Path(__file__).resolve().parent.parent


def test_the_example_builds_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    monkeypatch.setitem(FEATURE_EXTRACTORS, "my_plain_net", None)  # so that it is taken out again after the test
    del FEATURE_EXTRACTORS["my_plain_net"]
    (tmp_path / "train_mine.py").write_text(code)
    runpy.run_path(str(tmp_path / "train_mine.py"), run_name="train_mine")
    override = 'model { ssd { feature_extractor { type: "my_plain_net" depth_multiplier: 1.0 } } }'
    config = load_config(ROOT / "configs" / "ssdlite_mobilenet_v2_035_160x160_shapes.config", override=override)
    detector = build_detector(config.proto.model.ssd)
    # 160 pixels at strides 8, 16 and then half, rounded up, each time; 3 anchors a place on the finest map, 6 on the others.
    assert detector.feature_map_shapes == ((20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))
    assert detector.anchors.shape == (3 * 400 + 6 * (100 + 25 + 9 + 4 + 1), 4)
    assert all(type(layer).__name__ not in ("Functional", "Lambda") for layer in detector.network.layers)
