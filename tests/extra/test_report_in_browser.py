"""The report in a real browser: nothing is requested, nothing is complained about, nothing sticks out on a phone.

Needs Chromium or Chrome (Debian: `apt-get install chromium`), found on PATH or named by DETECTION_TEST_BROWSER; skips without one.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import math
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.checks.input_size import FixedInputSize
from data_tools.checks.scan import RecordSet, ScanSettings, scan_records
from data_tools.tf_example import bytes_feature, encode_example, float_feature, frame_record, int64_feature, text_feature
from object_detection_ext.data import schema
from pipelines.doctor_report import write_report

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",  # the DevTools protocol: JSON messages that end with a zero byte, in at descriptor 3, out at 4
)
_HOSTILE = "\"'><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'></title></style>"
# Elements that reach beyond the right edge of the window, apart from those that scroll by themselves.
_STICKING_OUT = """[...document.body.querySelectorAll('*')]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.scroll, pre, svg'))
  .map(element => element.outerHTML.slice(0, 200))"""
# Texts of charts with their size in CSS pixels, whether their drawing cuts them, and the texts that they overlap.
_CHART_LABELS = """[...document.querySelectorAll('svg:not(.picture)')].flatMap(drawing => {
  const edge = drawing.getBoundingClientRect(), texts = [...drawing.querySelectorAll('text')]
  const boxes = texts.map(text => text.getBoundingClientRect())
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
  return texts.map((text, index) => ({
    text: text.textContent, chart: drawing.getAttribute('aria-label'),
    size: parseFloat(getComputedStyle(text).fontSize) * drawing.getScreenCTM().a,
    is_cut: boxes[index].left < edge.left - 1 || boxes[index].right > edge.right + 1 || boxes[index].bottom > edge.bottom + 1,
    overlaps: texts.filter((_, other) => other < index && meet(boxes[index], boxes[other])).map(other => other.textContent).join()
  }))
})"""
_PATIENCE = 60.0  # seconds for one answer; a slow machine needs some


class Browser:
    """A headless Chromium with one page, spoken to in the DevTools protocol."""

    def __init__(self, program: str, profile: Path) -> None:
        descriptors = [*os.pipe(), *os.pipe()]
        command_out, self._commands, self._answers, answer_in = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in descriptors]
        for fd in descriptors:
            os.close(fd)
        actions = [
            (os.POSIX_SPAWN_DUP2, command_out, 3),
            (os.POSIX_SPAWN_DUP2, answer_in, 4),
            *[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
        ]
        arguments = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(program, arguments, os.environ, file_actions=actions, setpgroup=0)
        os.close(command_out)
        os.close(answer_in)
        self._buffer, self._sent, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """Ends the browser and all of its processes."""
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._commands)
        os.close(self._answers)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and waits for its result; events that come meanwhile are kept."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path, *, width: int, height: int = 800, scheme: str = "light", scale: float = 1.0) -> None:
        """Loads a page into a window of so many CSS pixels; `events` then holds what happened."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression in JavaScript."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"]["value"]

    def screenshot(self, path: Path, *, height: int | None = None) -> None:
        """Saves the page, or its first `height` CSS pixels, as PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            received = os.read(self._answers, 1 << 20)
            assert received, "the browser has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = os.environ.get("DETECTION_TEST_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium or Chrome on PATH; install one or set DETECTION_TEST_BROWSER")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of records with odd boxes, a broken image, and names that want to be more than text."""
    folder = tmp_path_factory.mktemp("report")
    for name, seed in (("train", 0), ("eval", 1)):
        records = [frame_record(_example(np.random.default_rng([seed, index]), index)) for index in range(24)]
        (folder / f"{name}.record").write_bytes(b"".join(records))
    sets = [RecordSet(name, (str(folder / f"{name}.record"),)) for name in ("train", "eval")]
    scan = scan_records(sets, ScanSettings(input_size=FixedInputSize(320, 320)))
    path = folder / "report.html"
    write_report(scan.summary(), path)
    return path


def _example(random: np.random.Generator, index: int) -> bytes:
    height, width = (int(size) for size in random.integers(200, 500, 2))
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (height // 20, width // 20, 3), np.uint8)).resize((width, height)).save(file, "JPEG")
    lows = random.uniform(0, 0.7, (5, 2))
    boxes = np.concatenate([lows, lows + random.uniform(0.01, 0.3, (5, 2))], axis=1)
    boxes[0] = (boxes[0][[2, 1, 0, 3]], boxes[0] + 0.8, [math.nan] * 4, boxes[0] * 300, boxes[0][[0, 1, 0, 1]], boxes[0])[index % 6]
    names = [_HOSTILE if place == 1 else ("a dog", "cat", "W" * 200)[(index + place) % 3] for place in range(5)]
    columns = zip((schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX), boxes.T.tolist(), strict=True)
    return encode_example(
        {
            schema.IMAGE_ENCODED: bytes_feature([file.getvalue()[: 900 if index == 7 else None]]),
            schema.IMAGE_FORMAT: text_feature(["jpeg"]),
            schema.IMAGE_HEIGHT: int64_feature([height]),
            schema.IMAGE_WIDTH: int64_feature([width]),
            schema.IMAGE_SOURCE_ID: text_feature([f"{_HOSTILE}{index}.jpg"]),
            schema.IMAGE_FILENAME: text_feature([f"{_HOSTILE}{index}.jpg"]),
            schema.OBJECT_CLASS_TEXT: text_feature(names),
            schema.OBJECT_CLASS_LABEL: int64_feature([1 + ("a dog", "cat", "W" * 200, _HOSTILE).index(name) for name in names]),
            **{key: float_feature(column) for key, column in columns},
        }
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_is_complained_about_requested_or_sticks_out(browser: Browser, report: Path, width: int, scheme: str) -> None:
    browser.open(report, width=width, scheme=scheme)
    assert browser.evaluate("document.images.length + document.querySelectorAll('image').length") > 20
    assert browser.evaluate("window.hacked === undefined && document.scripts.length === 0")
    methods = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event.get("method") in methods] == []
    requests = [event["params"]["request"]["url"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(_STICKING_OUT) == []


@pytest.mark.parametrize("width", [1280, 360])
def test_the_text_of_charts_can_be_read(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width=width)
    labels = browser.evaluate(_CHART_LABELS)
    assert len(labels) > 30
    assert [label for label in labels if label["size"] < 10] == []
    assert [label for label in labels if label["is_cut"]] == []
    assert [label for label in labels if label["overlaps"]] == []


def test_dark_is_dark_and_paper_is_white(browser: Browser, report: Path) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        browser.open(report, width=1280, scheme=scheme)
        grounds[scheme] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    grounds["print"] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)", "print": "rgb(255, 255, 255)"}
    browser.send("Emulation.setEmulatedMedia", media="")
    assert base64.b64decode(browser.send("Page.printToPDF")["data"]).startswith(b"%PDF")
