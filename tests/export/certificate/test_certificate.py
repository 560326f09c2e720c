"""A good file gets its certificate; a file that computes something else does not, and is told where it begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from export.certificate.examination import Subject, certify
from export.certificate.page import write_certificate_page
from export.certificate.samples import NoImagesError, load_samples
from export.certificate.subject import run_tflite
from export.convert import TfliteConverter
from export.model import TrainedModel
from export.postprocess_op import postprocess_op_of
from export.postprocessing_file import postprocessing_json
from export.quantization.network import Network
from export.tflite_export import TfliteOptions, export_tflite
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
    for kind in ("fp16", "int8"):
        (folder / f"model_{kind}.tflite").write_bytes(with_a_wrong_layer(float32))
    subjects = [Subject("nms", kind, folder / f"model_{kind}.tflite") for kind in ("float32", "fp16", "int8")]
    subjects.append(Subject("raw", "float32", raw_with_wrong_anchors(model, folder)))
    return certify(model, subjects, num_images=4, max_detections=20)


def raw_with_wrong_anchors(model: TrainedModel, folder: Path) -> Path:
    """Its tensors are right, its postprocessing.json has the anchors in another order."""
    from export.tflite_graph import tflite_functions

    path = folder / "model_raw_float32.tflite"
    path.write_bytes(TfliteConverter(tflite_functions(model.detector, ["raw"], None)["raw"], None, (-1.0, 1.0), "raw").float32())
    settings = json.loads(postprocessing_json(model.detector))
    settings["anchors"].reverse()
    (folder / "postprocessing.json").write_text(json.dumps(settings))
    return path


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    """Every flavour, with a certificate."""
    options = TfliteOptions(
        types=("float32", "dynamic", "int8"), flavours=("nms", "raw", "decoded"), max_detections=20, certificate=True, allow_divergence=True
    )
    lines = []
    made = export_tflite(model, tmp_path_factory.mktemp("all") / "out", options, report=lines.append)
    return made, json.loads(made.files["certificate"].read_text()), lines


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


def test_int8_beyond_its_tolerance_is_offered_training(certificate):
    offer = "fine-tune from this checkpoint with graph_rewriter { quantization { delay: 0 } } (docs/to-the-phone.md)"
    assert certificate.problems["model_int8.tflite"].endswith(offer)
    assert "graph_rewriter" not in certificate.problems["model_fp16.tflite"]


def test_json_and_page(certificate, tmp_path):
    certificate.write_json(tmp_path / "certificate.json")
    stored = json.loads((tmp_path / "certificate.json").read_text())
    assert stored["images"] == 4
    assert [(each["name"], each["passed"]) for each in stored["models"]] == [
        ("saved_model", True),
        ("model_float32.tflite", True),
        ("model_fp16.tflite", False),
        ("model_int8.tflite", False),
        ("model_raw_float32.tflite", True),  # by its tensors; the mAP of this network is 0 with any anchors
    ]
    assert stored["models"][1]["tolerance"] == {"decibels": 60.0, "map_drop": 0.002}
    write_certificate_page(certificate, tmp_path / "certificate.html")
    page = (tmp_path / "certificate.html").read_text()
    assert "Not to be trusted." in page
    assert page.count("<figure>") == 4 * 6  # images, forms with the checkpoint
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_every_file_beside_a_certificate_is_in_it(export):
    made, stored, _ = export
    written = sorted(path.name for path in made.files["labels"].parent.glob("*.tflite"))
    assert len(written) == 9
    assert sorted(each["name"] for each in stored["models"]) == [*written, "saved_model"]


def test_without_suppression_a_file_finds_what_the_checkpoint_finds(export):
    """By the anchors, coder and settings of postprocessing.json."""
    made, stored, _ = export
    models = {each["name"]: each for each in stored["models"]}
    for name in ("model_raw_float32.tflite", "model_decoded_float32.tflite"):
        assert models[name]["passed"]
        assert models[name]["parity"]["num_matched"] == models[name]["parity"]["num_expected"] > 0
        assert models[name]["map"] == pytest.approx(stored["checkpoint_map"], abs=1e-6)
    assert made.parity["raw_float32"].num_images == stored["images"] == 4
    assert max(made.tensor_errors["decoded_float32"].values()) < 1e-3
    assert set(made.tensor_errors["raw_int8"]) == {"box_encodings", "class_scores"}


def test_postprocessing_json_is_what_is_looked_at(certificate):
    found = certificate.comparisons[-1]
    assert found.name == "model_raw_float32.tflite"
    assert min(found.box_decibels, found.score_decibels) > 70.0
    assert found.parity.num_matched < found.parity.num_expected


def test_multiply_adds_and_layers_of_int8(export):
    made, stored, lines = export
    models = {each["name"]: each for each in stored["models"]}
    assert models["model_float32.tflite"]["multiply_adds_in_int8"] is None
    share = models["model_raw_int8.tflite"]["multiply_adds_in_int8"]
    assert (share["share"], share["others"]) == (1.0, [])
    assert any("100.0% of" in line and "multiply-adds in 8 bits" in line for line in lines)
    layers = stored["int8_layers"]
    assert len(layers) > 50
    assert [each["decibels"] for each in layers] == sorted(each["decibels"] for each in layers)
    printed = lines[lines.index("  furthest from the float network, of all layers:") + 1 :][:5]
    assert [line.split(" dB  ")[1] for line in printed] == [each["layer"] for each in layers[:5]]
    page = made.files["certificate_page"].read_text()
    assert all(each["layer"] in page for each in layers)
    assert "100.0% of" in page


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
