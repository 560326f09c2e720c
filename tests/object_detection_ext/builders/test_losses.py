"""Box coder, matcher, similarity and losses from proto text: equal to the dataclass, or an error that starts with the field's path."""

from __future__ import annotations

import re

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.box_coder import build_box_coder
from object_detection_ext.builders.losses import build_classification_loss, build_detection_loss, build_localization_loss
from object_detection_ext.builders.matcher import build_matcher
from object_detection_ext.builders.similarity import build_similarity
from object_detection_ext.errors import InputError
from object_detection_ext.losses.classification import BootstrappedSigmoidLoss, SigmoidFocalLoss, SigmoidLoss, SoftmaxLoss
from object_detection_ext.losses.detection import DetectionLoss
from object_detection_ext.losses.hard_negatives import HardExampleMiner
from object_detection_ext.losses.localization import GiouLoss, IouLoss, L1Loss, L2Loss, SmoothL1Loss
from object_detection_ext.protos import box_coder_pb2, losses_pb2, matcher_pb2, pipeline_pb2, region_similarity_calculator_pb2, ssd_pb2
from object_detection_ext.targets.assigner import TargetAssigner
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder, MeanStddevBoxCoder, SquareBoxCoder
from object_detection_ext.targets.matcher import ArgMaxMatcher
from object_detection_ext.targets.similarity import IoaSimilarity, IouSimilarity, NegSqDistSimilarity, ThresholdedIouSimilarity

BUILDERS = {
    "box_coder": (build_box_coder, box_coder_pb2.BoxCoder),
    "matcher": (build_matcher, matcher_pb2.Matcher),
    "similarity": (build_similarity, region_similarity_calculator_pb2.RegionSimilarityCalculator),
    "classification": (build_classification_loss, losses_pb2.ClassificationLoss),
    "localization": (build_localization_loss, losses_pb2.LocalizationLoss),
}
SSD = """
box_coder { faster_rcnn_box_coder {} }
matcher { argmax_matcher { force_match_for_each_row: true } }
similarity_calculator { iou_similarity {} }
loss { classification_loss { weighted_sigmoid {} } localization_loss { weighted_smooth_l1 {} } }
"""
ASSIGNER = TargetAssigner(
    IouSimilarity(),
    ArgMaxMatcher(0.5, 0.5, force_match_for_each_row=True),
    FasterRcnnBoxCoder(),
    background="class",
)


def build(kind, text):
    builder, message = BUILDERS[kind]
    return builder(text_format.Parse(text, message()))


def build_loss(text):
    return build_detection_loss(text_format.Merge(text, text_format.Parse(SSD, ssd_pb2.Ssd())))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("box_coder", "faster_rcnn_box_coder {}", FasterRcnnBoxCoder(10.0, 10.0, 5.0, 5.0)),
        ("box_coder", "faster_rcnn_box_coder { y_scale: 1 x_scale: 2 height_scale: 3 width_scale: 4 }", FasterRcnnBoxCoder(1, 2, 3, 4)),
        ("box_coder", "mean_stddev_box_coder { stddev: 0.5 }", MeanStddevBoxCoder(0.5)),
        ("box_coder", "square_box_coder { y_scale: 1 x_scale: 2 length_scale: 3 }", SquareBoxCoder(1, 2, 3)),
        ("matcher", "argmax_matcher {}", ArgMaxMatcher(0.5, 0.5)),
        ("matcher", "argmax_matcher { matched_threshold: 0.75 unmatched_threshold: 0.25 }", ArgMaxMatcher(0.75, 0.25)),
        ("matcher", "argmax_matcher { ignore_thresholds: true }", ArgMaxMatcher(None)),
        (
            "matcher",
            "argmax_matcher { unmatched_threshold: 0.25 negatives_lower_than_unmatched: false force_match_for_each_row: true }",
            ArgMaxMatcher(0.5, 0.25, negatives_lower_than_unmatched=False, force_match_for_each_row=True),
        ),
        ("similarity", "iou_similarity {}", IouSimilarity()),
        ("similarity", "ioa_similarity {}", IoaSimilarity()),
        ("similarity", "neg_sq_dist_similarity {}", NegSqDistSimilarity()),
        ("similarity", "thresholded_iou_similarity { iou_threshold: 0.25 }", ThresholdedIouSimilarity(0.25)),
        ("classification", "weighted_sigmoid {}", SigmoidLoss()),
        ("classification", "weighted_sigmoid_focal { alpha: 0.25 }", SigmoidFocalLoss(gamma=2.0, alpha=0.25)),
        ("classification", "weighted_sigmoid_focal { gamma: 1.5 }", SigmoidFocalLoss(gamma=1.5, alpha=None)),
        ("classification", "weighted_softmax { logit_scale: 2 }", SoftmaxLoss(2.0)),
        ("classification", "bootstrapped_sigmoid { alpha: 0.5 hard_bootstrap: true }", BootstrappedSigmoidLoss(0.5, hard=True)),
        ("localization", "weighted_smooth_l1 { delta: 0.5 }", SmoothL1Loss(0.5)),
        ("localization", "weighted_l2 {}", L2Loss()),
        ("localization", "l1_localization_loss {}", L1Loss()),
        ("localization", "weighted_iou {}", IouLoss()),
        ("localization", "weighted_giou {}", GiouLoss()),
    ],
)
def test_builds(kind, text, expected):
    assert build(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("box_coder", "", "model.ssd.box_coder must hold one of faster_rcnn_box_coder, mean_stddev_box_coder, square_box_coder"),
        ("box_coder", "keypoint_box_coder {}", "model.ssd.box_coder.keypoint_box_coder is not supported; use one of faster_rcnn_box_coder"),
        ("box_coder", "faster_rcnn_box_coder { x_scale: 0 }", "model.ssd.box_coder.faster_rcnn_box_coder.x_scale must be > 0, got 0"),
        ("matcher", "", "model.ssd.matcher must hold one of argmax_matcher"),
        ("matcher", "bipartite_matcher {}", "model.ssd.matcher.bipartite_matcher is not supported; use one of argmax_matcher"),
        (
            "matcher",
            "argmax_matcher { matched_threshold: 1.5 }",
            "model.ssd.matcher.argmax_matcher.matched_threshold must be in [0, 1], got 1.5",
        ),
        (
            "matcher",
            "argmax_matcher { unmatched_threshold: 0.75 }",
            "model.ssd.matcher.argmax_matcher.unmatched_threshold must be <= matched_threshold (0.5), got 0.75",
        ),
        ("similarity", "", "model.ssd.similarity_calculator must hold one of iou_similarity"),
        (
            "similarity",
            "thresholded_iou_similarity { iou_threshold: 2 }",
            "model.ssd.similarity_calculator.thresholded_iou_similarity.iou_threshold must be in [0, 1], got 2",
        ),
        ("classification", "", "model.ssd.loss.classification_loss must hold one of weighted_sigmoid,"),
        ("classification", "weighted_logits_softmax {}", "model.ssd.loss.classification_loss.weighted_logits_softmax is not supported"),
        (
            "classification",
            "weighted_sigmoid_focal { gamma: -1 }",
            "model.ssd.loss.classification_loss.weighted_sigmoid_focal.gamma must be >= 0, got -1",
        ),
        ("localization", "", "model.ssd.loss.localization_loss must hold one of weighted_l2,"),
        (
            "localization",
            "weighted_smooth_l1 { delta: 0 }",
            "model.ssd.loss.localization_loss.weighted_smooth_l1.delta must be > 0, got 0",
        ),
    ],
)
def test_refuses_with_the_path_of_the_field(kind, text, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        build(kind, text)


def test_builds_the_whole_loss():
    assert build_loss("") == DetectionLoss(ASSIGNER, SigmoidLoss(), SmoothL1Loss())


def test_builds_the_settings_of_the_ssd():
    loss = build_loss(
        "encode_background_as_zeros: true negative_class_weight: 0.5 normalize_loss_by_num_matches: false"
        " normalize_loc_loss_by_codesize: true loss { classification_weight: 2 localization_weight: 3 }"
    )
    assert loss.assigner.background == "zeros"
    assert loss.assigner.negative_class_weight == 0.5
    assert (loss.normalize_by_num_matches, loss.normalize_localization_by_code_size) == (False, True)
    assert (loss.classification_weight, loss.localization_weight) == (2.0, 3.0)


def test_without_a_background_class():
    assert build_loss("add_background_class: false encode_background_as_zeros: true").assigner.background == "none"


def test_builds_the_miner_with_the_weights_of_the_losses():
    miner = build_loss(
        "loss { classification_weight: 2 localization_weight: 3 hard_example_miner { num_hard_examples: 3000 iou_threshold: 0.75"
        " loss_type: CLASSIFICATION max_negatives_per_positive: 3 min_negatives_per_image: 4 } }"
    ).hard_example_miner
    assert miner == HardExampleMiner(3000, 0.75, "classification", 2.0, 3.0, max_negatives_per_positive=3, min_negatives_per_image=4)


def test_zeros_in_the_miner_mean_no_limit():
    miner = build_loss("loss { hard_example_miner { num_hard_examples: 0 iou_threshold: 0.75 } }").hard_example_miner
    assert miner == HardExampleMiner(None, 0.75, "both", max_negatives_per_positive=None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("add_background_class: false", "model.ssd.encode_background_as_zeros"),
        ("use_confidences_as_targets: true", "model.ssd.use_confidences_as_targets"),
        ("explicit_background_class: true", "model.ssd.explicit_background_class"),
        ("mask_head_config {}", "model.ssd.mask_head_config"),
        ("negative_class_weight: -1", "model.ssd.negative_class_weight"),
        ("loss { random_example_sampler {} }", "model.ssd.loss.random_example_sampler"),
        ("loss { equalization_loss { weight: 1 } }", "model.ssd.loss.equalization_loss"),
        ("loss { expected_loss_weights: EXPECTED_SAMPLING }", "model.ssd.loss.expected_loss_weights"),
        ("loss { localization_weight: -1 }", "model.ssd.loss.localization_weight"),
        ("loss { hard_example_miner { iou_threshold: 2 } }", "model.ssd.loss.hard_example_miner.iou_threshold"),
        (
            "loss { hard_example_miner {} classification_loss { weighted_sigmoid_focal {} } }",
            "model.ssd.loss.hard_example_miner",
        ),
    ],
)
def test_refuses_what_it_does_not_honour(text, path):
    with pytest.raises(InputError, match=f"^{re.escape(path)} "):
        build_loss(text)


def test_every_published_ssd_config_builds(test_data):
    paths = sorted((test_data / "odapi" / "configs").glob("ssd*.config"))
    assert len(paths) > 20
    for path in paths:
        config = text_format.Parse(path.read_text(), pipeline_pb2.TrainEvalPipelineConfig())
        assert isinstance(build_detection_loss(config.model.ssd), DetectionLoss)
