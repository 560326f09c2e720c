from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import text_format

from object_detection_ext.config import check_paths_configured, check_supported, load_config
from object_detection_ext.errors import InputError
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.text_proto import set_fields

CONFIG = """model {
  ssd {
    num_classes: 3
    feature_extractor {
      type: "ssd_mobilenet_v2_keras"
      depth_multiplier: 0.35
    }
  }
}
train_config {
  batch_size: 8
  data_augmentation_options {
    random_horizontal_flip {
    }
  }
}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes `pipeline.config` into the current folder, so that errors name it shortly."""
    monkeypatch.chdir(tmp_path)

    def write_config(text: str) -> str:
        Path("pipeline.config").write_text(text)
        return "pipeline.config"

    return write_config


def test_every_published_ssd_config_parses_as_the_api_parses_it(test_data):
    paths = sorted(test_data.glob("odapi/configs/*ssd*.config"))
    assert len(paths) >= 29
    for path in paths:
        expected = pipeline_pb2.TrainEvalPipelineConfig()
        text_format.Merge(path.read_text(), expected)
        config = load_config(path)
        assert config.proto == expected, path.name
        assert {field.path for field in set_fields(config.proto)} == set(config.sites), path.name
        for field_path, site in config.sites.items():
            name = re.sub(r"\[\d+\]$", "", field_path).rpartition(".")[2]
            assert name in path.read_text().splitlines()[site.line - 1], (path.name, field_path)


def test_text_and_back(test_data, tmp_path):
    for path in sorted(test_data.glob("odapi/configs/*ssd*.config")):
        config = load_config(path)
        config.save(tmp_path / "model_dir" / "pipeline.config")
        again = load_config(tmp_path / "model_dir" / "pipeline.config")
        assert again.proto == config.proto, path.name
        assert again.text() == config.text()
    assert [path.name for path in (tmp_path / "model_dir").iterdir()] == ["pipeline.config"], "no unfinished file stays behind"


def test_a_save_that_fails_keeps_the_old_file(write, tmp_path, monkeypatch):
    config = load_config(write(CONFIG))
    target = tmp_path / "kept.config"
    target.write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        config.save(target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.config", "pipeline.config"]


def test_where_a_field_was_set(write):
    config = load_config(write(CONFIG))
    assert config.where("model.ssd.num_classes") == "pipeline.config:3"
    assert config.where("train_config.data_augmentation_options[0].random_horizontal_flip") == "pipeline.config:13"
    assert config.where("model.ssd.feature_extractor.min_depth") == "pipeline.config:4", "not set: the message around it"
    assert config.where("eval_config.batch_size") == "pipeline.config", "nothing around it either"
    assert config.place("train_config.batch_size") == "line 11"
    error = config.error("model.ssd.num_classes", "must be >= 1, got 0")
    assert isinstance(error, InputError)
    assert str(error) == "pipeline.config:3: model.ssd.num_classes must be >= 1, got 0"


def test_an_override_replaces_scalars_and_appends_to_lists(write):
    override = "train_config { batch_size: 4 data_augmentation_options { ssd_random_crop {} } }"
    config = load_config(write(CONFIG), override=override)
    assert config.proto.train_config.batch_size == 4
    assert [step.WhichOneof("preprocessing_step") for step in config.proto.train_config.data_augmentation_options] == [
        "random_horizontal_flip",
        "ssd_random_crop",
    ]
    assert config.where("train_config.batch_size") == "--config_override"
    assert config.where("train_config.data_augmentation_options[1].ssd_random_crop") == "--config_override"
    assert config.where("train_config.data_augmentation_options[0]") == "pipeline.config:12"
    assert config.where("model.ssd.num_classes") == "pipeline.config:3"
    assert config.overwritten == (), "overriding is not a mistake"


def test_an_override_of_several_lines_is_named_by_line(write):
    config = load_config(write(CONFIG), override="train_config {\n  batch_size: 4\n}\n")
    assert config.where("train_config.batch_size") == "--config_override:2"


def test_merged_leaves_the_first_config_alone(write):
    config = load_config(write(CONFIG))
    merged = config.merged("train_config { num_steps: 5 }", source="--num_train_steps")
    assert (config.proto.train_config.num_steps, merged.proto.train_config.num_steps) == (0, 5)
    assert merged.where("train_config.num_steps") == "--num_train_steps"
    assert config.where("train_config.num_steps") == "pipeline.config:10"


OTHER_MODEL = (
    "is not a model of this project, which trains SSD detectors (model { ssd { feature_extractor { type: ... } } }); "
    "the nearest is ssd_resnet50_v1_fpn_keras, for phones ssd_mobilenet_v2_fpn_keras; "
    "configs/ssdlite_mobilenet_v2_035_320x320_bccd.config is an example"
)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("num_classes", "num_clases", 'pipeline.config:3: unknown field "num_clases" in model.ssd (did you mean "num_classes"?)'),
        ("ssd {", "faster_rcnn {", f"pipeline.config:2: model.faster_rcnn {OTHER_MODEL}"),
        ("ssd {", "center_net {", f"pipeline.config:2: model.center_net {OTHER_MODEL}"),
        ("ssd {", "experimental_model {", f"pipeline.config:2: model.experimental_model {OTHER_MODEL}"),
        (
            "    num_classes",
            "    depth_multiplier: 1\n    num_classes",
            'pipeline.config:3: unknown field "depth_multiplier" in model.ssd ("depth_multiplier" belongs in model.ssd.feature_extractor)',
        ),
        (
            "  }\n}\ntrain",
            "  }\ntrain",
            'pipeline.config:9: unknown field "train_config" in model '
            '("train_config" stands outside of every other message: is a "}" missing above?)',
        ),
        (
            "batch_size: 8",
            "batch_size: 8.5",
            "pipeline.config:11: train_config.batch_size must be an integer from 0 to 4294967295, got 8.5",
        ),
        ("batch_size: 8", "batch_size 8", 'pipeline.config:11:14: expected ":" after train_config.batch_size, got "8"'),
    ],
)
def test_errors_of_the_file(write, old, new, error):
    assert CONFIG.count(old) == 1
    with pytest.raises(InputError) as caught:
        load_config(write(CONFIG.replace(old, new)))
    assert str(caught.value) == error


def test_published_configs_of_other_models_say_what_is_trained_instead(test_data):
    for name, model in (("faster_rcnn_resnet50_coco", "faster_rcnn"), ("centernet_hourglass104_512x512_coco17_tpu-8", "center_net")):
        with pytest.raises(InputError, match=rf"{name}.config:\d+: model.{model} {re.escape(OTHER_MODEL)}$"):
            load_config(test_data / "odapi" / "configs" / f"{name}.config")


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("train_config { batch_sise: 1 }", '--config_override: unknown field "batch_sise" in train_config (did you mean "batch_size"?)'),
        ("train_config {", '--config_override:1:14: "{" of train_config is never closed with "}"'),
    ],
)
def test_errors_of_the_override(write, override, error):
    with pytest.raises(InputError) as caught:
        load_config(write(CONFIG), override=override)
    assert str(caught.value) == error


def test_files_that_are_no_text(tmp_path):
    record = tmp_path / "train.record"
    record.write_bytes(b"\x10\x00\xff\xfe")
    with pytest.raises(InputError, match=r"train.record: not a text file \(byte 2 is not UTF-8\)"):
        load_config(record)
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "absent.config")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    assert load_config(path).proto.train_config.batch_size == 8


PATHS = CONFIG.replace("batch_size: 8", 'batch_size: 8\n  fine_tune_checkpoint: "PATH_TO_BE_CONFIGURED/ckpt-1"') + (
    'train_input_reader { label_map_path: "PATH_TO_BE_CONFIGURED/map.txt"\n'
    '  tf_record_input_reader { input_path: "a.record" input_path: "PATH_TO_BE_CONFIGURED" } }\n'
    'eval_input_reader { label_map_path: "map.txt" }\n'
    'eval_input_reader { label_map_path: "PATH_TO_BE_CONFIGURED/map.txt" }\n'
)


def test_paths_to_be_configured_are_listed_in_one_message(write):
    config = load_config(write(PATHS))
    check_paths_configured(config)  # building and checking need no paths
    with pytest.raises(InputError) as caught:
        check_paths_configured(config, for_training=True)
    assert str(caught.value) == (
        "pipeline.config: 3 fields still hold PATH_TO_BE_CONFIGURED; fill in train_config.fine_tune_checkpoint (line 12), "
        "train_input_reader.label_map_path (line 18), train_input_reader.tf_record_input_reader.input_path[1] (line 19)"
    )
    with pytest.raises(InputError) as caught:
        check_paths_configured(config, for_evaluation=True)
    assert str(caught.value) == (
        "pipeline.config: 1 field still holds PATH_TO_BE_CONFIGURED; fill in eval_input_reader[1].label_map_path (line 21)"
    )


def test_errors_of_builders_get_their_place(write):
    config = load_config(write(CONFIG))
    with pytest.raises(InputError, match=r"^pipeline.config:11: train_config.batch_size must be even$"), config.locate_errors():
        raise ValueError("train_config.batch_size must be even")
    with pytest.raises(KeyError), config.locate_errors():
        raise KeyError("train_config.batch_size")
    with pytest.raises(ValueError, match=r"^some other thing$"), config.locate_errors():
        raise ValueError("some other thing")


def test_a_config_without_a_model_is_refused(write):
    with pytest.raises(InputError, match=r"^pipeline.config: model.ssd is not set: this project trains SSD detectors"):
        check_supported(load_config(write("train_config { batch_size: 1 }")))


@pytest.mark.parametrize("message", ["model.pbtxt:3: label map item has no id", "model/label_map.pbtxt:3: no id", "train_config"])
def test_only_paths_into_the_config_get_a_place(write, message):
    config = load_config(write(CONFIG))
    expected = f"pipeline.config:10: {message}" if message == "train_config" else message
    with pytest.raises(InputError) as caught, config.locate_errors():
        raise InputError(message)
    assert str(caught.value) == expected
