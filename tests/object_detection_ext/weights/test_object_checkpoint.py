"""Object-based checkpoints: the original's own, and small ones made here whose content says whose they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.weights.object_checkpoint import open_object_checkpoint

HEAD = "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor"


def tree(leaves):
    """`{"a/b": ("name", value)}` -> an object whose `a` has a variable `b` of that name."""
    root = tf.train.Checkpoint()
    for path, (name, value) in leaves.items():
        node = root
        *way, last = path.split("/")
        for step in way:
            if not hasattr(node, step):
                setattr(node, step, tf.train.Checkpoint())
            node = getattr(node, step)
        setattr(node, last, tf.Variable(np.float32(value), name=name))
    return root


def small_network(*, with_head=True):
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.Conv2D(2, 1, use_bias=False, name="Conv1")(image)
    return tf_keras.Model(image, tf_keras.layers.Conv2D(4, 1, name=HEAD)(x) if with_head else x)


class TestOfTheOriginal:
    @pytest.fixture(scope="class")
    @staticmethod
    def stored(golden):
        return open_object_checkpoint(str(golden("ssdlite_v2_dm0.35_160_ckpt") / "ckpt-1"))

    def test_is_known_as_the_apis(self, stored):
        assert (stored.kind, stored.scheme, stored.step) == ("TF 2 checkpoint of the Object Detection API", "api", 7)

    def test_holds_every_variable_under_its_name_without_scope(self, stored, golden):
        with np.load(golden("ssdlite_v2_dm0.35_160_vars_f16.npz")) as variables:
            values = {re.sub(r"^\d+:(ssd_\w+_feature_extractor/)?|:0$", "", key): variables[key] for key in variables.files}
        assert dict(stored.shapes) == {name: value.shape for name, value in values.items()}
        for name in ("Conv1/kernel", "FeatureMaps/layer_19_2_Conv2d_5_3x3_s2_44_depthwise_conv/depthwise_kernel", f"{HEAD}/bias"):
            np.testing.assert_array_equal(stored.read(name), values[name].astype(np.float32), err_msg=name)

    def test_separable_convolutions_are_one_layer(self, golden):
        shapes = open_object_checkpoint(str(golden("fpnlite_v2_dm0.35_320_ckpt") / "ckpt-1")).shapes
        tower = "WeightSharedConvolutionalBoxPredictor/PredictionTower/conv2d_0"
        assert (shapes[f"{tower}/depthwise_kernel"], shapes[f"{tower}/pointwise_kernel"]) == ((3, 3, 44, 1), (1, 1, 44, 128))


class TestOwner:
    def open(self, folder, **objects):
        return open_object_checkpoint(tf.train.Checkpoint(**objects).save(str(folder / "ckpt")))

    def test_ours_with_everything_that_is_no_weight(self, tmp_path):
        network, optimizer = small_network(), tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9)
        optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in network.trainable_variables])
        source = self.open(tmp_path, step=optimizer.iterations, model=network, optimizer=optimizer)
        assert (source.kind, source.scheme, source.step) == ("TF 2 checkpoint of this project", "ours", 1)
        assert list(source.shapes) == ["Conv1/kernel", f"{HEAD}/kernel", f"{HEAD}/bias"]
        np.testing.assert_array_equal(source.read("Conv1/kernel"), network.get_layer("Conv1").kernel.numpy())

    def test_ours_without_a_step(self, tmp_path):
        source = self.open(tmp_path, model=small_network())
        assert (source.scheme, source.step) == ("ours", None)

    def test_a_keras_model(self, tmp_path):
        source = self.open(tmp_path, model=small_network(with_head=False))
        assert (source.kind, source.scheme) == ("TF 2 checkpoint of a Keras model", "keras")

    def test_a_backbone_of_the_api(self, tmp_path):
        source = self.open(tmp_path, feature_extractor=small_network(with_head=False))
        assert (source.kind, source.scheme) == ("TF 2 checkpoint of a backbone of the Object Detection API", "api")
        assert dict(source.shapes) == {"Conv1/kernel": (1, 1, 3, 2)}

    def test_of_the_api_with_a_name_twice_goes_by_keys(self, tmp_path):
        backbone, head = "_feature_extractor/classification_backbone/layer_with_weights-0/kernel", "_box_predictor/_shared_nets/0/0/kernel"
        source = self.open(tmp_path, model=tree({backbone: ("kernel", [1.0]), head: ("kernel", [2.0, 3.0])}))
        assert (source.scheme, dict(source.shapes)) == ("api_graph", {backbone: (1,), head: (2,)})
        np.testing.assert_array_equal(source.read(head), [2.0, 3.0])


def with_averages(folder):
    """A checkpoint of ours whose optimizer averaged the kernel of Conv1."""
    network = small_network()
    kernel = network.get_layer("Conv1").kernel
    optimizer = tf_keras.optimizers.legacy.SGD(0.1)
    optimizer.add_slot(kernel, "average", initializer=tf.fill(kernel.shape, 7.0))
    step = tf.Variable(3, dtype=tf.int64)
    return network, tf.train.Checkpoint(step=step, model=network, optimizer=optimizer).save(str(folder / "ckpt"))


def test_averages_take_the_place_of_the_weights_that_have_one(tmp_path):
    network, prefix = with_averages(tmp_path)
    weights, averages = open_object_checkpoint(prefix), open_object_checkpoint(prefix, use_moving_averages=True)
    np.testing.assert_array_equal(weights.read("Conv1/kernel"), network.get_layer("Conv1").kernel.numpy())
    np.testing.assert_array_equal(averages.read("Conv1/kernel"), np.full((1, 1, 3, 2), 7.0))
    np.testing.assert_array_equal(averages.read(f"{HEAD}/kernel"), network.get_layer(HEAD).kernel.numpy())
    assert dict(weights.shapes) == dict(averages.shapes)


class TestRefusals:
    @pytest.fixture
    def prefix(self, tmp_path):
        return tf.train.Checkpoint(model=small_network()).save(str(tmp_path / "ckpt"))

    def test_no_averages(self, prefix):
        with pytest.raises(InputError, match=r"holds no moving averages: .* eval_config.use_moving_averages must be false too"):
            open_object_checkpoint(prefix, use_moving_averages=True)

    def test_no_weights(self, tmp_path):
        prefix = tf.train.Checkpoint(step=tf.Variable(1)).save(str(tmp_path / "counters"))
        with pytest.raises(InputError, match="holds no weights, only"):
            open_object_checkpoint(prefix)

    def test_a_data_file_that_was_cut_off(self, prefix):
        data = Path(f"{prefix}.data-00000-of-00001")
        data.write_bytes(data.read_bytes()[:40])
        with pytest.raises(InputError, match=r"cannot read checkpoint .*ckpt-1, it is damaged or cut off"):
            open_object_checkpoint(prefix)

    def test_an_index_that_was_cut_off(self, prefix):
        index = Path(f"{prefix}.index")
        index.write_bytes(index.read_bytes()[:10])
        with pytest.raises(InputError, match=r"cannot read checkpoint .*ckpt-1, it is damaged or cut off"):
            open_object_checkpoint(prefix)

    def test_a_missing_data_file(self, prefix, tmp_path):
        (tmp_path / "ckpt-1.data-00000-of-00001").unlink()
        with pytest.raises(InputError, match=r"there is no .*ckpt-1\.data-00000-of-00001 beside its \.index"):
            open_object_checkpoint(prefix)

    def test_a_checkpoint_of_tf1(self, tmp_path):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variable = tf.compat.v1.get_variable("MobilenetV2/Conv/weights", [1])
            session.run(variable.initializer)
            prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
        with pytest.raises(InputError, match="is no object-based checkpoint of TF 2"):
            open_object_checkpoint(prefix)
