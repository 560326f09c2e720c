"""The SSD configs that the original API publishes: each builds the original's network and trains a step.

The numbers in published_configs.json are the original's: of its TF 2 network, and of its TF 1 network where there is no other. A network
for large images is built for small ones here, which changes none of its parameters. DETECTION_TEST_SLOW=1 also builds it as it is, and the
largest networks at all: some three minutes more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.builders.anchor_generator import build_anchor_generator
from object_detection_ext.builders.detection_task import TaskOptions, build_detection_task
from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.optimizer import build_optimizer
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.errors import InputError
from object_detection_ext.models.quantization_state import is_quantization_state
from object_detection_ext.training.detection import DetectionTask
from tests.conftest import TEST_DATA
from tests.object_detection_ext.data.records import example, jpeg, write

CONFIGS = TEST_DATA / "odapi" / "configs"
GOLDEN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[2] / "golden" / "published_configs.json").read_text())
REFUSED = {  # type that only exists in the API: what the message offers
    "ssd_inception_v2_pets.config": "ssd_mobilenet_v2_keras",
    "ssd_mobilenet_v1_ppn_shared_box_predictor_300x300_coco14_sync.config": "ssd_mobilenet_v1_fpn_keras",
    "ssd_mobilenet_v2_mnasfpn_shared_box_predictor_320x320_coco_sync.config": "ssd_mobilenet_v2_fpn_keras",
    "ssd_spaghettinet_edgetpu_320x320_coco17_sync_4x4.config": "ssd_mobiledet_edgetpu",
}
SLOW = re.compile(r"efficientdet_d[357]|resnet152|resnet101_v1_fpn_1024")  # larger twins of others
IS_SLOW_WANTED = os.environ.get("DETECTION_TEST_SLOW") == "1"
FORWARD_ONLY = re.compile(r"efficientdet_d[3-7]|resnet1(01|52)")  # a training step takes too long
LARGEST_AS_IT_IS, TRAIN_SIZE, FORWARD_SIZE = 320, 160, 256  # pixels


def fill_in(name: str, folder: Path) -> Config:
    """The config as a user would fill it in, for two small pictures, at a small image size."""
    text = (CONFIGS / name).read_text()
    num_classes = int(re.findall(r"num_classes: (\d+)", text)[0])
    label_map = folder / f"{num_classes}_label_map.pbtxt"
    label_map.write_text("".join(f"item {{ id: {label_id} name: 'class {label_id}' }}\n" for label_id in range(1, num_classes + 1)))
    records = write(folder / "two.record", [example(jpeg(size=(96, 128)), [[0.1, 0.2, 0.8, 0.7]], [1])] * 2)
    for field, value in {"label_map_path": label_map, "input_path": records, "fine_tune_checkpoint": ""}.items():
        text = re.sub(rf"\b{field}: (['\"]).*?\1", f'{field}: "{value}"', text)
    path = folder / name
    path.write_text(text)
    averages = "optimizer { use_moving_average: false }"  # of hundreds of variables one by one take two seconds
    override = f"train_config {{ batch_size: 1 {averages} }} {_resizer(name)}"
    return load_config(path, override=override)


def image_shape(name: str) -> tuple[int, int]:
    """Height and width of the network's input in the config as it is."""
    resizer = load_config(CONFIGS / name).proto.model.ssd.image_resizer
    fixed, longest = resizer.fixed_shape_resizer, resizer.keep_aspect_ratio_resizer.max_dimension
    return (fixed.height, fixed.width) if resizer.HasField("fixed_shape_resizer") else (longest, longest)


def _resizer(name: str) -> str:
    """An override where the config's images are large."""
    if max(image_shape(name)) <= LARGEST_AS_IT_IS:
        return ""
    size = FORWARD_SIZE if FORWARD_ONLY.search(name) else TRAIN_SIZE
    if load_config(CONFIGS / name).proto.model.ssd.image_resizer.HasField("fixed_shape_resizer"):
        resizer = f"fixed_shape_resizer {{ height: {size} width: {size} }}"
    else:
        resizer = f"keep_aspect_ratio_resizer {{ min_dimension: {size} max_dimension: {size} }}"
    return f"model {{ ssd {{ image_resizer {{ {resizer} }} }} }}"


@pytest.fixture(scope="module", params=[name for name in GOLDEN if name not in REFUSED], ids=lambda name: name[:60])
def name(request: pytest.FixtureRequest) -> str:
    if not CONFIGS.is_dir():
        pytest.skip(f"published configs not found at {CONFIGS}; set DETECTION_TEST_DATA")
    if SLOW.search(request.param) and not IS_SLOW_WANTED:
        pytest.skip("takes half a minute; set DETECTION_TEST_SLOW=1")
    return request.param


@pytest.fixture(scope="module")
def config(name: str, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return fill_in(name, tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def task(config: Config) -> Iterator[DetectionTask]:
    check_supported(config)
    yield build_detection_task(config, TaskOptions(with_training=True))
    tf_keras.backend.clear_session()


@pytest.fixture(scope="module")
def original(name: str) -> dict[str, Any]:
    """Of EfficientDet what its outputs depend on: the original also keeps a classifier and its last blocks, which nothing uses."""
    numbers = GOLDEN[name]["tf2"] or GOLDEN[name]["tf1"]
    return numbers.get("used", numbers)


def test_parameters(task: DetectionTask, original: dict[str, Any]) -> None:
    def count(variables: list[tf.Variable]) -> int:
        return sum(variable.shape.num_elements() for variable in variables)

    network = task.network
    weights = [variable for variable in network.variables if not is_quantization_state(variable.name.removesuffix(":0"))]
    assert len(weights) == original["variables"]
    assert count(weights) == original["parameters"]
    assert count(network.trainable_variables) == original["trainable_parameters"]


def test_anchors(name: str, original: dict[str, Any]) -> None:
    """Of the original's feature maps."""
    generator = build_anchor_generator(load_config(CONFIGS / name).proto.model.ssd.anchor_generator)
    assert len(generator(original["feature_map_shapes"], image_shape=image_shape(name))) == original["anchors"]


def test_feature_maps(name: str, task: DetectionTask, original: dict[str, Any]) -> None:
    detector = task.detector
    if detector.input_shape[:2] != image_shape(name):
        if not IS_SLOW_WANTED:
            pytest.skip("builds a second, large network; set DETECTION_TEST_SLOW=1")
        detector = build_detector(load_config(CONFIGS / name).proto.model.ssd)
    assert [list(shape) for shape in detector.feature_map_shapes] == original["feature_map_shapes"]
    assert len(detector.anchors) == original["anchors"]


def test_a_step(name: str, config: Config, task: DetectionTask) -> None:
    batch = next(iter(task.train_dataset(0)))
    if FORWARD_ONLY.search(name):
        predictions = task.detector.predict(batch.images)
        assert np.isfinite(predictions.box_encodings).all() and np.isfinite(predictions.class_logits).all()
        return
    variables = task.network.trainable_variables
    with tf.GradientTape() as tape:
        losses = task.losses(batch, training=True)
        loss = tf.add_n([*losses.values(), *task.network.losses])
    gradients = tape.gradient(loss, variables)
    assert np.isfinite(loss) and [variable.name for variable, gradient in zip(variables, gradients, strict=True) if gradient is None] == []
    optimizer = build_optimizer(config.proto.train_config.optimizer)
    before = [variable.numpy() for variable in variables]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    assert all(np.isfinite(variable).all() for variable in variables)
    assert any((variable.numpy() != old).any() for variable, old in zip(variables, before, strict=True))


@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused_names_what_is_nearest(refused: str, test_data: Path) -> None:
    ssd = load_config(CONFIGS / refused).proto.model.ssd
    with pytest.raises(InputError, match=rf"^model.ssd.feature_extractor.type {ssd.feature_extractor.type} of the TF .*{REFUSED[refused]}"):
        build_detector(ssd)


@pytest.mark.parametrize(
    ("other", "offered"),
    [("faster_rcnn_resnet50_coco.config", "ssd_resnet50_v1_fpn_keras"), ("centernet_hourglass104_512x512_coco17_tpu-8.config", "ssd_")],
)
def test_other_detectors_are_refused_by_name(other: str, offered: str, test_data: Path) -> None:
    with pytest.raises(InputError, match=rf"is not a model of this project.*{offered}"):
        load_config(CONFIGS / other)
