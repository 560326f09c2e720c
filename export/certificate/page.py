"""The certificate as a page: may these files be trusted, and how do we know."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from export.certificate.certificate import Certificate
from export.certificate.comparison import Comparison
from export.certificate.subject import Outputs
from export.multiply_adds import LEAST_INT8_SHARE
from object_detection_ext.report.page import (
    Markup,
    Section,
    element,
    facts,
    figure,
    grid,
    joined,
    render_page,
    table,
    verdict,
    write_page,
)
from object_detection_ext.report.pictures import Box, picture, thumbnail

_PICTURES = 4
_SHOWN_SCORE = 0.4
_WARN_HALF_PIXEL = 0.005  # mAP
_COLORS = ("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#ff7f0e")


def write_certificate_page(certificate: Certificate, path: Path) -> None:
    """Writes the page, whole or not at all."""
    sections = [
        Section("accuracy", "Accuracy", _accuracy(certificate)),
        Section("differences", "Differences from the checkpoint", _differences(certificate)),
        *_quantisation(certificate),
        Section("resize", "Resizing on the phone", _resizing(certificate)),
        Section("pictures", "What each finds", _pictures(certificate)),
    ]
    write_page(
        path, render_page("Export certificate", lead=_lead(certificate), sections=sections, footer=f"Checkpoint {certificate.checkpoint}")
    )


def _lead(certificate: Certificate) -> Markup:
    count, total = len(certificate.samples.samples), certificate.samples.num_records
    numbers = facts(
        [
            ("images compared", f"{count:,} of {total:,}"),
            ("mAP of the checkpoint", f"{certificate.map:.4f}"),
            ("mAP at IoU 0.5", f"{certificate.map_50:.4f}"),
        ]
    )
    if certificate.problems:
        lines = "; ".join(f"{name}: {problem}" for name, problem in certificate.problems.items())
        return joined(verdict("Not to be trusted.", lines, tone="error"), numbers)
    return joined(verdict("Every file does what the checkpoint does, within the tolerances below.", "", tone="good"), numbers)


def _accuracy(certificate: Certificate) -> Markup:
    rows = [("checkpoint", f"{certificate.map:.4f}", f"{certificate.map_50:.4f}", "", "")]
    for each in certificate.comparisons:
        passed = "beyond" if each.name in certificate.problems else "within"
        rows.append((each.name, f"{each.map:.4f}", f"{each.map_50:.4f}", f"{each.map - certificate.map:+.4f}", passed))
    limits = ", ".join(f"{kind} {tolerance.map_drop:g}" for kind, tolerance in certificate.tolerances.items())
    return joined(
        table(("model", "mAP", "mAP at IoU 0.5", "difference", "tolerance"), rows, caption="COCO's mAP on the same images"),
        element("p", f"Most mAP that may be lost: {limits}.", class_="muted"),
    )


def _differences(certificate: Certificate) -> Markup:
    limits = ", ".join(f"{kind} {tolerance.decibels:g} dB" for kind, tolerance in certificate.tolerances.items())
    header = (
        "model",
        "boxes, dB",
        "scores, dB",
        "largest box error",
        "largest score error",
        "matched",
        "mean IoU",
        "least IoU",
        "mean score difference",
    )
    return joined(
        table(
            header,
            [_row(each) for each in certificate.comparisons],
            caption="Before suppression (signal to noise, errors) and after it (matched detections)",
        ),
        element(
            "p", f"Least signal to noise: {limits}. Boxes are codes as the network gives them; of the SavedModel, decoded.", class_="muted"
        ),
    )


def _row(each: Comparison) -> tuple[str, ...]:
    parity = each.parity
    return (
        each.name,
        f"{each.box_decibels:.1f}",
        f"{each.score_decibels:.1f}",
        f"{each.max_box_error:.2g}",
        f"{each.max_score_error:.2g}",
        f"{parity.num_matched}/{parity.num_expected}",
        f"{parity.mean_iou:.4f}",
        f"{parity.min_iou:.4f}",
        f"{parity.mean_score_difference:.5f}",
    )


def _quantisation(certificate: Certificate) -> Iterator[Section]:
    """What of the int8 files runs in 8 bits, and their layers."""
    if not certificate.shares:
        return
    shares = [element("p", f"{name}: {share}.") for name, share in certificate.shares.items()]
    parts = [verdict("Not all in 8 bits.", "", tone="warning")] if _is_short(certificate) else []
    rows = [(each.layer, f"{each.decibels:.1f}") for each in certificate.layers]
    caption = "Signal to noise of each layer's output in 8 bits, on training images kept apart from calibration; worst first"
    layers = [table(("layer", "dB"), rows, caption=caption)] if rows else []
    yield Section("quantisation", "Quantisation", joined(*parts, *shares, *layers))


def _is_short(certificate: Certificate) -> bool:
    return any(share.share < LEAST_INT8_SHARE for share in certificate.shares.values())


def _resizing(certificate: Certificate) -> Markup:
    found = certificate.half_pixel
    if found is None:
        return element("p", "Not measured: this model pads its input, which an app has to do as well.")
    drop = certificate.map - found.map
    text = (
        f"Training resizes on the grid of the upper left corners, as the API did; most phone libraries resize around pixel centres. "
        f"So resized, {found.name} has an mAP of {found.map:.4f} instead of {certificate.map:.4f} ({-drop:+.4f})."
    )
    tone = "warning" if drop > _WARN_HALF_PIXEL else "info"
    return verdict("Mind the resize." if tone == "warning" else "The resize hardly matters.", text, tone=tone)


def _pictures(certificate: Certificate) -> Markup:
    items = []
    for index in range(min(_PICTURES, len(certificate.samples.samples))):
        thumb = thumbnail(_encoded(certificate.samples.samples[index].pixels))
        for name, outputs in {"checkpoint": certificate.expected, **certificate.found}.items():
            items.append(figure(picture(thumb, list(_boxes(certificate, outputs, index)), alt=f"image {index + 1}: {name}"), name))
    return joined(element("p", f"Detections with a score of {_SHOWN_SCORE} or more.", class_="muted"), grid(*items, kind="pictures"))


def _boxes(certificate: Certificate, outputs: Outputs, index: int) -> Iterator[Box]:
    content = np.tile(certificate.samples.samples[index].content, 2)
    for row in range(int(outputs.counts[index])):
        if outputs.scores[index, row] >= _SHOWN_SCORE:
            class_id = int(outputs.classes[index, row]) + 1
            name = certificate.samples.class_names.get(class_id, f"class_{class_id}")
            y_min, x_min, y_max, x_max = map(float, np.clip(outputs.boxes[index, row] / content, 0.0, 1.0))
            yield Box(y_min, x_min, y_max, x_max, f"{name} {outputs.scores[index, row]:.2f}", _COLORS[class_id % len(_COLORS)])


def _encoded(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return stream.getvalue()
