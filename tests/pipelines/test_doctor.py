"""The doctor as a command, and the part of it that every training begins with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import model_main_tf2
from data_tools.annotated_image import ReadOptions
from data_tools.checks.feature_lists import encode_lists
from data_tools.create_tf_record import create_tf_record
from data_tools.format_table import FORMATS
from data_tools.generate_shapes import generate_voc
from data_tools.record_file import read_records
from data_tools.shapes import ShapesGenerator
from data_tools.tf_example import frame_record, parse_example
from data_tools.write_options import WriteOptions
from object_detection_ext.config import load_config
from object_detection_ext.data import schema
from object_detection_ext.diagnosis.config_checks import Job
from pipelines.doctor import main
from pipelines.fast_checks import run_fast_checks

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "ssdlite_mobilenet_v2_035_160x160_shapes.config"
# What so few pictures are bound to have, and the memory of this machine.
EXPECTED = {"rare_class", "few_epochs", "class_only_in_train", "batch_memory", "images_without_objects"}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Records of 40 and 10 pictures of shapes, and a config that reads them; copied by `work`."""
    folder = tmp_path_factory.mktemp("shapes")
    for split, seed, count in (("train", 1, 40), ("test", 2, 10)):
        generate_voc(ShapesGenerator(seed=seed), folder / "shapes", split=split, num_images=count, num_workers=1)
        reading = ReadOptions(
            folder / "shapes" / "JPEGImages", folder / "shapes" / "Annotations", folder / "shapes" / "ImageSets" / "Main" / f"{split}.txt"
        )
        label_map = folder / "train_label_map.pbtxt" if split == "test" else None
        create_tf_record(FORMATS["voc"].read(reading), folder / f"{split}.record", WriteOptions(label_map=label_map))
    return folder


@pytest.fixture
def work(shapes, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(shapes, folder)
    text = CONFIG.read_text().replace("runs/quickstart/data/", f"{folder}/")
    text = text.replace("train.record-?????-of-00002", "train.record-?????-of-00001")
    (folder / "pipeline.config").write_text(text)
    return folder


def spoil(path: Path, number: int, **changes) -> None:
    """Changes features of one record; keys are names of the schema."""
    payloads = list(read_records(path))
    features = parse_example(payloads[number]) | {getattr(schema, name): values for name, values in changes.items()}
    payloads[number] = encode_lists(features)
    path.write_bytes(b"".join(map(frame_record, payloads)))


def run_doctor(*words: object, capsys) -> tuple[int, str]:
    code = main([*map(str, words), "--num_workers=1"])
    return code, capsys.readouterr().out


def checks_of(path: Path) -> dict[str, dict]:
    return {each["check"]: each for each in json.loads(path.read_text())["checks"]}


def test_training_can_start(work, capsys):
    flags = ["--pipeline_config_path", work / "pipeline.config", "--no_anchors", "--json", work / "out.json"]
    code, out = run_doctor(*flags, capsys=capsys)
    assert code == 0
    assert out.startswith("train: 40 images in 1 file, ")
    assert re.search(r"\ntraining can start: no error, \d warnings?, \d notes?; checked in \d+\.\d s\n$", out)
    content = json.loads((work / "out.json").read_text())
    assert content["can_start"] is True
    assert [(each["name"], each["num_images"]) for each in content["sets"]] == [("train", 40), ("eval", 10)]
    assert set(checks_of(work / "out.json")) <= EXPECTED


def test_training_cannot_start(work, capsys):
    """All mistakes are told at once: of the config, of the label map and of a record."""
    path = work / "train.record-00000-of-00001"
    spoil(path, 3, OBJECT_CLASS_LABEL=[7, 7, 7, 7, 7, 7, 7, 7])
    text = (work / "pipeline.config").read_text().replace("test.record-?????-of-00001", "tset.record")
    (work / "pipeline.config").write_text(text.replace("num_steps: 1500", "num_steps: 0"))
    flags = ["--pipeline_config_path", work / "pipeline.config", "--no_anchors", "--json", work / "out.json"]
    code, out = run_doctor(*flags, capsys=capsys)
    assert code == 1
    found = checks_of(work / "out.json")
    assert {"no_num_steps", "no_record_files", "list_lengths"} <= set(found)
    (finding,) = found["list_lengths"]["findings"]
    assert finding["record"] == {"path": str(path), "index": 3}
    assert "the nearest in" in found["no_record_files"]["findings"][0]["advice"]
    assert re.search(r"\ntraining cannot start: 3 errors \(list_lengths, no_num_steps, no_record_files\), ", out)


def test_the_result_does_not_depend_on_the_number_of_workers(work, capsys):
    spoil(work / "train.record-00000-of-00001", 35, IMAGE_ENCODED=[b"no image"])
    spoil(work / "test.record-00000-of-00001", 5, IMAGE_FORMAT=[b"png"])
    found = []
    for workers in (1, 2):
        flags = ["--records", work / "*.record-*", "--label_map", work / "train_label_map.pbtxt", "--json", work / "out.json"]
        assert main([*map(str, flags), f"--num_workers={workers}"]) == 1
        found.append(json.loads((work / "out.json").read_text()) | {"seconds": 0})
    assert found[0] == found[1]
    assert {"corrupt_image", "wrong_format"} <= set(checks_of(work / "out.json"))
    capsys.readouterr()


def test_few_findings_of_a_kind_are_printed_and_all_counted(work, capsys):
    for number in range(4):
        spoil(work / "test.record-00000-of-00001", number, IMAGE_FORMAT=[b"png"])
    code, out = run_doctor("--records", work / "test.record-*", "--max_findings", 2, capsys=capsys)
    assert code == 0
    assert "WARNING wrong_format (4)\n" in out
    assert out.count("image/format is 'png', the image is a JPEG") == 2
    assert "\n  and 2 more\n  to do: write the record again, or let --fix correct it\n" in out


def test_mended_records_can_be_trained_on(work, capsys):
    path = work / "train.record-00000-of-00001"
    spoil(path, 2, IMAGE_ENCODED=[b"no image"])
    payloads = list(read_records(path))
    path.write_bytes(b"".join(map(frame_record, [*payloads, payloads[5]])))
    spoil(path, 6, **_inverted(parse_example(payloads[6])))
    flags = ["--records", path, "--label_map", work / "train_label_map.pbtxt"]
    code, out = run_doctor(*flags, "--fix", work / "fixed", capsys=capsys)
    assert code == 1
    assert f"wrote 39 records to {work / 'fixed'}: 1 changed, 2 left out; each change is a line of {work / 'fixed' / 'changes.txt'}" in out
    assert len((work / "fixed" / "changes.txt").read_text().splitlines()) == 3
    code, out = run_doctor("--records", work / "fixed" / "*.record-*", *flags[2:], "--json", work / "out.json", capsys=capsys)
    assert code == 0
    assert set(checks_of(work / "out.json")) <= EXPECTED


def _inverted(features):
    low, high = ([*features[key]] for key in (schema.OBJECT_YMIN, schema.OBJECT_YMAX))
    low[0], high[0] = high[0], low[0]
    return {"OBJECT_YMIN": low, "OBJECT_YMAX": high}


def test_a_source_folder(work, capsys):
    xml = sorted((work / "shapes" / "Annotations").glob("*.xml"))[0]
    text = xml.read_text()
    xml.write_text(re.sub(r"<xmin>[\d.]+</xmin>", "<xmin>500</xmin>", text, count=1))
    code, out = run_doctor("--source", work / "shapes", capsys=capsys)
    assert code == 1
    assert f"ERROR inverted_box\n  {xml}:" in out
    assert "training with these cannot start: 1 error (inverted_box)" in out


def test_a_source_whose_annotations_are_named(test_data, capsys):
    """Nothing is wrong with tinycoco's 6 photos to evaluate on but that they are few."""
    tiny = test_data / "tinycoco"
    flags = ["--source", tiny / "images" / "val2017", "--annotations", tiny / "annotations" / "instances_val2017.json"]
    code, out = run_doctor(*flags, "--format=coco", capsys=capsys)
    assert code == 0
    assert {line.split()[1] for line in out.splitlines() if re.match("(ERROR|WARNING) ", line)} <= {
        "rare_class",
        "class_imbalance",
        "tiny_box",
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--records=a", "--source=b"], "not allowed with argument"),
        ([], "one of the arguments --pipeline_config_path --records --source is required"),
        (["--source=b", "--fix=c"], "--fix mends records"),
        (["--source=b", "--annotations=c"], "--annotations goes with --source and --format"),
        (["--pipeline_config_path=a", "--label_map=b"], "--label_map goes with --records or --source"),
        (["--records=a", "--config_override=b"], "--config_override goes with --pipeline_config_path"),
        (["--records=a", "--max_findings=-1"], "must be a whole number from 0, got '-1'"),
    ],
)
def test_wrong_flags(flags, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_records_that_are_not_there_are_a_line(work):
    command = [sys.executable, "-m", "pipelines.doctor", "--records", str(work / "trian.record-*")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: --records: '{work}/trian.record-*' matches no file")
    assert "train.record-00000-of-00001" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_fast_checks_find_what_would_stop_training(work):
    config = load_config(work / "pipeline.config")
    start = time.process_time()
    assert [group for group in run_fast_checks(config, Job()) if group.severity == 2] == []
    assert time.process_time() - start < 1.0
    spoil(work / "train.record-00000-of-00001", 3, OBJECT_CLASS_LABEL=[7])
    assert "list_lengths" in {group.check for group in run_fast_checks(config, Job())}
    assert "list_lengths" not in {group.check for group in run_fast_checks(config, Job(trains=False))}


@pytest.fixture
def trained(monkeypatch):
    """What training was called with, in place of training, which would load TensorFlow."""
    calls = []
    fake = SimpleNamespace(TrainOptions=SimpleNamespace, train=lambda options: calls.append(options) or 0, evaluate_checkpoints=None)
    monkeypatch.setitem(sys.modules, "pipelines.train", fake)
    return calls


def test_training_begins_with_the_fast_checks(work, trained, capsys):
    flags = [f"--pipeline_config_path={work / 'pipeline.config'}", f"--model_dir={work / 'model'}"]
    assert model_main_tf2.main(flags) == 0
    spoil(work / "train.record-00000-of-00001", 3, OBJECT_CLASS_LABEL=[7])
    wrong = [*flags, "--config_override=model { ssd { num_classes: 2 } }"]
    assert model_main_tf2.main(wrong) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2
    assert re.search(
        r'train_label_map\.pbtxt:\d+: label map item "\w+" has id 3, above num_classes 2 of the model; set num_classes to 3', lines[0]
    )
    assert "record 3 " in lines[1]
    assert "image/object/class/label has 1 values for" in lines[1]
    assert len(trained) == 1
    assert model_main_tf2.main([*wrong, "--skip_checks"]) == 0
    assert len(trained) == 2


def test_the_fast_checks_load_no_tensorflow(work):
    code = (
        "import sys, model_main_tf2\n"
        f"code = model_main_tf2.main(['--pipeline_config_path={work / 'pipeline.config'}', '--model_dir={work / 'model'}', "
        "'--config_override=train_config { batch_size: 0 }'])\n"
        "print(code, [name for name in ('tensorflow', 'tf_keras') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.stdout == "1 []\n", ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: --config_override: train_config.batch_size must be >= 1, got 0; set")
