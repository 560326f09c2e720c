"""Warm starts of a whole network from the API's checkpoint, from slim's and from our own."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.warm_start import build_warm_start, warm_start_kind
from object_detection_ext.errors import InputError
from object_detection_ext.protos import pipeline_pb2, train_pb2
from object_detection_ext.training import loop
from object_detection_ext.training.averages import averages, start_averages
from object_detection_ext.training.warm_start import MIN_SHARE, PARTS, WarmStart
from object_detection_ext.weights.names import part_of

MODEL = "ssdlite_v2_dm0.35_160"
SCOPE = "ssd_mobile_net_v2_keras_feature_extractor/"


class Still:
    """A task whose steps are never taken."""

    loss_tags = ()

    def __init__(self, network):
        self.network = network

    def train_dataset(self, start_step):
        return tf.data.Dataset.from_tensors(0)

    def batch_size(self):
        return 1


@pytest.fixture(scope="module")
def config(golden):
    proto = text_format.Parse(golden(f"{MODEL}.config").read_text(), pipeline_pb2.TrainEvalPipelineConfig())
    size = proto.model.ssd.image_resizer.fixed_shape_resizer
    size.height = size.width = 64  # no weight depends on it
    return proto


@pytest.fixture(scope="module")
def api_checkpoint(golden):
    return golden(f"{MODEL}_ckpt")


@pytest.fixture(scope="module")
def stored(golden):
    """The values in that checkpoint by our names, from the other golden file that holds them."""
    data = np.load(golden(f"{MODEL}_vars_f16.npz"))
    return {key[5:].removesuffix(":0").removeprefix(SCOPE): data[key].astype(np.float32) for key in data}


@pytest.fixture(scope="module")
def network(config):
    tf_keras.utils.set_random_seed(4)
    return build_detector(config.model.ssd).network


@pytest.fixture(scope="module")
def other(config):
    """The same for 20 classes."""
    ssd = pipeline_pb2.TrainEvalPipelineConfig.FromString(config.SerializeToString()).model.ssd
    ssd.num_classes = 20
    return build_detector(ssd).network


@pytest.fixture
def fresh(network):
    """The network with values of no meaning: 7 everywhere."""
    for variable in network.weights:
        variable.assign(tf.fill(variable.shape, 7.0))
    return network


@pytest.mark.parametrize("kind", PARTS)
def test_each_type_restores_its_parts_of_an_api_checkpoint(fresh, api_checkpoint, stored, kind):
    report = WarmStart(str(api_checkpoint), kind)(fresh)
    assert report.share == 1.0
    assert not report.unused
    for variable in fresh.weights:
        name = variable.name.removesuffix(":0")
        expected = stored[name] if part_of(name) in PARTS[kind] else np.full(variable.shape, 7.0)
        np.testing.assert_array_equal(variable.numpy(), expected, err_msg=name)


def test_a_classifier_of_slim_restores_the_backbone(fresh, golden):
    """It goes down to 8 channels where the config has at least 16, so a few early layers stay as they were, and are told."""
    report = WarmStart(str(golden("slim_mnv2_dm0.35_96_ckpt")), "classification")(fresh)
    assert report.share == pytest.approx(308336 / 322896)
    assert "min_depth: 8 would fit" in str(report)
    assert list(report.unused) == ["MobilenetV2/Logits/Conv2d_1c_1x1/biases", "MobilenetV2/Logits/Conv2d_1c_1x1/weights"]
    values = np.load(golden("slim_mnv2_dm0.35_96_vars_f16.npz"))
    np.testing.assert_array_equal(fresh.get_layer("Conv_1").kernel.numpy(), values["MobilenetV2/Conv_1/weights"].astype(np.float32))


def test_a_classifier_as_a_detector_is_refused_with_the_right_type(fresh, golden):
    with pytest.raises(InputError, match=r"it holds no feature-map layers of this network; as a warm start, set .*_type: classification"):
        WarmStart(str(golden("slim_mnv2_dm0.35_96_ckpt")), "detection")(fresh)
    assert all((variable.numpy() == 7.0).all() for variable in fresh.weights)


def test_another_network_is_refused(fresh, golden):
    with pytest.raises(InputError, match=r"it is of another network: it has no Conv1/kernel but conv1/kernel; .*type must be"):
        WarmStart(str(golden("ssd_v1_dm0.25_320_ckpt")), "full")(fresh)


def test_our_own_checkpoint_of_a_detector_for_other_classes(fresh, tmp_path, other):
    prefix = tf.train.Checkpoint(step=tf.Variable(40, dtype=tf.int64), model=other).write(str(tmp_path / "ckpt-40"))
    report = WarmStart(prefix, "full")(fresh)
    assert report.count("fresh") == len(report.class_heads) == 2 * 6
    assert report.count("missing", "mismatch") == 0
    assert "the file scores 21 classes (the background included where it has one), the config 4" in str(report)
    for variable, expected in zip(fresh.weights, other.weights, strict=True):
        untouched = "/ClassPredictor/" in variable.name
        np.testing.assert_array_equal(variable.numpy(), np.full(variable.shape, 7.0) if untouched else expected.numpy())


def test_a_model_dir_of_the_api_is_gone_on_with(fresh, api_checkpoint, stored, tmp_path, capsys):
    """All weights, its step, fresh optimizer slots, averages that begin at the weights."""
    from official.modeling.optimization import ExponentialMovingAverage

    for path in api_checkpoint.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    optimizer = ExponentialMovingAverage(tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9))
    start_averages(optimizer, fresh.trainable_variables)
    settings = loop.LoopSettings(num_steps=7)  # where the checkpoint stands: no step is taken
    result = loop.train(Still(fresh), optimizer, model_dir=tmp_path, settings=settings, instead_of="fine_tune_checkpoint there")
    assert result.step == int(optimizer.iterations) == 7
    for variable in fresh.weights:
        np.testing.assert_array_equal(variable.numpy(), stored[variable.name.removesuffix(":0")], err_msg=variable.name)
    for variable, average in averages(optimizer):
        np.testing.assert_array_equal(average.numpy(), variable.numpy(), err_msg=variable.name)
    line = capsys.readouterr().err
    assert line.startswith(f"going on from {tmp_path}/ckpt-1 (step 7, TF 2 checkpoint of the Object Detection API: all weights fit, ")
    assert line.endswith("), not from fine_tune_checkpoint there\n")


def test_a_model_dir_of_the_api_must_fit_completely(other, api_checkpoint, tmp_path):
    for path in api_checkpoint.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    before = [variable.numpy() for variable in other.weights]
    settings = loop.LoopSettings(num_steps=7)
    with pytest.raises(InputError, match=r"everything must.*num_classes must agree"):
        loop.train(Still(other), tf_keras.optimizers.legacy.SGD(0.1), model_dir=tmp_path, settings=settings)
    for variable, value in zip(other.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "classification"),
        ("from_detection_checkpoint: true", "detection"),
        ("from_detection_checkpoint: true load_all_detection_checkpoint_vars: true", "full"),
        ('fine_tune_checkpoint_type: "detection"', "detection"),
        ('fine_tune_checkpoint_type: "detection" load_all_detection_checkpoint_vars: true', "full"),
        ('fine_tune_checkpoint_type: "classification" from_detection_checkpoint: true', "classification"),
        ('fine_tune_checkpoint_type: "full" fine_tune_checkpoint_version: V2', "full"),
    ],
)
def test_the_type_of_every_kind_of_config(text, kind):
    assert warm_start_kind(text_format.Parse(text, train_pb2.TrainConfig())) == kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'fine_tune_checkpoint_type: "fine_tune"',
            r"type must be classification .*detection .*full .*got fine_tune; fine_tune itself names no",
        ),
        ('fine_tune_checkpoint_type: "Full"', r"type must be classification .*, got Full$"),
        ("load_all_detection_checkpoint_vars: true", "type must be detection with load_all_detection_checkpoint_vars, got classification"),
    ],
)
def test_a_wrong_type_is_refused(text, message):
    with pytest.raises(InputError, match=f"^train_config.fine_tune_checkpoint_{message}"):
        warm_start_kind(text_format.Parse(text, train_pb2.TrainConfig()))


def test_the_builder(config):
    assert build_warm_start(config) is None
    proto = pipeline_pb2.TrainEvalPipelineConfig.FromString(config.SerializeToString())
    proto.train_config.fine_tune_checkpoint = "there"
    assert build_warm_start(proto) == WarmStart(
        "there", "classification", depth_multiplier=proto.model.ssd.feature_extractor.depth_multiplier
    )


def test_the_component_is_checked():
    assert PARTS.keys() == MIN_SHARE.keys()
    with pytest.raises(ValueError, match="kind must be one of classification, detection, full, got all"):
        WarmStart("there", "all")
    with pytest.raises(InputError, match=r"^no checkpoint at there"):
        WarmStart("there", "full").check_path()
