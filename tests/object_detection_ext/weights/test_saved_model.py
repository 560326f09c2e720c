"""Variables of SavedModels, whoever saved them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from object_detection_ext.errors import InputError
from object_detection_ext.weights.open import open_weights
from object_detection_ext.weights.saved_model import open_saved_model

SCOPE = "ssd_mobile_net_v2_keras_feature_extractor"
MAP = "FeatureMaps/layer_19_1_Conv2d_2_1x1_256_conv/kernel"
HEAD = "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor/bias"


def save(folder, names, *, attribute):
    """A SavedModel that computes with variables of these names, all ones."""
    module = tf.Module()
    variables = [tf.Variable(tf.ones([2]), name=name) for name in names]
    setattr(module, attribute, variables)
    serve = tf.function(lambda: tf.add_n([tf.reduce_sum(variable) for variable in variables]), input_signature=[])
    tf.saved_model.save(module, str(folder), signatures=serve.get_concrete_function())
    return folder


def test_of_the_api(tmp_path):
    """The exporter wraps the model; only the variables' names tell what they are."""
    source = open_saved_model(save(tmp_path, ["Conv1/kernel", f"{SCOPE}/{MAP}", HEAD], attribute="_variables_of_the_model"))
    assert (source.kind, source.scheme, source.path) == ("SavedModel of the Object Detection API", "api", str(tmp_path))
    assert set(source.shapes) == {"Conv1/kernel", MAP, HEAD}
    assert source.read(MAP).tolist() == [1.0, 1.0]


def test_of_ours(tmp_path):
    source = open_weights(save(tmp_path, ["Conv1/kernel", MAP, HEAD], attribute="weights"))
    assert (source.kind, source.scheme) == ("SavedModel of this project", "ours")
    assert set(source.shapes) == {"Conv1/kernel", MAP, HEAD}


def test_of_tf1(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name in ("FeatureExtractor/MobilenetV2/Conv/weights", "BoxPredictor_0/ClassPredictor/biases"):
            tf.compat.v1.get_variable(name, [2])
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "saved_model"))
        builder.add_meta_graph_and_variables(session, ["serve"])
        builder.save()
    source = open_weights(tmp_path)
    assert (source.kind, source.scheme) == ("SavedModel with the variables of a TF 1 detection checkpoint", "tf1")


def test_a_graph_of_constants(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"has no variables .*: its weights are constants of the graph; give the checkpoint"):
        open_saved_model(tmp_path)
