"""Name-based checkpoints: slim's golden one, and small ones written with TensorFlow's own save operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams
from object_detection_ext.weights.tf1_checkpoint import open_tf1_checkpoint
from object_detection_ext.weights.tf1_names import slim_names

WEIGHTS = "FeatureExtractor/MobilenetV2/Conv/weights"
STATISTICS = "FeatureExtractor/MobilenetV2/Conv/BatchNorm/moving_mean"


def _save(prefix: Path, values: Mapping[str, object]) -> Path:
    tensors = [tf.convert_to_tensor(value) for value in values.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors)
    return prefix


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What training with RMSProp and moving averages leaves of one convolution."""
    return _save(
        tmp_path / "model.ckpt-7",
        {
            WEIGHTS: np.full((3, 3, 3, 8), 1.0, np.float32),
            f"{WEIGHTS}/RMSProp": np.full((3, 3, 3, 8), 2.0, np.float32),
            f"{WEIGHTS}/RMSProp_1": np.full((3, 3, 3, 8), 3.0, np.float32),
            f"{WEIGHTS}/ExponentialMovingAverage": np.full((3, 3, 3, 8), 4.0, np.float32),
            STATISTICS: np.full(8, 5.0, np.float32),
            "FeatureExtractor/MobilenetV2/Conv/BatchNorm/FeatureExtractor/MobilenetV2/Conv/BatchNorm/moving_mean/biased": np.zeros(8),
            "FeatureExtractor/MobilenetV2/Conv/act_quant/max": np.float32(6),
            "global_step": np.int64(7),
            "beta1_power": np.float32(0.9),
        },
    )


class TestSynthetic:
    def test_weights_without_slots_and_counters(self, trained: Path):
        source = open_tf1_checkpoint(trained)
        assert source.shapes == {WEIGHTS: (3, 3, 3, 8), STATISTICS: (8,)}
        assert (source.scheme, source.step) == ("tf1", 7)
        assert source.kind == "TF 1 detection checkpoint, moving averages"

    @pytest.mark.parametrize(("use", "value"), [(True, 4.0), (False, 1.0)], ids=["averages", "raw"])
    def test_moving_averages(self, trained: Path, use: bool, value: float):
        source = open_tf1_checkpoint(trained, use_moving_averages=use)
        assert np.all(source.read(WEIGHTS) == value)
        assert np.all(source.read(STATISTICS) == 5.0)  # has no average

    def test_averages_alone(self, tmp_path: Path):
        prefix = _save(tmp_path / "model.ckpt", {"MobilenetV1/Conv2d_0/weights/ExponentialMovingAverage": np.ones((3, 3, 3, 8))})
        assert list(open_tf1_checkpoint(prefix, use_moving_averages=False).shapes) == ["MobilenetV1/Conv2d_0/weights"]

    @pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001", ".meta"])
    def test_one_of_the_files(self, trained: Path, suffix: str):
        assert open_tf1_checkpoint(f"{trained}{suffix}").path == str(trained)

    def test_first_format_in_one_file(self, tmp_path: Path):
        file = tmp_path / "mobilenet_v1_1.0_224.ckpt"
        tf.raw_ops.Save(filename=str(file), tensor_names=["MobilenetV1/Conv2d_0/weights"], data=[tf.ones((3, 3, 3, 8))])
        source = open_tf1_checkpoint(file)
        assert source.shapes == {"MobilenetV1/Conv2d_0/weights": (3, 3, 3, 8)}
        assert (source.scheme, source.kind, source.step) == ("slim", "TF 1 checkpoint of a classifier (slim)", None)
        assert np.all(source.read("MobilenetV1/Conv2d_0/weights") == 1.0)


class TestRefused:
    def test_absent(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"cannot read checkpoint .*model\.ckpt-1: there is no .*model\.ckpt-1\.index"):
            open_tf1_checkpoint(tmp_path / "model.ckpt-1")

    def test_object_based(self, tmp_path: Path):
        prefix = tf.train.Checkpoint(value=tf.Variable([1.0])).write(str(tmp_path / "ckpt-1"))
        with pytest.raises(InputError, match="object-based checkpoint of TF 2"):
            open_tf1_checkpoint(prefix)

    def test_damaged(self, tmp_path: Path):
        (tmp_path / "model.ckpt.index").write_bytes(b"nothing of the kind" * 10)
        with pytest.raises(InputError, match="cannot read checkpoint"):
            open_tf1_checkpoint(tmp_path / "model.ckpt")

    def test_no_weights(self, tmp_path: Path):
        with pytest.raises(InputError, match="holds no weights"):
            open_tf1_checkpoint(_save(tmp_path / "model.ckpt", {"global_step": np.int64(1)}))


def test_slims_own_checkpoint_gives_slims_endpoints(golden: Callable[[str], Path]):
    """Tolerance 1e-4: kernels round differently, up to 3e-5 of a value by layer 18."""
    source = open_tf1_checkpoint(golden("slim_mnv2_dm0.35_96_ckpt") / "model.ckpt-0")
    assert (source.scheme, source.step) == ("slim", 0)
    image = tf_keras.Input((96, 96, 3))
    hyperparams = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(decay=0.997, scale=True))
    model = tf_keras.Model(image, MobileNetV2(0.35, hyperparams=hyperparams)(image))
    table = slim_names([variable.name.removesuffix(":0") for variable in model.variables])
    assert {stored.name for stored in table.values()} == {name for name in source.shapes if "/Logits/" not in name}
    for variable in model.variables:
        variable.assign(table[variable.name.removesuffix(":0")].load(source.read))
    with np.load(golden("slim_mnv2_dm0.35_96_io.npz")) as stored:
        endpoints = model(stored["input"][:1])
        compared = [name for name in endpoints if f"ep/{name}" in stored.files]
        assert len(compared) >= 69
        for name in compared:
            np.testing.assert_allclose(endpoints[name], stored[f"ep/{name}"], rtol=1e-4, atol=1e-4, err_msg=name)
