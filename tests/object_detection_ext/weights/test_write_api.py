"""What cannot go back. What can is compared with the original's own files in tests/object_detection_ext/training/test_checkpoints.py."""

from __future__ import annotations

import pytest
import tf_keras

from object_detection_ext.weights.write_api import write_api_checkpoint


@pytest.mark.parametrize(
    ("layers", "missing"),
    [(["MobilenetV3/Conv"], "MobilenetV3/Conv/kernel"), (["Conv1", "FeatureMaps/of_my_own"], "FeatureMaps/of_my_own/kernel")],
    ids=["backbone of TF 1", "unknown layer"],
)
def test_a_network_that_the_api_does_not_have(tmp_path, layers, missing):
    image = x = tf_keras.Input((8, 8, 3))
    for name in layers:
        x = tf_keras.layers.Conv2D(2, 1, name=name)(x)
    with pytest.raises(ValueError, match=f"no network with a variable {missing}"):
        write_api_checkpoint(tf_keras.Model(image, x), tmp_path, step=0)
    assert not list(tmp_path.iterdir())
