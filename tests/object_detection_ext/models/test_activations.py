from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tf_keras

from object_detection_ext.models.activations import ActivationName, activate

VALUES = np.array([[-4.0, -3.0, -1.5, 0.0, 1.5, 3.0, 7.0]], np.float32)
# By hand, x * relu6(x + 3) / 6 and relu6(x + 3) * 0.16667.
EXPECTED: dict[ActivationName, list[float]] = {
    "relu": [0, 0, 0, 0, 1.5, 3, 7],
    "relu6": [0, 0, 0, 0, 1.5, 3, 6],
    "hard_swish": [0, 0, -0.375, 0, 1.125, 3, 7],
    "slim_hard_sigmoid": [0, 0, 0.250005, 0.50001, 0.750015, 1.00002, 1.00002],
    "sigmoid": [0.01798621, 0.04742587, 0.18242552, 0.5, 0.81757448, 0.95257413, 0.99908895],
}


def _model(activation: ActivationName) -> tf_keras.Model:
    features = tf_keras.Input((7,))
    return tf_keras.Model(features, activate(features, activation, name="a/b"))


@pytest.mark.parametrize("activation", EXPECTED)
def test_values(activation: ActivationName):
    np.testing.assert_allclose(_model(activation)(VALUES)[0], EXPECTED[activation], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", EXPECTED)
def test_one_layer_that_can_be_cloned_and_saved(activation: ActivationName, tmp_path: Path):
    model = _model(activation)
    assert [layer.name for layer in model.layers[1:]] == ["a/b"]
    clone = tf_keras.models.clone_model(model)
    again = tf_keras.Model.from_config(model.get_config())
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    for copy in (clone, again, loaded):
        np.testing.assert_array_equal(copy(VALUES), model(VALUES))
