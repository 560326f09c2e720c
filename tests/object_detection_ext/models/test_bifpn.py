"""The graph of the pyramid; its numbers are compared with the original's in ../builders/feature_extractors/test_efficientnet.py."""

from __future__ import annotations

import pytest
import tf_keras

from object_detection_ext.models.bifpn import BiFpn
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams
from object_detection_ext.weights.names import part_of

HYPERPARAMS = ConvHyperparams(activation="swish", batch_norm=BatchNorm())


def _pyramid(**settings) -> BiFpn:
    settings = {"endpoints": ("a", "b"), "min_level": 3, "max_level": 5, "num_iterations": 2, "num_filters": 4} | settings
    return BiFpn(hyperparams=HYPERPARAMS, **settings)


def _model(pyramid: BiFpn, *sizes: tuple[int, int]) -> tf_keras.Model:
    inputs = {name: tf_keras.Input((*size, 4)) for name, size in zip(pyramid.endpoints, sizes, strict=True)}
    return tf_keras.Model(inputs, pyramid(inputs))


def test_nodes_by_hand():
    """Levels 3 and 4 from the backbone, 5 by pooling; two passes. Figure 2d of the paper, nodes with one input aside."""
    nodes = {node.name: [name for name, _ in node.inputs] for node in _pyramid()._nodes()}
    assert nodes == {
        "0_up_lvl_5": ["0_up_lvl_4"],
        "1_dn_lvl_4": ["0_up_lvl_4", "0_up_lvl_5"],
        "1_dn_lvl_3": ["0_up_lvl_3", "1_dn_lvl_4"],
        "1_up_lvl_4": ["0_up_lvl_4", "1_dn_lvl_4", "1_dn_lvl_3"],
        "1_up_lvl_5": ["0_up_lvl_5", "1_up_lvl_4"],
        "2_dn_lvl_4": ["1_up_lvl_4", "1_up_lvl_5"],
        "2_dn_lvl_3": ["1_dn_lvl_3", "2_dn_lvl_4"],
        "2_up_lvl_4": ["1_up_lvl_4", "2_dn_lvl_4", "2_dn_lvl_3"],
        "2_up_lvl_5": ["1_up_lvl_5", "2_up_lvl_4"],
    }


def test_sizes_depths_and_names():
    model = _model(_pyramid(), (16, 24), (8, 12))
    assert model.output_shape == ((None, 16, 24, 4), (None, 8, 12, 4), (None, 4, 6, 4))
    # Every use of a map of the backbone has a 1x1 convolution of its own, although the depth fits: three of level 4, one of level 3.
    names = [layer.name for layer in model.layers if layer.name.endswith("1x1_pre_sample/conv")]
    assert len(names) == 4
    assert "bifpn/node_00/0_up_lvl_5/input_0_up_lvl_4/1x1_pre_sample/conv" in names
    assert {part_of(variable.name) for variable in model.variables} == {"feature_maps"}


def test_odd_sizes():
    model = _model(_pyramid(), (19, 10), (10, 5))
    assert model.output_shape == ((None, 19, 10, 4), (None, 10, 5, 4), (None, 5, 3, 4))


def test_all_levels_from_the_backbone():
    model = _model(_pyramid(endpoints=("a", "b", "c"), num_iterations=1), (16, 16), (8, 8), (4, 4))
    assert [shape[1] for shape in model.output_shape] == [16, 8, 4]


def test_a_plain_sum_needs_no_layer_of_ours():
    kinds = {type(layer).__module__.partition(".")[0] for layer in _model(_pyramid(combine_method="sum"), (16, 16), (8, 8)).layers}
    assert kinds == {"tf_keras"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoints": ()}, "endpoints must name at least one"),
        ({"endpoints": tuple("abcd")}, "endpoints must be at most as many as there are levels, got a, b, c, d"),
        ({"max_level": 3}, r"max_level must be > min_level \(3\), got 3"),
        ({"num_iterations": 0}, "num_iterations must be >= 1, got 0"),
        ({"num_filters": 0}, "num_filters must be >= 1, got 0"),
        ({"combine_method": "mean"}, "combine_method must be one of sum, weighted_sum, attention, fast_attention, got 'mean'"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        _pyramid(**settings)
