from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from object_detection_ext.config import load_config
from object_detection_ext.config_summary import format_summary, summarize
from object_detection_ext.errors import InputError
from pipelines.check_config import main

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """model {
  ssd {
    num_classes: 3
    image_resizer { fixed_shape_resizer { height: 160 width: 192 } }
    feature_extractor { type: "ssd_mobilenet_v2_keras" depth_multiplier: 0.35 use_depthwise: true output_stride: 16
      conv_hyperparams { activation: RELU_6 batch_norm { scale: true } } }
    box_coder { faster_rcnn_box_coder {} }
    matcher { argmax_matcher { use_matmul_gather: true } }
    similarity_calculator { iou_similarity {} }
    box_predictor { convolutional_box_predictor { kernel_size: 3 use_depthwise: true conv_hyperparams {} } }
    anchor_generator { ssd_anchor_generator { aspect_ratios: 1 aspect_ratios: 2 aspect_ratios: 0.5 } }
    post_processing { batch_non_max_suppression { score_threshold: 1e-8 } score_converter: SIGMOID }
    loss { classification_loss { weighted_sigmoid_focal { alpha: 0.25 } } localization_loss { weighted_smooth_l1 {} } }
  }
}
train_config {
  batch_size: 8
  num_steps: 1200
  optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
    learning_rate_base: 0.08 total_steps: 1200 warmup_learning_rate: 0.026 warmup_steps: 100 } } }
    use_moving_average: false }
  data_augmentation_options { random_horizontal_flip {} }
  data_augmentation_options { ssd_random_crop {} }
  startup_delay_steps: 0
}
train_input_reader { label_map_path: "PATH_TO_BE_CONFIGURED" tf_record_input_reader { input_path: "train.record-*" } }
"""

SUMMARY = """network
  classes            3
  feature extractor  ssd_mobilenet_v2_keras: depth multiplier 0.35, at least 16 channels, output stride 16
  input              160 x 192 pixels (height x width), bilinear, aspect ratio not kept
  batch norm         trained
  box predictor      convolutional_box_predictor: SSDLite (depthwise separable), 3x3 kernels
  anchors            ssd_anchor_generator: 6 layers, scales 0.2 to 0.95, aspect ratios 1, 2, 0.5, three in the lowest layer
targets
  matcher            argmax_matcher(use_matmul_gather true)
  similarity         iou_similarity
  box coder          faster_rcnn_box_coder
losses
  classification     weighted_sigmoid_focal(alpha 0.25), weight 1
  localization       weighted_smooth_l1, weight 1
  hard examples      none mined
  normalisation      divided by the number of matches
detections
  scores             sigmoid, from 1e-08
  NMS                IoU 0.6, at most 100 a class, 100 an image
training
  length             1200 steps of 8 images, seed 0
  optimizer          momentum 0.9, learning rate from 0.026 up in 100 steps, 0.08, cosine to 0 at step 1200
  augmentation       random_horizontal_flip
                     ssd_random_crop
  start              random weights
  train input        train.record-*; label map PATH_TO_BE_CONFIGURED
evaluation
  input              none: no evaluation while training
notes
  to be filled in    train_input_reader.label_map_path (line 26)
  no effect here     model.ssd.matcher.argmax_matcher.use_matmul_gather (line 8), train_config.startup_delay_steps (line 24)
"""


@pytest.fixture
def config_path(tmp_path) -> Path:
    path = tmp_path / "pipeline.config"
    path.write_text(CONFIG)
    return path


def test_what_a_run_would_use(config_path, capsys):
    assert main(["--pipeline_config_path", str(config_path)]) == 0
    assert capsys.readouterr().out == SUMMARY


def test_the_override_is_part_of_it(config_path, capsys):
    override = "train_config { batch_size: 2 num_steps: 5 optimizer { adam_optimizer { learning_rate { constant_learning_rate {} } } } }"
    main(["--pipeline_config_path", str(config_path), "--config_override", override])
    output = capsys.readouterr().out
    assert "5 steps of 2 images" in output
    assert "Adam, learning rate 0.002" in output


def test_every_kind_of_learning_rate_is_told(config_path, capsys):
    rates = {
        "manual_step_learning_rate { initial_learning_rate: 0.1 schedule { step: 10 learning_rate: 0.01 } warmup: true }": (
            "0.1, 0.01 from step 10 (with warm-up)"
        ),
        "exponential_decay_learning_rate { initial_learning_rate: 0.5 decay_steps: 7 }": (
            "exponential_decay_learning_rate(initial_learning_rate 0.5, decay_steps 7)"
        ),
    }
    for rate, expected in rates.items():
        override = f"train_config {{ optimizer {{ use_moving_average: true rms_prop_optimizer {{ learning_rate {{ {rate} }} }} }} }}"
        main(["--pipeline_config_path", str(config_path), "--config_override", override])
        assert f"RMSProp 0.9, learning rate {expected}, weights averaged with decay 0.9999\n" in capsys.readouterr().out


def test_an_empty_ssd_can_be_told_too(tmp_path, capsys):
    path = tmp_path / "pipeline.config"
    path.write_text("model { ssd {} }")
    assert main(["--pipeline_config_path", str(path)]) == 0
    assert "(not set)" in capsys.readouterr().out


def test_every_published_config_is_summarised(test_data):
    paths = sorted(test_data.glob("odapi/configs/*ssd*.config"))
    assert paths
    for path in paths:
        text = format_summary(summarize(load_config(path)))
        assert load_config(path).proto.model.ssd.feature_extractor.type in text, path.name
        assert all(line == line.rstrip() for line in text.splitlines()), path.name


def test_what_is_done_otherwise_is_told(config_path, capsys):
    assert main(["--pipeline_config_path", str(config_path), "--config_override", "train_config { use_bfloat16: true }"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "done otherwise" in line)
    assert line.split(maxsplit=2)[2] == "train_config.use_bfloat16 (--config_override): training computes in float32"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("delay: 0", "fake quantisation  8 bits from step 1 on"),
        ("delay: 48000 symmetric: true", "fake quantisation  8 bits from step 48001 on, symmetric ranges"),
    ],
)
def test_fake_quantisation_is_among_the_training(config_path, capsys, text, line):
    assert main(["--pipeline_config_path", str(config_path), "--config_override", f"graph_rewriter {{ quantization {{ {text} }} }}"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert f"  {line}" in output
    assert not any("done otherwise" in each for each in output)


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ('fine_tune_checkpoint: "m/ckpt-0"', ["start              m/ckpt-0 (classification: the backbone)"]),
        (
            'fine_tune_checkpoint: "m" from_detection_checkpoint: true',
            ["start              m (detection: backbone and feature-map layers)"],
        ),
        (
            'fine_tune_checkpoint: "m" fine_tune_checkpoint_type: "detection" load_all_detection_checkpoint_vars: true '
            'freeze_variables: "Conv1" freeze_variables: "FeatureMaps"',
            ["start              m (full: backbone, feature-map layers and heads)", "not trained        Conv1, FeatureMaps"],
        ),
    ],
    ids=["no type", "TF 1's flag", "TF 1's flags, frozen"],
)
def test_the_start_is_told(config_path, capsys, override, lines):
    assert main(["--pipeline_config_path", str(config_path), "--config_override", f"train_config {{ {override} }}"]) == 0
    output = capsys.readouterr().out
    for line in lines:
        assert f"  {line}\n" in output


def test_the_type_fine_tune_is_an_error_that_lists_the_three(config_path):
    override = 'train_config { fine_tune_checkpoint: "m" fine_tune_checkpoint_type: "fine_tune" }'
    with pytest.raises(InputError) as caught:
        main(["--pipeline_config_path", str(config_path), "--config_override", override])
    assert str(caught.value) == (
        "--config_override: train_config.fine_tune_checkpoint_type must be classification (the backbone), detection (and the feature-map "
        "layers), full (and the heads), got fine_tune; fine_tune itself names no part"
    )


def test_the_names_that_patterns_match_are_listed(config_path, capsys):
    override = 'train_config { freeze_variables: "FeatureExtractor/MobilenetV2/Conv/" }'
    assert main(["--pipeline_config_path", str(config_path), "--config_override", override, "--variables"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Conv1/kernel", "FeatureExtractor/MobilenetV2/Conv/weights", "Conv1/kernel", "3x3x3x16", "frozen"] in lines
    mean = ["bn_Conv1/moving_mean", "FeatureExtractor/MobilenetV2/Conv/BatchNorm/moving_mean", "bn_Conv1/moving_mean"]
    assert [*mean, "16", "statistics"] in lines
    head = "BoxPredictor/ConvolutionalClassHead_0/ClassPredictor/bias"
    assert [head, "BoxPredictor_0/ClassPredictor/biases", head, "12", "trains"] in lines  # 3 anchors of 3 classes and background


def test_a_pattern_that_matches_nothing_is_placed(config_path):
    override = 'train_config { freeze_variables: "FeatureExtractor" freeze_variables: "MobilenetV3" }'
    with pytest.raises(InputError) as caught:
        main(["--pipeline_config_path", str(config_path), "--config_override", override, "--build"])
    assert str(caught.value).startswith(
        "--config_override: train_config.freeze_variables[1] must match a trainable variable, got 'MobilenetV3'; near it are "
    )


def test_what_is_not_supported_is_refused(config_path):
    override = "train_config { use_multiclass_scores: true }"
    with pytest.raises(
        InputError, match=r"^--config_override: train_config.use_multiclass_scores is not supported: class targets are one-hot"
    ):
        main(["--pipeline_config_path", str(config_path), "--config_override", override])


def _run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.check_config", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return result, time.perf_counter() - start


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--help"], 0, ""),
        ([], 2, "the following arguments are required: --pipeline_config_path"),
        (["--pipeline_config_path", "absent.config"], 1, "error: No such file or directory: absent.config\n"),
    ],
)
def test_command_line_answers_at_once(arguments, code, error):
    result, seconds = _run(*arguments)
    assert result.returncode == code
    assert error in result.stderr
    assert seconds < 2.0, "half a second on a quiet machine: TensorFlow must not be imported"


def test_no_tensorflow_without_build(config_path):
    code = "import sys; from pipelines.check_config import main; main(sys.argv[1:]); sys.exit('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", code, "--pipeline_config_path", str(config_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_build_makes_the_network_without_data(config_path, capsys):
    assert main(["--pipeline_config_path", str(config_path), "--build"]) == 0
    report = capsys.readouterr().out.split("built\n")[1]
    assert "  parameters    " in report
    assert "  input         160 x 192 x 3\n" in report
    # strides 16, 16, 32, ... : 10x12 twice, then halved; 3 anchors in the first map, 4 in the others
    assert "  feature maps  10 x 12, 10 x 12, 5 x 6, 3 x 3, 2 x 2, 1 x 1\n" in report
    assert f"  anchors       {3 * 120 + 4 * (120 + 30 + 9 + 4 + 1)}\n" in report


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("model { ssd { num_classes: 0 } }", "--config_override: model.ssd.num_classes must be >= 1, got 0"),
        (
            "train_config { data_augmentation_options { random_horizontal_flip { probability: 2 } } }",
            "--config_override: train_config.data_augmentation_options[2].random_horizontal_flip.probability must be",
        ),
        (
            "train_config { optimizer { use_moving_average: true moving_average_decay: 2 } }",
            "--config_override: train_config.optimizer.moving_average_decay must be in (0, 1), got 2",
        ),
    ],
)
def test_build_places_what_a_builder_refuses(config_path, override, error):
    with pytest.raises(InputError) as caught:
        main(["--pipeline_config_path", str(config_path), "--config_override", override, "--build"])
    assert str(caught.value).startswith(error)
