from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import load_config
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.protos import pipeline_pb2


@pytest.fixture
def build(golden: Callable[[str], Path]) -> Callable[[str], SsdDetector]:
    def build(overrides: str) -> SsdDetector:
        pipeline = pipeline_pb2.TrainEvalPipelineConfig()
        text_format.Parse(golden("ssdlite_v2_dm0.35_160.config").read_text(), pipeline)
        if "_resizer {" in overrides:
            pipeline.model.ssd.image_resizer.Clear()
        text_format.Merge(overrides, pipeline.model.ssd)
        return build_detector(pipeline.model.ssd)

    return build


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("num_classes: 0", "num_classes must be >= 1, got 0"),
        ("add_background_class: false explicit_background_class: true", "explicit_background_class is not supported"),
        ("mask_head_config {}", "mask_head_config is not supported"),
        ("return_raw_detections_during_predict: true", "return_raw_detections_during_predict is not supported"),
        ("image_resizer { fixed_shape_resizer { height: 32 width: 64 } }", "image_resizer must give at least 33x33 .*, got 32x64"),
        ("image_resizer { keep_aspect_ratio_resizer {} }", "image_resizer.keep_aspect_ratio_resizer gives images of different sizes"),
        (
            "feature_extractor { num_layers: 5 }",
            r"anchor_generator must have as many layers as the feature extractor has feature maps \(5\), got 6",
        ),
        (
            "box_predictor { convolutional_box_predictor { box_code_size: 6 } }",
            "box_predictor.convolutional_box_predictor.box_code_size must be 4, as in box_coder, got 6",
        ),
        (
            "box_predictor { convolutional_box_predictor { box_encodings_clip_range { min: 1 max: 1 } } }",
            r"box_predictor.convolutional_box_predictor.box_encodings_clip_range.min must be < max \(1\), got 1",
        ),
        (
            "box_predictor { weight_shared_convolutional_box_predictor { box_code_size: 6 } }",
            "box_predictor.weight_shared_convolutional_box_predictor.box_code_size must be 4, as in box_coder, got 6",
        ),
        ("feature_extractor { depth_multiplier: -1 }", "feature_extractor.depth_multiplier must be > 0, got -1"),
    ],
)
def test_errors_name_the_field(build: Callable[[str], SsdDetector], overrides: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.{message}"):
        build(overrides)


def test_output_stride_makes_maps_and_anchors_denser(build: Callable[[str], SsdDetector]):
    detector = build("feature_extractor { output_stride: 8 }")
    assert detector.feature_map_shapes == ((20, 20), (20, 20), (10, 10), (5, 5), (3, 3), (2, 2))
    assert detector.anchors.shape == (3 * 400 + 6 * (400 + 100 + 25 + 9 + 4), 4)
    assert detector.network.output_shape[0] == (None, len(detector.anchors), 4)


SHARED = """
box_predictor { weight_shared_convolutional_box_predictor { %s } }
anchor_generator { ssd_anchor_generator { reduce_boxes_in_lowest_layer: false } }
"""


class TestWeightSharedPredictor:
    def test_clip_range(self, build: Callable[[str], SsdDetector]):
        assert build(SHARED % "box_encodings_clip_range { min: -1 max: 2 }").box_encodings_clip_range == (-1.0, 2.0)

    def test_its_sigmoid_is_applied_to_detections_only(self, build: Callable[[str], SsdDetector]):
        """The API applies it in the network at inference, not in training: losses see logits, scores come out of a sigmoid."""
        detector = build(SHARED % "score_converter: SIGMOID" + "post_processing { score_converter: IDENTITY }")
        assert detector.postprocessing.score_converter == "sigmoid"
        assert {type(layer).__name__ for layer in detector.network.layers}.isdisjoint({"Activation", "Lambda"})

    @pytest.mark.parametrize("post_processing", ["score_converter: SIGMOID", "score_converter: IDENTITY logit_scale: 2"])
    def test_scores_are_not_converted_twice(self, build: Callable[[str], SsdDetector], post_processing: str):
        with pytest.raises(InputError, match=r"weight_shared_convolutional_box_predictor.score_converter must be IDENTITY, got SIGMOID"):
            build(SHARED % "score_converter: SIGMOID" + f"post_processing {{ {post_processing} }}")

    def test_anchors_must_be_as_many_on_each_map(self, build: Callable[[str], SsdDetector]):
        with pytest.raises(
            InputError, match=r"^model.ssd.anchor_generator must have as many anchors per location .* got 3, 6, 6, 6, 6, 6$"
        ):
            build(SHARED % "" + "anchor_generator { ssd_anchor_generator { reduce_boxes_in_lowest_layer: true } }")


def test_one_class_and_a_non_square_input(build: Callable[[str], SsdDetector]):
    detector = build("num_classes: 1 image_resizer { fixed_shape_resizer { height: 96 width: 160 } }")
    assert detector.input_shape == (96, 160, 3)
    assert detector.feature_map_shapes[:2] == ((6, 10), (3, 5))
    assert detector.network.output_shape[1] == (None, len(detector.anchors), 2)


def test_grayscale_input(build: Callable[[str], SsdDetector]):
    detector = build("image_resizer { fixed_shape_resizer { height: 96 width: 96 convert_to_grayscale: true } }")
    assert detector.input_shape == (96, 96, 1)


@pytest.mark.parametrize(
    ("name", "num_parameters", "num_anchors"),  # counted in the original API
    [
        ("ssd_mobilenet_v2_320x320_coco17_tpu-8", 6103999, 1917),
        ("ssd_mobilenet_v2_coco", 6103999, 1917),
        ("ssd_mobilenet_v2_pets_keras", 10720810, 1917),
        ("ssd_mobilenet_v2_quantized_300x300_coco", 6103999, 1917),
    ],
)
def test_published_configs_give_as_many_parameters_and_anchors_as_the_original(
    test_data: Path, name: str, num_parameters: int, num_anchors: int
):
    detector = build_detector(load_config(test_data / "odapi" / "configs" / f"{name}.config").proto.model.ssd)
    assert detector.network.count_params() == num_parameters
    assert detector.anchors.shape == (num_anchors, 4)
