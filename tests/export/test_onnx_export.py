"""ONNX: through tf2onnx and back through onnxruntime, where both are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export import onnx_export
from export.model import TrainedModel
from export.onnx_export import OnnxModel, check_onnx_installed, export_onnx
from object_detection_ext.errors import InputError


def _is_installed() -> bool:
    try:
        check_onnx_installed()
    except InputError:
        return False
    return True


needs_onnx = pytest.mark.skipif(not _is_installed(), reason="tf2onnx or onnxruntime is not installed (the extra `onnx`)")


@needs_onnx
def test_both_flavours_come_out_as_the_checkpoint_computes(model: TrainedModel, tmp_path: Path) -> None:
    made = export_onnx(model, tmp_path / "out", num_parity_images=2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model_raw.onnx", "model_decoded.onnx", "labels.txt", "postprocessing.json"
    }  # fmt: skip
    assert OnnxModel(made.files["raw"]).names == ("box_encodings", "class_scores")
    outputs = OnnxModel(made.files["decoded"])(np.zeros(model.detector.input_shape, np.float32))
    assert [outputs[name].shape for name in ("boxes", "scores")] == [(1, len(model.detector.anchors), size) for size in (4, 3)]
    assert max(value for errors in made.tensor_errors.values() for value in errors.values()) < 1e-3
    assert "model_raw.onnx: largest difference" in made.table()


@needs_onnx
def test_a_file_beyond_the_tolerance_does_not_appear(model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "TOLERANCE", {"box_encodings": -1.0, "class_scores": 1.0})
    with pytest.raises(InputError, match=r"model_raw\.onnx: box_encodings differs from the checkpoint by up to .*, more than -1"):
        export_onnx(model, tmp_path / "out", flavours=("raw",), num_parity_images=0)
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"needs tf2onnx, .*pip install 'object-detection-ext\[onnx\]'"):
        check_onnx_installed()
