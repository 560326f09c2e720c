from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.anchors.multiscale import MultiscaleAnchorGenerator
from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.builders.anchor_generator import build_anchor_generator
from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.diagnosis.anchor_grid import anchor_grids, best_iou
from object_detection_ext.diagnosis.anchor_patch import AnchorPatch, apply_patch, propose_anchors, save_patch
from object_detection_ext.diagnosis.anchor_search import search_anchors
from object_detection_ext.diagnosis.anchor_setup import AnchorSetup, build_anchor_setup
from object_detection_ext.errors import InputError
from object_detection_ext.types import GroundTruth

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
BCCD = CONFIGS / "ssdlite_mobilenet_v2_035_320x320_bccd.config"
MAPS = [(10, 10), (5, 5), (3, 3), (2, 2), (1, 1), (1, 1)]
NAMES = {1: "Platelets", 2: "RBC", 3: "WBC"}


def flat_boxes(count: int = 400, *, seed: int = 0) -> np.ndarray:
    """Five times as wide as high, a tenth to four tenths of the image wide."""
    rng = np.random.default_rng(seed)
    widths = rng.uniform(0.1, 0.4, count)
    centers = rng.uniform(0.2, 0.8, (count, 2))
    half = np.stack([widths / 10, widths / 2], axis=1)
    return np.concatenate([centers - half, centers + half], axis=1)


def missed(generator, boxes, *, maps=MAPS, image_shape=(160, 160)) -> float:
    return float((best_iou(boxes, anchor_grids(generator, maps, image_shape=image_shape)) < 0.5).mean())


@pytest.mark.parametrize(
    "generator",
    [
        SsdAnchorGenerator(),
        SsdAnchorGenerator(reduce_boxes_in_lowest_layer=False, interpolated_scale_aspect_ratio=0.0, scales=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        SsdAnchorGenerator(aspect_ratios=(), base_anchor_size=(0.5, 1.0)),
    ],
    ids=["stock", "no_reduction_no_interpolation", "interpolated_only"],
)
def test_ssd_keeps_the_heads_and_reaches_more(generator):
    boxes = flat_boxes()
    found = search_anchors(generator, boxes, np.ones(len(boxes), int), feature_map_shapes=MAPS, image_shape=(160, 160))
    assert found.num_anchors_per_location == generator.num_anchors_per_location
    assert missed(found, boxes) < missed(generator, boxes)
    assert tuple(sorted(found.scales)) == found.scales  # small objects stay with the fine maps


@pytest.mark.parametrize("per_octave", [1, 2])
def test_multiscale_keeps_the_heads_and_reaches_more(per_octave):
    generator = MultiscaleAnchorGenerator(min_level=3, max_level=5, scales_per_octave=per_octave)
    maps = [(20, 20), (10, 10), (5, 5)]
    boxes = flat_boxes()
    found = search_anchors(generator, boxes, np.ones(len(boxes), int), feature_map_shapes=maps, image_shape=(160, 160))
    assert found.num_anchors_per_location == generator.num_anchors_per_location
    assert (found.min_level, found.max_level) == (3, 5)
    assert missed(found, boxes, maps=maps) < 0.5 * missed(generator, boxes, maps=maps)


def test_a_rare_class_counts():
    # 2 % of the objects are flat, the others fit the anchors as they are.
    common, rare = np.tile([[0.25, 0.25, 0.5, 0.5]], (490, 1)), flat_boxes(10)
    class_ids = np.array([1] * 490 + [2] * 10)
    generator = SsdAnchorGenerator(reduce_boxes_in_lowest_layer=False)
    found = search_anchors(generator, np.concatenate([common, rare]), class_ids, feature_map_shapes=MAPS, image_shape=(160, 160))
    assert missed(found, rare) < missed(generator, rare)
    assert missed(found, common) == 0


@pytest.mark.parametrize(
    ("generator", "count"),
    [(SsdAnchorGenerator(), 9), (MultiscaleAnchorGenerator(min_level=4, max_level=9), 3)],
    ids=["ssd", "multiscale"],
)
def test_more_or_fewer_anchors_if_asked(generator, count):
    boxes = flat_boxes(100)
    found = search_anchors(generator, boxes, np.ones(100, int), feature_map_shapes=MAPS, image_shape=(160, 160), anchors_per_location=count)
    assert found.num_anchors_per_location == [count] * 6


def test_an_impossible_number_of_anchors():
    with pytest.raises(ValueError, match="anchors_per_location must be >= 2, got 1"):
        search_anchors(
            SsdAnchorGenerator(), flat_boxes(30), np.ones(30, int), feature_map_shapes=MAPS, image_shape=(160, 160), anchors_per_location=1
        )


def bccd_objects(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, class ids and image sizes of the training half of BCCD, straight from its annotations."""
    rows = []
    ids = {name: class_id for class_id, name in NAMES.items()}
    for stem in (folder / "ImageSets" / "Main" / "trainval.txt").read_text().split():
        root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
        height, width = (int(root.findtext(f"size/{name}", "0")) for name in ("height", "width"))
        for item in root.iterfind("object"):
            box = [float(item.findtext(f"bndbox/{name}", "nan")) for name in ("ymin", "xmin", "ymax", "xmax")]
            rows.append([box[0] / height, box[1] / width, box[2] / height, box[3] / width, ids[item.findtext("name", "")], height, width])
    table = np.array(rows)
    table = table[(table[:, 2:4] > table[:, :2]).all(axis=1)]
    return table[:, :4], table[:, 4].astype(int), table[:, 5:]


@pytest.fixture(scope="module")
def bccd(test_data) -> tuple[Config, AnchorSetup, AnchorPatch]:
    config = load_config(BCCD)
    setup = build_anchor_setup(config)
    boxes, class_ids, sizes = bccd_objects(test_data / "bccd" / "BCCD")
    patch = propose_anchors(config, setup, setup.to_network(boxes, sizes), class_ids, class_names=NAMES)
    assert patch is not None
    return config, setup, patch


def test_the_stock_anchors_of_bccd_are_improved(bccd):
    _, setup, patch = bccd
    assert patch.before.overall.missed_share == pytest.approx(0.083, abs=0.002)
    assert patch.after.overall.missed_share < 0.055
    before, after = ({group.name: group.missed_share for group in each.by_class} for each in (patch.before, patch.after))
    assert before["Platelets"] == pytest.approx(0.685, abs=0.005) and after["Platelets"] < 0.55
    assert patch.keeps_heads and setup.generator.num_anchors_per_location == [3, 6, 6, 6, 6, 6]


def test_the_patch_merges_over_the_config(bccd, tmp_path):
    config, _, patch = bccd
    save_patch(patch, tmp_path / "anchors.patch")
    text = (tmp_path / "anchors.patch").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["anchors.patch"]
    patched = load_config(BCCD, override=text)  # as --config_override gives it
    assert patched.proto == apply_patch(config, patch).proto
    check_supported(patched)
    assert build_anchor_generator(patched.proto.model.ssd.anchor_generator) == _float32(patch.generator)
    patched.proto.model.ssd.ClearField("anchor_generator")
    config.proto.model.ssd.CopyFrom(load_config(BCCD).proto.model.ssd)
    rest = load_config(BCCD).proto
    rest.model.ssd.ClearField("anchor_generator")
    assert patched.proto == rest  # nothing else changes
    for number in (f"{patch.before.overall.missed_share:.1%}", f"{patch.after.overall.missed_share:.1%}"):
        assert number in text


def _float32(generator: SsdAnchorGenerator) -> SsdAnchorGenerator:
    """As the fields of a message keep numbers."""

    def single(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(np.float32(value)) for value in values)

    return SsdAnchorGenerator(
        scales=single(generator.scales),
        aspect_ratios=single(generator.aspect_ratios),
        interpolated_scale_aspect_ratio=float(np.float32(generator.interpolated_scale_aspect_ratio)),
        base_anchor_size=single(generator.base_anchor_size),
        min_scale=float(np.float32(0.2)),
        max_scale=float(np.float32(0.95)),
    )


def test_a_patched_detector_trains_a_step_and_takes_the_old_weights(tiny_config_path):
    config = load_config(tiny_config_path)
    setup = build_anchor_setup(config)
    boxes = flat_boxes(200)
    patch = propose_anchors(config, setup, boxes, np.ones(200, int), class_names={})
    assert patch is not None and patch.keeps_heads
    stock, patched = (build_detector(each.proto.model.ssd) for each in (config, apply_patch(config, patch)))
    assert [tuple(weight.shape) for weight in stock.network.weights] == [tuple(weight.shape) for weight in patched.network.weights]
    patched.network.set_weights(stock.network.get_weights())

    truth = GroundTruth(
        tf.constant(boxes[np.newaxis, :2], tf.float32),
        tf.constant([[0, 1]]),
        tf.ones([1, 2]),
        tf.zeros([1, 2], tf.bool),
        tf.zeros([1, 2], tf.bool),
        tf.ones([1, 2]),
        tf.constant([2]),
    )
    loss = build_detection_loss(config.proto.model.ssd)
    optimizer = tf_keras.optimizers.legacy.SGD(0.01)
    losses = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            losses.append(tf.add_n(list(loss(patched.predict(tf.zeros([1, 64, 64, 3]), training=True), truth, patched.anchors))))
        variables = patched.network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(losses[-1], variables), variables, strict=True))
    assert np.isfinite(losses).all() and losses[1] != losses[0]


def test_nothing_is_offered_where_nothing_is_missed(tiny_config_path):
    config = load_config(tiny_config_path)
    setup = build_anchor_setup(config)
    anchors = setup.generator(setup.feature_map_shapes, image_shape=setup.input_shape)[:50].astype(np.float64)
    assert propose_anchors(config, setup, anchors, np.ones(50, int), class_names={}) is None


def test_few_objects_say_nothing(tiny_config_path):
    config = load_config(tiny_config_path)
    with pytest.raises(InputError, match="20 objects or more, got 3"):
        propose_anchors(config, build_anchor_setup(config), flat_boxes(3), np.ones(3, int), class_names={})
