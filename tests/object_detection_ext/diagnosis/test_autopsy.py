"""The whole of it, from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from data_tools.tf_example import bytes_feature, encode_example, float_feature, frame_record, int64_feature, text_feature
from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import Config, load_config
from object_detection_ext.diagnosis import autopsy
from object_detection_ext.diagnosis.autopsy import run_autopsy
from object_detection_ext.diagnosis.stage import Outcome
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Severity
from object_detection_ext.training.checkpoints import save_network

NAMES = ["red", "green", "blue"]

pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run")]


def write_records(path: Path, scene: Any, *, labels: Any = lambda classes: [each + 1 for each in classes], count: int = 6) -> str:
    """The scene as a record file."""
    with path.open("wb") as file:
        for image in range(count):
            pixels = np.broadcast_to(np.array([20 + 20 * image, 240 - 20 * image, 60], np.uint8), (48, 80, 3))
            boxes = scene.anchors[scene.chosen[image]]
            ids = labels(scene.classes[image])
            features = {
                "image/encoded": bytes_feature([tf.io.encode_png(pixels).numpy()]),
                "image/source_id": text_feature([f"image {image}"]),
                "image/object/class/label": int64_feature(ids),
            }
            for column, name in enumerate(("ymin", "xmin", "ymax", "xmax")):
                features[f"image/object/bbox/{name}"] = float_feature(boxes[:, column].tolist())
            file.write(frame_record(encode_example(features)))
    return str(path)


def write_map(path: Path, names: list[str]) -> str:
    path.write_text("".join(f'item {{ id: {number} name: "{name}" }}\n' for number, name in enumerate(names, start=1)))
    return str(path)


@pytest.fixture
def config(tiny_config_path, tmp_path, scene) -> Config:
    """The tiny config with records to train and evaluate on."""
    label_map = write_map(tmp_path / "map.pbtxt", NAMES)
    readers = [
        f'{name} {{ label_map_path: "{label_map}" tf_record_input_reader {{ input_path: "{write_records(tmp_path / name, scene)}" }} }}'
        for name in ("train_input_reader", "eval_input_reader")
    ]
    with tiny_config_path.open("a") as file:
        file.write("\n".join(readers))
    return load_config(tiny_config_path)


@pytest.mark.parametrize(
    "override",
    [
        "",
        "image_resizer { keep_aspect_ratio_resizer { min_dimension: 64 max_dimension: 64 pad_to_max_dimension: true } }",
        "encode_background_as_zeros: false post_processing { score_converter: SOFTMAX } "
        "loss { classification_loss { weighted_softmax { } } }",
    ],
    ids=["stock", "padded", "softmax"],
)
def test_records_alone(config, override):
    result = run_autopsy(config.merged(f"model {{ ssd {{ {override} }} }}", source="test"))
    assert result.first_broken is None and result.findings("c") == []
    assert [stage.name for stage in result.stages][-1] == "all together"
    assert all(stage.outcome is Outcome.OK for stage in result.stages), str(result)
    assert str(result).endswith("\n\nno stage is broken")


def test_a_sample_of_the_training_records_where_there_are_no_others(config):
    seen = []

    def watch(batches: Any, total: int) -> Any:
        for batch in batches:
            seen.extend(batch.source_ids.numpy().tolist())
            yield batch
        assert total == 3

    del config.proto.eval_input_reader[:]
    assert run_autopsy(config, num_images=3, watch=watch).stages[0].message == "3 images of 1 file decode; 6 objects"
    assert seen == [b"image 0", b"image 2", b"image 4"]  # spread over the records


def test_a_label_that_the_map_lacks(config, tmp_path, scene):
    path = write_records(tmp_path / "bad", scene, labels=lambda classes: [each + 2 for each in classes])
    config.proto.eval_input_reader[0].tf_record_input_reader.input_path[:] = [path]
    result = run_autopsy(config)
    (stage,) = result.stages
    assert (stage.name, stage.outcome) == ("records", Outcome.BROKEN)
    assert "record 1 (from 0)" in stage.message and "class label 4 is out of range" in stage.message
    (finding,) = result.findings("pipeline.config")
    assert (finding.check, finding.severity, finding.where) == ("broken_chain", Severity.ERROR, "pipeline.config")
    assert str(result).splitlines()[-1].startswith("first broken stage: 1, records: ")


def test_records_that_are_not_there(config, tmp_path):
    config.proto.eval_input_reader[0].tf_record_input_reader.input_path[:] = [str(tmp_path / "none-*")]
    (stage,) = run_autopsy(config).stages
    assert stage.outcome is Outcome.BROKEN and "none-*" in stage.message


def test_label_maps_of_training_and_evaluation(config, tmp_path):
    config.proto.train_input_reader.label_map_path = write_map(tmp_path / "other.pbtxt", ["background thing", *NAMES[:2]])
    broken = run_autopsy(config).first_broken
    assert broken is not None and broken.name == "classes"
    assert "id 1 is background thing in training, red here" in broken.message


def test_a_label_map_that_is_none(config, tmp_path):
    Path(config.proto.eval_input_reader[0].label_map_path).write_text("item { id: 1 }")
    (stage,) = run_autopsy(config).stages
    assert (stage.name, stage.outcome) == ("classes", Outcome.BROKEN)
    assert "map.pbtxt:1" in stage.message


def test_a_wrong_field_is_an_error_of_the_config(config):
    config.proto.model.ssd.num_classes = 0
    with pytest.raises(InputError, match=r"pipeline\.config:3: model\.ssd\.num_classes must be >= 1"):
        run_autopsy(config)


def test_no_checkpoint(config, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run_autopsy(config, checkpoint=str(tmp_path / "nowhere"))


def test_a_network_that_was_never_trained(config, tmp_path):
    prefix = save_network(build_detector(config.proto.model.ssd).network, tmp_path / "model", step=300)
    result = run_autopsy(config, checkpoint=str(tmp_path / "model"))
    assert prefix.endswith("ckpt-300")
    assert [stage.name for stage in result.stages[8:]] == ["weights", "losses", "scores", "predictions", "training images"]
    broken = result.first_broken
    assert broken is result.stages[8]
    assert "300 steps of 400; the moving statistics of all 3 batch norms are as they start" in broken.message
    assert result.stages[-1].message.endswith("it does not know them either")
    assert result.trials[0].name == "as they are" and len(result.trials) >= 10
    assert "trial  " in str(result)


def test_the_checkpoint_of_another_network(config, tmp_path):
    other = load_config(config.path, override="model { ssd { num_classes: 7 } }")
    save_network(build_detector(other.proto.model.ssd).network, tmp_path / "model", step=1)
    broken = run_autopsy(config, checkpoint=str(tmp_path / "model")).first_broken
    assert broken is not None and broken.name == "weights"
    assert "belongs to another model" in broken.message


class Restorable:
    """A fake network that finds something only after the right weights were restored."""

    def __init__(self, network: Any, *, averaged: bool) -> None:
        self.network, self.averaged = network, averaged
        self.input_shape, self.weights = network.input_shape, []
        self.is_right = tf.Variable(False)

    def __call__(self, inputs: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        encodings, logits = self.network(inputs, training=training)
        return encodings, tf.where(self.is_right, logits, -9.0)

    def restore(self, network: Any, prefix: str, *, use_moving_averages: bool) -> str:
        assert network is self
        self.is_right.assign(use_moving_averages == self.averaged)
        return prefix


@pytest.fixture
def with_network(monkeypatch, config):
    """Puts a fake in place of the detector's network, and of its checkpoint."""

    def put(scene: Any, *, averaged: bool = False) -> str:
        network = Restorable(scene.predictions(), averaged=averaged)
        detector = replace(build_detector(config.proto.model.ssd), network=network)
        monkeypatch.setattr(autopsy, "build_pipeline_detector", lambda proto: detector)
        monkeypatch.setattr(autopsy.checkpoints, "find_checkpoint", lambda path: path)
        monkeypatch.setattr(autopsy.checkpoints, "restore_network", network.restore)
        return "ckpt-400"

    return put


def test_evaluation_records_whose_ids_are_one_too_high(config, tmp_path, scene, with_network):
    two = replace(scene, classes=[[image % 2, (image + 1) % 2] for image in range(6)])
    shifted = write_records(tmp_path / "shifted", two, labels=lambda classes: [each + 2 for each in classes])
    for reader, path in (
        (config.proto.eval_input_reader[0], shifted),
        (config.proto.train_input_reader, write_records(tmp_path / "r", two)),
    ):
        reader.tf_record_input_reader.input_path[:] = [path]
    result = run_autopsy(config, checkpoint=with_network(two))
    broken = result.first_broken
    assert broken is not None and broken.name == "predictions"
    assert broken.message.endswith("1.000 with class ids + 1")
    (finding,) = result.findings("pipeline.config")
    assert (finding.check, finding.severity) == ("broken_checkpoint", Severity.WARNING)  # nothing that keeps training from starting
    assert result.stages[-1].name == "training images"
    assert result.stages[-1].message.startswith("mAP 1.000, mAP@.5 1.000: it knows them")


def test_averages_that_have_not_followed(config, scene, with_network):
    config.proto.eval_config.use_moving_averages = True
    result = run_autopsy(config, checkpoint=with_network(scene, averaged=False))
    broken = result.first_broken
    assert broken is not None and broken.name == "predictions"
    assert broken.message.endswith("1.000 with weights instead of their averages")
    assert "use_moving_averages: false" in broken.advice


def test_all_is_well_with_the_right_weights(config, scene, with_network):
    result = run_autopsy(config, checkpoint=with_network(scene))
    assert result.first_broken is None
    assert result.trials[0].score.map == pytest.approx(1.0)
    assert "averages instead of the weights" in [trial.name for trial in result.trials]
