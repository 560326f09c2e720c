from __future__ import annotations

import numpy as np
import tf_keras

from object_detection_ext.models.layers import ConvHyperparams, Regularizer
from object_detection_ext.models.squeeze_excite import squeeze_excite


def test_by_hand():
    """Means 2 and 10; squeezed to relu(2 + 10 - 1) and relu(2 - 10); gates relu6(11 - 11 + 3) and relu6(0 + 1 + 3) times 0.16667."""
    features = tf_keras.Input((2, 1, 2))
    hyperparams = ConvHyperparams(regularizer=Regularizer("l2", 2.0))
    scaled = squeeze_excite(features, 2, hyperparams=hyperparams, inner="relu", gate="slim_hard_sigmoid", name="se")
    model = tf_keras.Model(features, scaled)
    model.get_layer("se/Conv").set_weights([np.array([[[[1, 1], [1, -1]]]]), np.array([-1, 0])])
    model.get_layer("se/Conv_1").set_weights([np.array([[[[1, 0], [0, 1]]]]), np.array([-11, 1])])
    values = np.array([[[[1, 20]], [[3, 0]]]], np.float32)
    gates = np.array([0.50001, 4 * 0.16667], np.float32)
    np.testing.assert_allclose(model(values), values * gates, rtol=1e-6)
    np.testing.assert_allclose(sum(model.losses), 4 + 2)  # squares of the kernels; biases carry none
