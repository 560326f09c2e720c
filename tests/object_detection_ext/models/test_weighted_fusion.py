from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.models.weighted_fusion import WeightedFusion, WeightedMethod

MAPS = [np.full((1, 2, 2, 1), value, np.float32) for value in (1.0, 10.0, 100.0)]


@pytest.mark.parametrize(
    ("method", "weights", "expected"),
    [
        ("fast_attention", [1, 1, 1], 111 / 3.0001),
        ("fast_attention", [3, -5, 1], 103 / 4.0001),
        ("fast_attention", [-1, -1, 0], 0.0),
        ("weighted_sum", [1, -2, 0.5], 31.0),
        ("attention", [1, -2, 0.5], 111.0),
    ],
    ids=["equal", "negative_counts_as_none", "all_negative", "as_they_are", "without_effect_as_in_the_api"],
)
def test_by_hand(method: WeightedMethod, weights: list[float], expected: float):
    layer = WeightedFusion(method)
    layer(MAPS)
    layer.set_weights([np.array(weights, np.float32)[:, np.newaxis]])
    for call in (layer, tf.function(layer)):
        np.testing.assert_allclose(call(MAPS), np.full((1, 2, 2, 1), expected), rtol=1e-6)


def test_weights_begin_at_one_and_train():
    layer = WeightedFusion("fast_attention")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(MAPS))
    (variable,) = layer.trainable_variables
    np.testing.assert_array_equal(variable, np.ones((3, 1)))
    assert np.all(tape.gradient(total, variable).numpy() != 0)


def test_a_model_with_it_is_saved_and_cloned(tmp_path):
    inputs = [tf_keras.Input((2, 2, 1)) for _ in MAPS]
    model = tf_keras.Model(inputs, WeightedFusion("weighted_sum", name="a/combine")(inputs))
    model.set_weights([np.array([[1], [2], [3]], np.float32)])
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(MAPS), model(MAPS))
    cloned = tf_keras.models.clone_model(model)
    assert [variable.name for variable in cloned.variables] == ["a/combine/bifpn_combine_weights:0"]
    assert cloned.get_layer("a/combine").method == "weighted_sum"
