"""A good file gets its certificate; a file that computes something else does not, and is told where it begins."""

from __future__ import annotations

import json

import numpy as np
import pytest

from export.certificate.certificate import certify
from export.certificate.page import write_certificate_page
from export.certificate.samples import NoImagesError, load_samples
from export.certificate.subject import run_tflite
from export.convert import TfliteConverter
from export.model import TrainedModel
from export.postprocess_op import postprocess_op_of
from export.quantization.network import Network
from object_detection_ext.errors import InputError


@pytest.fixture(scope="module")
def float32(model: TrainedModel) -> bytes:
    from export.tflite_graph import tflite_function

    postprocess = postprocess_op_of(model.detector, max_detections=20, use_regular_nms=True)
    return TfliteConverter(tflite_function(model.detector, postprocess), postprocess, (-1.0, 1.0)).float32()


@pytest.fixture(scope="module")
def certificate(model, float32, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "model_float32.tflite").write_bytes(float32)
    (folder / "model_fp16.tflite").write_bytes(with_a_wrong_layer(float32))
    files = {kind: folder / f"model_{kind}.tflite" for kind in ("float32", "fp16")}
    return certify(model, files, num_images=4, max_detections=20)


def with_a_wrong_layer(content: bytes) -> bytes:
    """The fifth activated convolution has its weights turned round."""
    network = Network(content)
    activated = [each for each in network.convolutions if each.activation]
    kernel = network.read(activated[4].kernel)
    network.write(activated[4].kernel, -kernel)
    return network.content


def wrong_layer_name(content: bytes) -> str:
    network = Network(content)
    return network.name([each for each in network.convolutions if each.activation][4].output)


def test_checkpoint_saved_model_and_float32_agree(certificate):
    saved_model, float32 = certificate.comparisons[:2]
    for each in (saved_model, float32):
        assert each.name not in certificate.problems
        assert min(each.box_decibels, each.score_decibels) > 70.0
        assert each.max_score_error < 2e-4
        assert each.parity.num_matched == each.parity.num_expected > 0
        assert each.map == pytest.approx(certificate.map, abs=1e-6)


def test_a_file_with_one_wrong_layer_is_refused_and_the_layer_named(certificate, float32):
    problem = certificate.problems["model_fp16.tflite"]
    assert problem.startswith("the boxes before suppression differ: ")
    assert f"the first layer that diverges is {wrong_layer_name(float32)}: " in problem
    with pytest.raises(InputError, match=r"^model_fp16\.tflite is not what the checkpoint is: .*nothing was written"):
        certificate.check()


def test_json_and_page(certificate, tmp_path):
    certificate.write_json(tmp_path / "certificate.json")
    stored = json.loads((tmp_path / "certificate.json").read_text())
    assert stored["images"] == 4
    assert [(each["name"], each["passed"]) for each in stored["models"]] == [
        ("saved_model", True),
        ("model_float32.tflite", True),
        ("model_fp16.tflite", False),
    ]
    assert stored["models"][1]["tolerance"] == {"decibels": 60.0, "map_drop": 0.002}
    write_certificate_page(certificate, tmp_path / "certificate.html")
    page = (tmp_path / "certificate.html").read_text()
    assert "Not to be trusted." in page
    assert page.count("<figure>") == 4 * 4  # images, forms with the checkpoint
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_raw_tensors_are_those_that_enter_the_post_processing(model, float32):
    samples = load_samples(model, 2)
    outputs = run_tflite(float32, samples.network_inputs, num_classes=model.detector.num_classes)
    encodings, logits = model.detector.network(samples.network_inputs, training=False)
    np.testing.assert_allclose(outputs.raw_boxes, encodings, atol=1e-3)
    scores = np.asarray(model.detector.postprocessing.convert_scores(logits))[..., -model.detector.num_classes :]
    np.testing.assert_allclose(outputs.raw_scores, scores, atol=1e-4)


def test_without_evaluation_images(model):
    config = model.config.merged("eval_input_reader { sample_1_of_n_examples: 1 }", source="test")
    config.proto.ClearField("eval_input_reader")
    with pytest.raises(NoImagesError, match="eval_input_reader is not set"):
        load_samples(model._replace(config=config), 2)
