from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from data_tools.conversion_summary import Messages, SplitSummary, Summary, report
from data_tools.tf_record import EncodedImage


def image(*texts: str, broken: int = 0, turned: bool = False, converted: str = "", box_masks: int = 0) -> EncodedImage:
    messages = tuple(f"box {number}" for number in range(broken))
    return EncodedImage(b"", "a", "a.xml", texts, messages, ("note",) if turned else (), turned, converted, box_masks)


def example() -> Summary:
    summary = Summary([SplitSummary("train"), SplitSummary("val")], outputs=[Path("a")])
    summary.add(image("cat", "cat", "dog", broken=30), 0)
    summary.add(image(turned=True, converted="bmp"), 0)
    summary.add(image("dog", broken=25, converted="webp", box_masks=1), 1)
    summary.add(image(converted="bmp"), 1)
    summary.add_left_out(image(broken=1))
    return summary


def test_counts():
    summary = example()
    train, val = summary.splits
    assert train == SplitSummary("train", 2, 1, 30, 1, Counter(bmp=1), Counter(cat=2, dog=1))
    assert val == SplitSummary("val", 2, 1, 25, 0, Counter(webp=1, bmp=1), Counter(dog=1), 1)
    assert (summary.num_images, summary.num_negatives, summary.num_turned, summary.num_left_out) == (4, 2, 1, 1)
    assert summary.objects == {"cat": 2, "dog": 2}
    assert summary.converted == {"bmp": 2, "webp": 1}
    assert summary.notes == Messages(["note"], 1)
    assert summary.broken_boxes.count == 56
    assert summary.broken_boxes.kept == [f"box {number}" for number in (*range(30), *range(20))]  # the first fifty


def test_through_json():
    summary = example()
    again = Summary.from_json(json.loads(json.dumps(summary.to_json())))
    assert again.outputs == []
    again.outputs = summary.outputs
    assert again == summary
    again.add(image("dog"), 1)
    assert again.splits[1].objects == {"dog": 2}


def test_report(capsys):
    report(example(), seconds=1.25)
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "note",
        *[f"box {number}" for number in (*range(30), *range(20))],
        "... and 6 more like this",
    ]
    assert printed.out.splitlines() == [
        "4 images, 2 of them without objects, in 1.2 s",
        "  train: 2 images, 1 without objects, 3 objects: cat 2, dog 1",
        "  val: 2 images, 1 without objects, 1 objects: dog 1",
        "4 objects: cat 2, dog 2",
        "56 broken boxes",
        "1 objects have no mask in the annotations: their filled boxes were written as masks",
        "1 images were turned upright",
        "3 images were stored as PNG: bmp 2, webp 1",
        "1 images were left out, as all of their boxes are broken",
        "a",
    ]


def test_no_object_at_all(capsys):
    report(Summary([SplitSummary(None, num_images=3, num_negatives=3)]), seconds=1.0)
    assert capsys.readouterr().err == "no image has an object: these records teach nothing and measure nothing\n"


def test_what_a_message_quotes_does_not_reach_the_terminal(capsys):
    summary = example()
    summary.notes.add(["a.csv:3: \x1b[2Jcat\nerror: all is lost"])
    report(summary, seconds=1.25)
    assert "a.csv:3: \\x1b[2Jcat error: all is lost\n" in capsys.readouterr().err
