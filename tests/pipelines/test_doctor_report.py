"""The doctor's page: everything that was seen is on it, nothing in the data can break it, and it stays small."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from data_tools.checks.input_size import FixedInputSize
from data_tools.checks.summary import DataSummary, ReaderSummary
from object_detection_ext.config import load_config
from object_detection_ext.diagnosis.anchor_coverage import AnchorCoverage, CoverageGroup
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Finding, FindingCollector, RecordPlace, Severity
from pipelines.doctor_anchors import Anchors, look_at_anchors
from pipelines.doctor_charts import anchor_chart, object_sizes
from pipelines.doctor_pictures import Album, choose_samples
from pipelines.doctor_report import render_report, write_report

NAMES = {1: "cat", 2: "dog", 3: "never seen"}
HOSTILE = "\"'><script>alert(1)</script>\x00\x1b[31m\u202e\ud800" + "x" * 10_000


class Thing(NamedTuple):
    box: tuple[float, float, float, float]
    class_id: int = 1
    text: str = ""
    is_crowd: bool = False


def reader(
    name: str, images: Sequence[Sequence[Thing]], *, size: tuple[int, int] = (60, 80), names: dict[int, str] = NAMES, prefix: str = "photo"
) -> ReaderSummary:
    things = [thing for image in images for thing in image]
    boxes = np.array([thing.box for thing in things], np.float32).reshape(-1, 4)
    return ReaderSummary(
        name=name,
        paths=(f"{name}.record",),
        is_record_set=True,
        class_names=names,
        file_ids=np.zeros(len(images), np.int32),
        record_indices=np.arange(len(images)),
        offsets=np.zeros(len(images), np.int64),
        image_names=tuple(f"{prefix}_{index}.jpg" for index in range(len(images))),
        image_sizes=np.tile(np.array(size, np.int32), (len(images), 1)),
        num_boxes=np.array([len(image) for image in images], np.int32),
        boxes=boxes,
        box_images=np.repeat(np.arange(len(images)), [len(image) for image in images]),
        class_ids=np.array([thing.class_id for thing in things], np.int32),
        class_texts=tuple(thing.text for thing in things),
        is_crowd=np.array([thing.is_crowd for thing in things], bool),
        is_sound=np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1),
    )


def summary(*readers: ReaderSummary, findings: Sequence[Finding] = ()) -> DataSummary:
    collector = FindingCollector()
    collector.add(findings)
    return DataSummary(readers, collector.groups(), 1.25)


def finding(check: str = "inverted_box", severity: Severity = Severity.ERROR, **fields: object) -> Finding:
    return Finding(check, severity, **{"where": "train.record: record 0", "message": "a message", "advice": "an advice"} | fields)


def jpeg(reader: ReaderSummary, image: int) -> bytes:
    height, width = reader.image_sizes[image]
    file = io.BytesIO()
    Image.new("RGB", (max(int(width), 1), max(int(height), 1)), (40 * image % 256, 90, 160)).save(file, "JPEG")
    return file.getvalue()


def render(data: DataSummary, **options: object) -> str:
    return render_report(data, title="Data report", **{"read_image": jpeg} | options)


class Parts(HTMLParser):
    """Tags and text of a page; its tags must be closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        assert not [name for name, _ in attrs if name.startswith("on")]
        assert not [value for name, value in attrs if name not in ("aria-label",) and re.search(r"\b(nan|inf)\b", value or "")]
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += f" {data}"


TRAIN = reader("train", [[Thing((0.1, 0.1, 0.5, 0.5)), Thing((0.2, 0.3, 0.9, 0.8), 2)], [Thing((0.4, 0.4, 0.6, 0.6))], []])
EVAL = reader("eval", [[Thing((0.1, 0.1, 0.5, 0.5), 2)]])


def test_everything_is_on_the_page() -> None:
    faulty = finding(record=RecordPlace("train.record", 0), object_index=1, image="photo_0.jpg")
    page = Parts(render(summary(TRAIN, EVAL, findings=[faulty, finding("odd_size", Severity.WARNING)])))
    for text in (
        "Training cannot start",
        "1 error",
        "1 warning",
        "Inverted box",
        "Odd size",
        "An advice.",
        "A message.",
        "photo_1.jpg",
    ):
        assert text in page.text
    for section in ("Findings", "Pictures", "Classes", "Objects", "Images"):
        assert section in page.labels
    assert "never seen" in page.text  # a class without objects
    assert "80 x 60" in page.text
    assert any(label.startswith("photo_0.jpg: dog (object 1) in red, 1 cat") for label in page.labels)
    assert "script" not in page.tags


@pytest.mark.parametrize(
    ("severities", "words"),
    [
        ((), ("Training can start", "nothing was found")),
        ((Severity.INFO,), ("Training can start", "1 note")),
        ((Severity.WARNING, Severity.WARNING), ("Training can start", "2 warnings")),
        ((Severity.WARNING, Severity.ERROR), ("Training cannot start", "1 error, 1 warning")),
    ],
    ids=["nothing", "note", "warnings", "error"],
)
def test_the_verdict(severities: Sequence[Severity], words: tuple[str, str]) -> None:
    page = Parts(render(summary(TRAIN, findings=[finding(f"check_{severity.name}", severity) for severity in severities])))
    assert all(word in page.text for word in words)


def test_hostile_names_are_shown_and_cut() -> None:
    images = [[Thing((0.1, 0.1, 0.5, 0.5), 1, HOSTILE)], [Thing((0.1, 0.1, 0.5, 0.5), 9, HOSTILE)]]
    data = reader(HOSTILE[:3000], images, names={1: HOSTILE}, prefix=HOSTILE)
    place = RecordPlace(f"{HOSTILE[:3000]}.record", 0)
    bad = finding(HOSTILE, record=place, object_index=0, image=HOSTILE, message=HOSTILE, advice=HOSTILE, where=HOSTILE)
    text = render(summary(data, findings=[bad]))
    text.encode("utf-8")
    page = Parts(text)
    assert "script" not in page.tags
    assert "<script>" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
    assert len(text) < 100_000


ODD = (float("nan"), float("inf"), -1e30, 1e30, 0.0, 0.5, 5.0)


def test_boxes_of_any_numbers_never_break_the_page() -> None:
    images = [[Thing((a, b, c, d)) for a in ODD for d in ODD] for b in ODD for c in ODD[:3]]
    findings = [finding(record=RecordPlace("train.record", image), object_index=image) for image in range(20)]
    page = Parts(render(summary(reader("train", images), findings=findings), input_size=FixedInputSize(320, 320)))
    assert "cannot be drawn" in page.text


@pytest.mark.parametrize(
    "readers",
    [(), (reader("train", []),), (reader("train", [[], []]),), (reader("train", [[Thing((0.1, 0.1, 0.2, 0.2))]], size=(0, 0)),)],
    ids=["no set", "no image", "no object", "unknown size"],
)
def test_what_is_empty_is_said_to_be(readers: Sequence[ReaderSummary]) -> None:
    page = Parts(render(summary(*readers)))
    assert "Training can start" in page.text
    assert "Nothing to show." in page.text


def test_an_image_that_cannot_be_read_has_no_picture() -> None:
    def broken(reader: ReaderSummary, image: int) -> bytes:
        if image == 0:
            raise InputError("damaged")
        return b"no image" if image == 1 else jpeg(reader, image)

    page = Parts(render(summary(TRAIN, findings=[finding(record=RecordPlace("train.record", 0))]), read_image=broken))
    assert page.tags.count("image") == 0  # the third image has no objects, so it is no sample
    assert "No image can be shown." in page.text


def noise(reader: ReaderSummary, image: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(image).integers(0, 256, (400, 500, 3), np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=50)
    return file.getvalue()


def test_the_page_of_a_large_data_set_is_small() -> None:
    """5,000 images, 1,000 findings and the least compressible pictures stay below 3 MB."""
    random = np.random.default_rng(0)
    lows, sides = random.uniform(0, 0.6, (5000, 7, 2)), random.uniform(0.01, 0.4, (5000, 7, 2))
    boxes = np.concatenate([lows, lows + sides], axis=2).tolist()
    names = {index: f"class {index}" for index in range(1, 91)}
    images = [[Thing(tuple(box), 1 + (7 * index + place) % 90) for place, box in enumerate(rows)] for index, rows in enumerate(boxes)]
    sizes = random.integers(200, 1000, (5000, 2)).astype(np.int32)
    data = reader("train", images, names=names)
    object.__setattr__(data, "image_sizes", sizes)
    findings = [
        finding(f"check_{index % 25}", record=RecordPlace("train.record", index), object_index=index % 7, image=f"photo_{index}.jpg")
        for index in range(1000)
    ]
    page = render(summary(data, reader("eval", images[:500], names=names), findings=findings), read_image=noise)
    assert len(page.encode()) < 3_000_000
    parts = Parts(page)
    assert parts.tags.count("image") > 20
    assert "34 more" in parts.text  # 40 of each check, of which 6 are listed at once


def test_findings_beyond_those_kept_are_counted() -> None:
    collector = FindingCollector(kept=300)
    collector.add(finding() for _ in range(1234))
    page = Parts(render(DataSummary((TRAIN,), collector.groups(), 1.0)))
    assert "1,234 errors" in page.text
    assert "And 1,028 more, which are left out here." in page.text


def test_samples_show_rare_classes_and_spread_over_the_set() -> None:
    images = [[Thing((0, 0, 1, 1))] for _ in range(100)] + [[]] * 5
    images[37] = [Thing((0, 0, 1, 1), 2)]
    data = reader("train", images)
    chosen = choose_samples(data, 6)
    assert 37 in chosen
    assert len(chosen) == len(set(chosen)) == 6
    assert max(chosen) < 100
    assert chosen == sorted(chosen)
    assert choose_samples(reader("train", [[], [], []]), 2) == [0, 2]
    assert choose_samples(reader("train", []), 4) == []
    assert choose_samples(TRAIN, 8) == [0, 1]


def test_pictures_end_with_the_budget() -> None:
    album = Album([TRAIN], read_image=jpeg, budget=500)
    assert album.figure(TRAIN, 0) is not None
    assert album.figure(TRAIN, 1) is None


def test_object_sizes_are_those_of_the_training_size() -> None:
    things = [Thing((0.0, 0.0, 0.5, 0.25)), Thing((0.5, 0.5, 2.0, 1.0)), Thing((0.5, 0.5, 0.4, 0.6)), Thing((0, 0, 0.001, 0.001))]
    sizes = object_sizes(reader("train", [things]), FixedInputSize(100, 200))
    assert sizes.heights.tolist() == pytest.approx([50, 50, 2])  # clipped to the image; at least 2 pixels
    assert sizes.widths.tolist() == pytest.approx([50, 100, 2])
    assert sizes.sides.tolist() == pytest.approx([50, 5000**0.5, 2])


def test_the_region_of_an_anchor_is_where_the_iou_is_at_the_threshold() -> None:
    from pipelines.doctor_charts import _region

    for threshold in (0.3, 0.5, 0.7):
        for width, height in _region(40.0, 20.0, threshold):
            overlap = min(width, 20) * min(height, 40)
            assert overlap / (width * height + 800 - overlap) == pytest.approx(threshold)


def test_anchors_are_drawn_over_the_objects() -> None:
    group = CoverageGroup("cat", 2, 1, 0.45)
    coverage = AnchorCoverage(0.5, True, (320, 320), np.array([0.3, 0.6]), group, (group,), (group,), (), (group,))
    shapes = np.array([[32.0, 32.0], [32.0, 32.0], [64.0, 32.0]])
    page = Parts(render(summary(TRAIN, EVAL), anchors=Anchors(shapes, coverage), input_size=FixedInputSize(320, 320)))
    assert "50.0% of the 2 objects" in page.text
    assert "2 shapes of anchors" in page.text
    chart = anchor_chart({"train": object_sizes(TRAIN, FixedInputSize(320, 320))}, shapes, threshold=0.5)
    assert chart.count('class="region"') == 2
    assert re.search(r'class="cross" d="(M[\d. ]+h8m-4 -4v8){2}"', chart)


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "data.html"
    write_report(summary(reader("train", [])), path)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["data.html"]


def test_a_config_brings_its_anchors(tmp_path: Path) -> None:
    config = load_config(Path(__file__).parents[2] / "configs" / "ssdlite_mobilenet_v2_035_320x320_bccd.config")
    things = [
        Thing((0.5, 0.5, 0.51, 0.51)),
        Thing((0.0, 0.0, 1.0, 1.0), 2),
        Thing((0.5, 0.5, 0.1, 0.1)),
        Thing((0, 0, 1, 1), 2, is_crowd=True),
    ]
    summed, findings = summary(reader("train", [things])), FindingCollector()
    look = look_at_anchors(config, summed.readers[0], findings)
    assert look is not None
    write_report(summed, tmp_path / "report.html", config=config, anchors=look.anchors)
    page = Parts((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "50.0% of the 2 objects to train on" in page.text  # the first is 3 pixels wide; one is broken, one a crowd
    assert "pixels at the training size" in page.text
    assert "Data report: ssdlite_mobilenet_v2_035_320x320_bccd.config" in page.text
    assert "No image can be shown." in page.text  # train.record does not exist


def test_no_class_is_as_red_as_a_fault() -> None:
    names = {index: f"class {index}" for index in range(1, 200)}
    drawn = Album([reader("train", [[Thing((0, 0, 1, 1), index) for index in names]], names=names)], read_image=jpeg)
    hues = [int(re.match(r"hsl\((\d+) ", color)[1]) for color in drawn._colors.values()]
    assert len(set(drawn._colors.values())) > 150
    assert 40 <= min(hues) <= max(hues) <= 310


def test_a_source_folder_numbers_objects_in_its_own_way() -> None:
    source = dataclasses.replace(TRAIN, is_record_set=False, paths=("0.jpg",))
    text = render(summary(source, findings=[finding(record=RecordPlace("0.jpg", 0), object_index=0)]))
    assert "cat in red" in text
    assert "(object" not in text
    assert "0.jpg: record" not in text
