"""What cannot be exported, or is no export: one clear line, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export import tflite
from export.convert import TfliteConverter
from export.flavours import Flavour
from export.model import TrainedModel
from export.postprocess_op import postprocess_op_of
from export.quiet import native_output_hidden
from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError
from pipelines import detect, evaluate


@pytest.mark.parametrize(
    ("override", "words"),
    [
        pytest.param("model { ssd { num_classes: 5 } }", "belongs to another model", id="checkpoint of another config"),
        pytest.param(
            "model { ssd { image_resizer { keep_aspect_ratio_resizer { min_dimension: 96 max_dimension: 128 } } } }",
            "model.ssd.image_resizer.keep_aspect_ratio_resizer gives images of different sizes; use fixed_shape_resizer",
            id="dynamic shape",
        ),
        pytest.param("model { ssd { image_resizer { identity_resizer { } } } }", "it gives images of different sizes", id="any shape"),
        pytest.param("train_input_reader { label_map_path: '{tmp}/map.pbtxt' }", "above num_classes 3 of the model", id="too many labels"),
        pytest.param(
            "train_input_reader { tf_record_input_reader { input_path: '{tmp}/none*' } }", "matches no file", id="no representative records"
        ),
        pytest.param(
            "model { ssd { box_coder { square_box_coder { } } box_predictor { convolutional_box_predictor { box_code_size: 3 } } } }",
            "belongs to another model",
            id="another box coder",
        ),
    ],
)
def test_a_config_that_does_not_fit(override: str, words: str, trained_folder: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'cat' } item { id: 4 name: 'cow' }")
    before = sorted(tmp_path.iterdir())
    flags = [f"--pipeline_config_path={trained_folder}/pipeline.config", f"--trained_checkpoint_dir={trained_folder}"]
    flags += [f"--output_directory={tmp_path}/out", "--types=int8", f"--config_override={override.replace('{tmp}', str(tmp_path))}"]
    assert run(lambda: tflite.main([*flags, "--no-certificate", "--num_parity_images=0"])) == 1
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_records_without_a_readable_image(trained_folder: Path, tmp_path: Path, capfd) -> None:
    """Quantisation needs images; the other types do not."""
    encoded = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"no image"]))
    with tf.io.TFRecordWriter(str(tmp_path / "train.record")) as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature={"image/encoded": encoded})).SerializeToString())
    config = tmp_path / "pipeline.config"
    config.write_text(
        (trained_folder / "pipeline.config").read_text().replace(f"{trained_folder}/train.record", f"{tmp_path}/train.record")
    )
    flags = [f"--pipeline_config_path={config}", f"--trained_checkpoint_dir={trained_folder}", f"--output_directory={tmp_path}/out"]
    assert run(lambda: tflite.main([*flags, "--types=int8", "--no-certificate", "--num_parity_images=0"])) == 1
    assert capfd.readouterr().err == (
        f"error: no image of the train records can be decoded, quantisation needs some to calibrate with: {tmp_path}/train.record\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.config", "train.record"]


def test_a_label_map_of_other_classes(trained_folder: Path, tmp_path: Path, example_image: Callable[..., np.ndarray], capfd) -> None:
    """Its names would go into labels.txt and the metadata; the evaluation records tell. Records that are not there tell nothing."""
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'shoe' } item { id: 2 name: 'hat' } item { id: 3 name: 'bag' }")
    features = {"image/encoded": tf.io.encode_png(example_image(0, seed=1)).numpy(), "image/object/class/text": b"cat"}
    features |= {f"image/object/bbox/{edge}": value for edge, value in (("xmin", 0.2), ("ymin", 0.2), ("xmax", 0.6), ("ymax", 0.6))}
    with tf.io.TFRecordWriter(str(tmp_path / "eval.record")) as writer:
        writer.write(
            tf.train.Example(features=tf.train.Features(feature={k: _feature(v) for k, v in features.items()})).SerializeToString()
        )
    config = tmp_path / "pipeline.config"
    config.write_text((trained_folder / "pipeline.config").read_text().replace(f"{trained_folder}/", f"{tmp_path}/"))
    flags = [f"--pipeline_config_path={config}", f"--trained_checkpoint_dir={trained_folder}"]
    flags += [f"--output_directory={tmp_path}/out", "--types=float32"]
    assert run(lambda: tflite.main(flags)) == 1
    error = capfd.readouterr().err
    assert 'class "cat" is not in the label map (did you mean "hat"?)' in error
    assert error.endswith("; the certificate compares on these records, --no-certificate exports without it\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()

    (tmp_path / "eval.record").unlink()
    assert run(lambda: tflite.main(flags)) == 0
    assert "no certificate: " in "".join(capfd.readouterr())
    assert (tmp_path / "out" / "labels.txt").read_text() == "shoe\nhat\nbag\n"


def _feature(value: bytes | float) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


@pytest.mark.parametrize("flavour", ["nms", "raw"])
def test_operations_that_the_runtime_lacks(flavour: Flavour, model: TrainedModel, capfd) -> None:
    postprocess = postprocess_op_of(model.detector, max_detections=5, use_regular_nms=True)

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 4], tf.float32, name="image")])
    def infer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        boxes, scores = tf.math.igamma(tf.nn.relu(image) + 1.0, 2.0), tf.sigmoid(image[..., :3])
        if flavour == "raw":
            return {"box_encodings": boxes, "class_scores": scores}
        return postprocess(boxes, scores, tf.ones([8, 4]))._asdict()

    converter = TfliteConverter(infer.get_concrete_function(), postprocess if flavour == "nms" else None, (-1.0, 1.0), flavour)
    with pytest.raises(InputError, match=rf"^flavour {flavour}: this network has operations that TensorFlow Lite lacks: .*Igamma"):
        converter.float32()
    assert capfd.readouterr().err == ""


def test_a_box_coder_that_the_fused_suppression_lacks(model: TrainedModel) -> None:
    from dataclasses import replace

    from object_detection_ext.targets.box_coder import SquareBoxCoder

    with pytest.raises(InputError, match=r"decodes faster_rcnn_box_coder only; the config has SquareBoxCoder"):
        postprocess_op_of(replace(model.detector, box_coder=SquareBoxCoder()), max_detections=5, use_regular_nms=True)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = tf_keras.Input((16, 16, 3), batch_size=1)
    network = tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(image)))
    path = tmp_path_factory.mktemp("classifier") / "classifier.tflite"
    with native_output_hidden():
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    return path


@pytest.mark.parametrize("command", [detect, evaluate], ids=lambda command: command.__name__)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, " is not a detector: it has no TFLite_Detection_PostProcess", id="classifier"),
        pytest.param(b"text", ": the TFLite runtime refuses this file", id="text"),
        pytest.param(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 40, ": the TFLite runtime refuses this file", id="broken"),
    ],
)
def test_a_file_that_is_no_detector(
    command: ModuleType, content: bytes | None, words: str, classifier: Path, trained_folder: Path, tmp_path: Path, capfd
) -> None:
    model = tmp_path / "classifier.tflite"
    model.write_bytes(classifier.read_bytes() if content is None else content)
    tf.io.write_file(str(tmp_path / "photos" / "a.png"), tf.io.encode_png(np.zeros((20, 20, 3), np.uint8)))
    flags = {
        detect: [f"--images={tmp_path}/photos", f"--output_dir={tmp_path}/out"],
        evaluate: [f"--pipeline_config_path={trained_folder}/pipeline.config"],
    }[command]
    assert run(lambda: command.main([f"--model={model}", *flags])) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"error: {model}{words}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
