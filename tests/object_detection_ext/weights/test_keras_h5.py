"""Weight files as tf_keras writes them, and older ones made by hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.weights.keras_h5 import open_keras_weights

NAMES = ["Conv1/kernel", "bn_Conv1/gamma", "bn_Conv1/beta", "bn_Conv1/moving_mean", "bn_Conv1/moving_variance"]


@pytest.fixture(scope="module")
def backbone() -> tf_keras.Model:
    image = tf_keras.Input((8, 8, 3))
    features = tf_keras.layers.Conv2D(4, 3, use_bias=False, name="Conv1")(image)
    return tf_keras.Model(image, tf_keras.layers.BatchNormalization(name="bn_Conv1")(features), name="backbone")


class TestWrittenByKeras:
    def test_weights(self, backbone: tf_keras.Model, tmp_path: Path):
        backbone.save_weights(tmp_path / "weights.h5", save_format="h5")
        source = open_keras_weights(tmp_path / "weights.h5")
        assert list(source.shapes) == NAMES
        assert (source.scheme, source.kind, source.step) == ("keras", "Keras weights", None)
        np.testing.assert_array_equal(source.read("Conv1/kernel"), backbone.get_layer("Conv1").kernel)

    def test_whole_model_with_the_backbone_in_it(self, backbone: tf_keras.Model, tmp_path: Path):
        model = tf_keras.Sequential([backbone, tf_keras.layers.GlobalAveragePooling2D(), tf_keras.layers.Dense(2, name="logits")])
        model.compile("sgd", "mse")
        model.save(tmp_path / "model.h5", save_format="h5")
        source = open_keras_weights(tmp_path / "model.h5")
        assert list(source.shapes) == [*NAMES, "logits/kernel", "logits/bias"]
        assert source.shapes["Conv1/kernel"] == (3, 3, 3, 4)

    @pytest.mark.parametrize("name", ["model.weights.h5", "model.keras"])
    def test_newer_layout_is_refused(self, backbone: tf_keras.Model, name: str, tmp_path: Path):
        backbone.save(tmp_path / name) if name.endswith(".keras") else backbone.save_weights(tmp_path / name)
        with pytest.raises(InputError, match="counts layers by class instead of naming them"):
            open_keras_weights(tmp_path / name)


class TestMadeByHand:
    def test_numbers_behind_layers_and_lists_in_parts(self, tmp_path: Path):
        with h5py.File(tmp_path / "old.h5", "w") as file:
            file.attrs["layer_names0"] = [b"input_1", b"Conv1"]
            file.attrs["layer_names1"] = [b"bn_Conv1"]
            file.create_group("input_1").attrs["weight_names"] = []
            for layer, weights in (("Conv1", ["Conv1_7/kernel:0"]), ("bn_Conv1", ["bn_Conv1_7/gamma:0", "bn_Conv1_7/beta:0"])):
                group = file.create_group(layer)
                group.attrs["weight_names"] = [weight.encode() for weight in weights]
                for weight in weights:
                    group[weight] = np.ones(4, np.float32)
        assert list(open_keras_weights(tmp_path / "old.h5").shapes) == ["Conv1/kernel", "bn_Conv1/gamma", "bn_Conv1/beta"]

    def test_no_layers(self, tmp_path: Path):
        with h5py.File(tmp_path / "data.h5", "w") as file:
            file["images"] = np.ones(4)
        with pytest.raises(InputError, match="holds no weights of Keras layers"):
            open_keras_weights(tmp_path / "data.h5")

    def test_no_hdf5(self, tmp_path: Path):
        (tmp_path / "some.h5").write_bytes(b"something else")
        with pytest.raises(InputError, match="is not an HDF5 file"):
            open_keras_weights(tmp_path / "some.h5")

    def test_absent(self, tmp_path: Path):
        with pytest.raises(InputError, match="do not exist"):
            open_keras_weights(tmp_path / "some.h5")
