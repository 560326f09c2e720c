"""Restoring into a network small enough to count: what is assigned, what is told, and that a refusal assigns nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.models.fake_quantization import FakeQuantize
from object_detection_ext.models.quantization_state import is_quantization_state
from object_detection_ext.models.quantized_network import FakeQuantization
from object_detection_ext.weights.report import scopes
from object_detection_ext.weights.restore import name_table, restore
from object_detection_ext.weights.source import WeightSource

BOXES, CLASSES = "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor", "BoxPredictor/ConvolutionalClassHead_0/ClassPredictor"
ANCHORS = 2


def make_network(*, width=64, classes=3, seed=0):
    """Two convolutions, a feature map and a head for `classes` classes and background, two anchors a location."""
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    image = tf_keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="bn_Conv1")(layers.Conv2D(width, 3, use_bias=False, name="Conv1")(image))
    x = layers.Conv2D(2 * width, 1, use_bias=False, name="Conv_1")(layers.Conv2D(width, 1, use_bias=False, name="block_1_project")(x))
    x = layers.Conv2D(4, 1, name="FeatureMaps/layer_19_1_Conv2d_2_1x1_4_conv")(x)
    heads = [layers.Conv2D(ANCHORS * 4, 1, name=BOXES)(x), layers.Conv2D(ANCHORS * (classes + 1), 1, name=CLASSES)(x)]
    return tf_keras.Model(image, heads)


def values_of(network):
    return {variable.name.removesuffix(":0"): variable.numpy() for variable in network.weights}


def source_of(values, scheme="ours"):
    return WeightSource(
        "there/ckpt-7", "a checkpoint", scheme, {name: value.shape for name, value in values.items()}, values.__getitem__, 7
    )


def test_everything_fits():
    network, other = make_network(seed=1), make_network(seed=2)
    report = restore(network, source_of(values_of(other)), min_share=1.0)
    assert report.share == 1.0
    assert report.count("restored") == len(network.weights)
    for name, value in values_of(other).items():
        np.testing.assert_array_equal(values_of(network)[name], value, err_msg=name)


def test_the_table():
    stored = values_of(make_network(classes=90, seed=2))
    stored["Conv_1/kernel"] = np.zeros((1, 1, 64, 1280), np.float32)
    stored["Logits/kernel"] = np.zeros((1, 1, 1280, 1001), np.float32)
    del stored["bn_Conv1/beta"]
    assert str(restore(make_network(), source_of(stored), min_share=0.4)).splitlines() == [
        "weights from there/ckpt-7 (a checkpoint): variables (parameters)",
        "                                        restored  missing  shape mismatch  left fresh",
        "backbone: Conv1                        1 (1,728)        -               -           -",
        "backbone: bn_Conv1                       3 (192)   1 (64)               -           -",
        "backbone: block_1_project              1 (4,096)        -               -           -",
        "backbone: Conv_1                               -        -       1 (8,192)           -",
        "FeatureMaps                              2 (516)        -               -           -",
        "BoxPredictor/ConvolutionalBoxHead_0       2 (40)        -               -           -",
        "BoxPredictor/ConvolutionalClassHead_0          -        -               -      2 (40)",
        "total                                  9 (6,572)   1 (64)       1 (8,192)      2 (40)",
        "shape mismatch, left fresh: Conv_1/kernel (1, 1, 64, 128) here, (1, 1, 64, 1280) in the file",
        "missing in the file: bn_Conv1/beta (64,)",
        "class heads stay fresh: the file scores 91 classes (the background included where it has one), the config 4",
        "in the file without a place here: Logits/kernel (1, 1, 1280, 1001)",
    ]


def test_class_heads_for_other_classes_keep_their_values_and_count_for_nothing():
    network, other = make_network(), make_network(classes=90, seed=2)
    before = values_of(network)
    report = restore(network, source_of(values_of(other)), min_share=0.99)
    assert [outcome.name for outcome in report.class_heads] == [f"{CLASSES}/kernel", f"{CLASSES}/bias"]
    assert report.share == 1.0
    np.testing.assert_array_equal(values_of(network)[f"{CLASSES}/kernel"], before[f"{CLASSES}/kernel"])
    np.testing.assert_array_equal(values_of(network)[f"{BOXES}/kernel"], values_of(other)[f"{BOXES}/kernel"])


def test_at_a_share_of_1_class_heads_must_fit_too():
    with pytest.raises(InputError, match=r"100% of the parameters asked for fit, everything must.*num_classes must agree"):
        restore(make_network(), source_of(values_of(make_network(classes=90))), min_share=1.0)


def test_heads_with_other_anchors_do_not_fit_instead():
    stored = values_of(make_network(classes=90))
    stored[f"{BOXES}/bias"] = np.zeros(24, np.float32)
    report = restore(make_network(), source_of(stored))
    assert report.class_heads == ()
    assert report.count("mismatch") == 3


def test_parts_that_are_not_asked_for_keep_their_values():
    network, other = make_network(seed=1), make_network(seed=2)
    before = values_of(network)
    report = restore(network, source_of(values_of(other)), parts=frozenset({"backbone"}))
    assert {outcome.status for outcome in report.outcomes if outcome.name.startswith(("FeatureMaps", "BoxPredictor"))} == {"fresh"}
    assert not report.class_heads
    assert not report.unused, "a variable that was not asked for has its place all the same"
    after = values_of(network)
    for name in after:
        expected = before if name.startswith(("FeatureMaps", "BoxPredictor")) else values_of(other)
        np.testing.assert_array_equal(after[name], expected[name], err_msg=name)


def test_layers_that_the_least_width_keeps_apart_are_told():
    """slim's classifiers go down to 8 channels, the API's configs say min_depth: 16."""
    network = make_network(width=16)
    stored = values_of(make_network(width=16))
    stored["block_1_project/kernel"] = np.zeros((1, 1, 16, 8), np.float32)
    report = restore(network, source_of(stored))
    assert "to restore more: its narrowest layers have 8 channels, the config's 16: model.ssd.feature_extractor.min_depth: 8" in str(report)


def test_moving_statistics_come_along():
    other = make_network()
    other.get_layer("bn_Conv1").moving_mean.assign(np.arange(64, dtype=np.float32))
    network = make_network()
    restore(network, source_of(values_of(other)), parts=frozenset({"backbone"}))
    np.testing.assert_array_equal(network.get_layer("bn_Conv1").moving_mean.numpy(), np.arange(64))


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            lambda _: values_of(make_network(width=184)),  # 64 * 2.857, in multiples of 8
            {"depth_multiplier": 0.35},
            "the checkpoint is of depth 1, the config says 0.35: set model.ssd.feature_extractor.depth_multiplier: 1 "
            "(Conv_1/kernel is (1, 1, 184, 368) there and (1, 1, 64, 128) here)",
        ),
        (lambda _: values_of(make_network(width=184)), {}, "its layers are 2.88 times as wide as the config's"),
        (
            lambda values: {f"MobilenetV1/{name}": value for name, value in values.items()},
            {},
            "it is of another network: it has no Conv1/kernel but MobilenetV1/Conv1/kernel; model.ssd.feature_extractor.type must be",
        ),
        (
            lambda values: {name: value for name, value in values.items() if not name.startswith(("Feature", "Box"))},
            {"min_share": 0.98},
            "it holds no feature-map layers and heads of this network; as a warm start, set "
            "train_config.fine_tune_checkpoint_type: classification",
        ),
        (
            lambda values: {name: value for name, value in values.items() if not name.startswith("Box")},
            {"min_share": 0.999},
            "it holds no heads of this network; as a warm start, set train_config.fine_tune_checkpoint_type: detection",
        ),
        (
            lambda values: {**values, "block_1_project/kernel": np.zeros((3, 3, 64, 64), np.float32)},
            {},
            "72% of the parameters asked for fit, at least 75% must; nothing was restored: "
            "block_1_project/kernel is (3, 3, 64, 64) there and (1, 1, 64, 64) here",
        ),
    ],
    ids=["another depth", "another width", "other names", "a classifier", "no heads", "one layer"],
)
def test_a_refusal_says_what_to_change_and_assigns_nothing(change, settings, message):
    network = make_network()
    before = values_of(network)
    with pytest.raises(InputError) as caught:
        restore(network, source_of(change(values_of(make_network(seed=2)))), **settings)
    assert message in str(caught.value)
    assert str(caught.value).startswith("there/ckpt-7 (a checkpoint): ")
    assert "\n" not in str(caught.value)
    for name, value in values_of(network).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_layout_of_another_rank_is_a_mismatch():
    """torchvision's kernels are transposed on their way; a file with another rank must not end in a traceback."""
    shapes = {"features.0.0.weight": (32,)}
    source = WeightSource("w.pth", "torch", "torchvision", shapes, lambda name: np.zeros(shapes[name], np.float32))
    with pytest.raises(InputError, match=r"^w\.pth"):
        restore(make_network(), source)


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("ours", "Conv1/kernel"),
        ("api", "Conv1/kernel"),
        ("tf1", "FeatureExtractor/MobilenetV2/Conv/weights"),
        ("slim", "MobilenetV2/Conv/weights"),
        ("keras", "Conv1/kernel"),
        ("torchvision", "features.0.0.weight"),
    ],
)
def test_every_scheme_has_its_table(scheme, name):
    names = [variable.name.removesuffix(":0") for variable in make_network().weights]
    assert name_table(scheme)(names)["Conv1/kernel"].name == name


def test_rows_are_stretches_of_the_backbone_then_feature_maps_then_heads():
    states = {f"block_{i}/kernel": i == 3 for i in range(5)}
    states |= {"bottom_up_block5_conv/kernel": False, "FeatureMaps/top_down/projection_3/bias": True}
    states |= {"WeightSharedConvolutionalBoxPredictor/PredictionTower/conv2d_0/pointwise/kernel": True}
    rows = scopes(states)
    assert [row.label for row in rows] == [
        "backbone: block_0 to block_2",
        "backbone: block_3",
        "backbone: block_4",
        "FeatureMaps",
        "WeightSharedConvolutionalBoxPredictor/PredictionTower",
    ]
    assert [name for row in rows for name in row.names] == list(states)


def test_a_backbone_in_many_pieces_is_one_row():
    assert [row.label for row in scopes({f"block_{i}/kernel": i % 2 for i in range(20)})] == ["backbone"]


def make_pyramid(*, levels):
    """A stem and the smoothing convolutions of a pyramid of `levels` levels, the coarsest of which has none."""
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.Conv2D(4, 1, use_bias=False, name="Conv1")(image)
    x = tf_keras.layers.Conv2D(4, 1, use_bias=False, name="block_1_project")(x)
    maps = [tf_keras.layers.Conv2D(4, 3, name=f"FeatureMaps/top_down/smoothing_{number}_conv")(x) for number in range(1, levels)]
    return tf_keras.Model(image, maps)


@pytest.mark.parametrize(("levels", "scheme", "warned"), [(3, "tf1", True), (2, "tf1", False), (3, "api", False)])
def test_a_pyramid_that_tf_1_computed_in_another_way_is_told(levels, scheme, warned):
    network = make_pyramid(levels=levels)
    stored = {
        entry.name: value for name, value in values_of(network).items() if (entry := name_table(scheme)(list(values_of(network))).get(name))
    }
    assert len(stored) == len(network.weights)
    text = str(restore(network, source_of(stored, scheme)))
    assert ("note: TF 1 computed the finest maps of this pyramid from sums before smoothing" in text) == warned


@pytest.fixture
def quantized():
    """With fake quantisation, as trained for 1,000 steps."""
    network = FakeQuantization()(make_network(seed=1), input_range=(-1.0, 1.0))
    network.get_layer("quantization").steps.assign(1000)
    for layer in network.layers:
        if isinstance(layer, FakeQuantize):
            layer.high.assign(6.0)
    return network


@pytest.mark.parametrize("parts", [frozenset({"backbone"}), frozenset({"backbone", "feature_maps", "heads"})])
def test_a_new_run_gathers_its_own_ranges(quantized, parts):
    network = FakeQuantization()(make_network(seed=2), input_range=(-1.0, 1.0))
    report = restore(network, source_of(values_of(quantized)), parts=parts)
    assert report.share == 1.0
    assert not report.unused
    np.testing.assert_array_equal(values_of(network)["Conv1/kernel"], values_of(quantized)["Conv1/kernel"])
    assert {float(value) for name, value in values_of(network).items() if is_quantization_state(name)} == {0.0}


def test_the_same_model_has_the_stored_ranges(quantized):
    network = FakeQuantization()(make_network(seed=2), input_range=(-1.0, 1.0))
    restore(network, source_of(values_of(quantized)), min_share=1.0)
    assert {float(value) for name, value in values_of(network).items() if is_quantization_state(name)} == {0.0, 6.0, 1000.0}


def test_float_weights_serve_a_quantised_network_only_as_a_start(quantized):
    stored = source_of(values_of(make_network(seed=3)))
    assert restore(quantized, stored).share == 1.0
    with pytest.raises(
        InputError, match=r"^there/ckpt-7 has no ranges for fake quantisation, as it was trained in float: make it the fine_"
    ):
        restore(quantized, stored, min_share=1.0)
