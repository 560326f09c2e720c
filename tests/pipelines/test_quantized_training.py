"""Quantisation-aware training as a user does it: from a float checkpoint, gone on with, evaluated, exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.model import float_model, load_trained_model
from export.tflite_export import TfliteOptions, export_tflite
from object_detection_ext.errors import InputError
from object_detection_ext.weights.open import open_weights
from pipelines.evaluate import evaluate
from pipelines.train import TrainOptions, train
from tests.object_detection_ext.data.records import NAMES, numbered, write

QUANTIZED = "graph_rewriter { quantization { delay: 0 } } model { ssd { freeze_batchnorm: true } }"
CONFIG = """
model {{
  ssd {{
    num_classes: 3
    image_resizer {{ fixed_shape_resizer {{ height: 48 width: 64 }} }}
    feature_extractor {{
      type: "ssd_mobilenet_v1_keras" depth_multiplier: 0.25 num_layers: 2
      conv_hyperparams {{
        activation: RELU_6 regularizer {{ l2_regularizer {{ weight: 0.00004 }} }} initializer {{ variance_scaling_initializer {{ }} }}
        batch_norm {{ decay: 0.5 scale: true }}
      }}
      override_base_feature_extractor_hyperparams: true
    }}
    box_coder {{ faster_rcnn_box_coder {{ }} }}
    matcher {{ argmax_matcher {{ }} }}
    similarity_calculator {{ iou_similarity {{ }} }}
    box_predictor {{
      convolutional_box_predictor {{
        kernel_size: 1
        conv_hyperparams {{ regularizer {{ l2_regularizer {{ }} }} initializer {{ variance_scaling_initializer {{ }} }} }}
      }}
    }}
    anchor_generator {{ ssd_anchor_generator {{ num_layers: 2 }} }}
    post_processing {{ batch_non_max_suppression {{ score_threshold: 1e-8 }} score_converter: SIGMOID }}
    loss {{ classification_loss {{ weighted_sigmoid_focal {{ }} }} localization_loss {{ weighted_smooth_l1 {{ }} }} }}
  }}
}}
train_config {{
  batch_size: 4
  num_steps: 3
  optimizer {{ momentum_optimizer {{ learning_rate {{ constant_learning_rate {{ learning_rate: 0.01 }} }} }} use_moving_average: false }}
}}
train_input_reader {{ label_map_path: "{folder}/map.pbtxt" tf_record_input_reader {{ input_path: "{folder}/train.record" }} }}
eval_config {{ }}
eval_input_reader {{ label_map_path: "{folder}/map.pbtxt" tf_record_input_reader {{ input_path: "{folder}/eval.record" }} }}
"""


def run(folder: Path, model_dir: str, override: str = "", *, steps: int = 3) -> int:
    return train(
        TrainOptions(
            str(folder / "pipeline.config"),
            str(folder / model_dir),
            config_override=override,
            num_train_steps=steps,
            eval_every_n=0,
            record_summaries=False,
        )
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network trained in float (`float`), and fine-tuned from it with fake quantisation (`quantized`, 2 steps)."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "pipeline.config").write_text(CONFIG.format(folder=folder))
    (folder / "map.pbtxt").write_text("".join(f"item {{ id: {number} name: '{name}' }}\n" for number, name in enumerate(NAMES, 1)))
    write(folder / "train.record", numbered(8))
    write(folder / "eval.record", numbered(4))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("use_training_kernels", "use_small_network_threads"):  # TensorFlow's settings are those of the whole process
            patch.setattr(f"pipelines.train.{name}", lambda: None)
        assert run(folder, "float") == 0
        fine_tune = f'train_config {{ fine_tune_checkpoint: "{folder}/float" fine_tune_checkpoint_type: "full" }} {QUANTIZED}'
        assert run(folder, "quantized", fine_tune, steps=2) == 0
    return folder


def stored(folder: Path) -> dict[str, np.ndarray]:
    source = open_weights(tf.train.latest_checkpoint(folder))
    return {name: source.read(name) for name in source.shapes}


def test_the_checkpoint_holds_ranges_and_fine_tuned_weights(work: Path):
    before, after = stored(work / "float"), stored(work / "quantized")
    ranges = {name: value for name, value in after.items() if name not in before}
    assert ranges.pop("quantization/steps") == 2
    assert {name.rpartition("/")[2] for name in ranges} == {"low", "high"}
    assert all(after[name.replace("/low", "/high")] > value for name, value in ranges.items() if name.endswith("/low"))
    kernel = next(name for name in before if name.endswith("/kernel"))
    difference = np.abs(after[kernel] - before[kernel])
    assert 0 < difference.max() < 0.1 * np.abs(before[kernel]).max()  # it began there


def test_a_run_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("use_training_kernels", "use_small_network_threads"):
        monkeypatch.setattr(f"pipelines.train.{name}", lambda: None)
    with pytest.raises(InputError, match="ckpt-2 was trained with fake quantisation: set graph_rewriter"):
        run(work, "quantized")  # without graph_rewriter
    assert run(work, "quantized", QUANTIZED, steps=3) == 0
    assert stored(work / "quantized")["quantization/steps"] == 3


def test_a_float_checkpoint_does_not_pass_for_one_with_ranges(work: Path):
    with pytest.raises(InputError, match=r"ckpt-3 has no ranges for fake quantisation, as it was trained in float: make it the fine_tune_"):
        evaluate(str(work / "pipeline.config"), str(work / "float"), config_override=QUANTIZED, quiet=True)


def test_a_delay_beyond_the_end_is_told(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.train.build_detection_task", lambda *_: pytest.exit)
    with pytest.raises(AttributeError):  # nothing is trained
        run(work, str(tmp_path), "graph_rewriter { quantization { delay: 48000 } }")
    assert "delay is 48000 and the run ends at step 3: it gathers ranges, but trains in float to its end" in capsys.readouterr().err


def test_evaluation_rounds(work: Path):
    model = load_trained_model(work / "quantized" / "pipeline.config", work / "quantized")
    image = np.random.default_rng(0).uniform(-1, 1, (1, 48, 64, 3)).astype(np.float32)
    head = model.detector.network.get_layer("BoxPredictor/ConvolutionalClassHead_0/ClassPredictor/quantized")
    step = float(head.high - head.low) / 255
    num_anchors = int(np.prod(model.detector.feature_map_shapes[0])) * 3
    for each, is_rounded in ((model, True), (float_model(model), False)):
        steps = each.detector.network(image, training=False)[1].numpy()[0, :num_anchors] / step
        assert (np.abs(steps - np.rint(steps)).max() < 0.001) == is_rounded


def test_int8_needs_no_training_images_and_agrees_with_the_checkpoint(work: Path, tmp_path: Path):
    gone = f'train_input_reader {{ tf_record_input_reader {{ input_path: "{tmp_path}/gone.record" }} }}'
    model = load_trained_model(work / "quantized" / "pipeline.config", work / "quantized", config_override=gone)
    options = TfliteOptions(types=("float32", "int8"), flavours=("nms", "raw", "decoded"), num_parity_images=4, certificate=True)
    lines: list[str] = []
    export_tflite(model, tmp_path / "out", options, report=lines.append)
    assert "int8: ranges as trained" in lines
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model_float32.tflite", "model_int8.tflite", "model_raw_int8.tflite", "model_decoded_int8.tflite"} <= written
    models = {each["name"]: each for each in json.loads((tmp_path / "out" / "certificate.json").read_text())["models"]}
    int8, exact = models["model_int8.tflite"], models["model_float32.tflite"]
    assert int8["score_decibels"] > exact["score_decibels"] + 3  # the float file does not round, the checkpoint and int8 do
    assert int8["box_decibels"] > exact["box_decibels"] + 3
