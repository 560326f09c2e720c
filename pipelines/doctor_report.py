"""The doctor's report: one page with what was found, pictures, and what the data look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.checks.input_size import InputSize, stored_size
from data_tools.checks.pictures import read_encoded_image
from data_tools.checks.summary import DataSummary, ReaderSummary
from object_detection_ext.findings import Finding, FindingGroup, Severity
from object_detection_ext.report.page import (
    Markup,
    Section,
    Tone,
    badge,
    details,
    element,
    grid,
    joined,
    render_page,
    shortened,
    table,
    verdict,
    write_page,
)
from pipelines.doctor_charts import anchor_chart, class_section, image_section, object_section, object_sizes, overview
from pipelines.doctor_pictures import Album, ReadImage, choose_samples, finding_figures
from pipelines.doctor_scan import input_size_of

if TYPE_CHECKING:
    from object_detection_ext.config import Config
    from object_detection_ext.diagnosis.anchor_coverage import CoverageGroup
    from pipelines.doctor_anchors import Anchors

_TONES: Mapping[Severity, Tone] = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SAMPLES = 16  # pictures of images worth looking at, over all sets
_PICTURES_OF_CHECK, _PICTURES_OF_FINDINGS = 4, 60
_LINES, _MORE_LINES = 6, 200  # findings of a check that are listed at once, and further ones to be unfolded
_MOST_GROUPS = 30  # rows of a table of anchor coverage
_ACRONYMS = {"nan": "NaN", "nms": "NMS", "exif": "EXIF", "cmyk": "CMYK"}
_LONGEST = 240  # characters of a message


def write_report(summary: DataSummary, path: Path, *, config: Config | None = None, anchors: Anchors | None = None) -> None:
    """Writes the page, whole or not at all.

    Args:
        summary: of the scan, findings included.
        path: an HTML file; its folder is made.
        config: gives sizes in pixels of the network's input in place of the stored image's.
        anchors: adds a section on them.
    """
    if config is None:
        page = render_report(summary, title=f"Data report: {_data_name(summary)}")
    else:
        page = render_report(summary, title=f"Data report: {config.path.name}", input_size=input_size_of(config), anchors=anchors)
    write_page(path, page)


def render_report(
    summary: DataSummary,
    *,
    title: str,
    input_size: InputSize = stored_size,
    anchors: Anchors | None = None,
    read_image: ReadImage = read_encoded_image,
) -> str:
    """The page as text; `input_size` as the checks know it."""
    readers = summary.readers
    album = Album(readers, read_image=read_image)
    unit = "pixels of the stored image" if input_size is stored_size else "pixels at the training size"
    sizes = {reader.name: object_sizes(reader, input_size) for reader in readers}
    sections = [
        Section("findings", "Findings", _findings(summary.findings, album)),  # first, so that their pictures are not short of bytes
        Section("pictures", "Pictures", _samples(readers, album)),
        Section("classes", "Classes", class_section(readers)),
        Section("objects", "Objects", object_section(readers, sizes, unit=unit)),
    ]
    if anchors is not None:
        chart = anchor_chart(sizes, anchors.shapes, threshold=anchors.coverage.threshold)
        sections.append(Section("anchors", "Anchors", _anchors(anchors, chart)))
    sections.append(Section("images", "Images", image_section(readers)))
    lead = joined(_verdict(summary.findings), grid(overview(readers), _index(summary.findings)))
    footer = f"Written by pipelines.doctor; the scan took {summary.seconds:.1f} seconds."
    return render_page(title, lead=lead, sections=sections, footer=footer)


def _data_name(summary: DataSummary) -> str:
    """The file, or the folder of the first of several."""
    paths = [Path(path) for reader in summary.readers for path in reader.paths]
    return paths[0].name if len(paths) == 1 else paths[0].absolute().parent.name if paths else "nothing"


def _verdict(groups: Sequence[FindingGroup]) -> Markup:
    counts = {severity: [group.count for group in groups if group.severity == severity] for severity in reversed(Severity)}
    told = [_kinds(numbers, _WORDS[severity]) for severity, numbers in counts.items() if numbers]
    detail = ", ".join(told) or "nothing was found"
    if counts[Severity.ERROR]:
        return verdict("Training cannot start:", detail, tone="error")
    tone = "warning" if counts[Severity.WARNING] else "good"
    return verdict("Training can start:", detail, tone=tone)


def _index(groups: Sequence[FindingGroup]) -> Markup:
    """The checks that found something, with links to what they found."""
    rows = [
        [element("a", _title(group.check), href=f"#check-{number}"), badge(_WORDS[group.severity], _TONES[group.severity]), group.count]
        for number, group in enumerate(groups)
    ]
    return table(["check", "severity", "places"], rows, caption="What was found, worst first") if rows else Markup("")


def _findings(groups: Sequence[FindingGroup], album: Album) -> Markup:
    if not groups:
        return element("p", "Nothing was found.")
    parts, pictures = list[Markup](), _PICTURES_OF_FINDINGS
    for number, group in enumerate(groups):
        figures = finding_figures(group, album, min(_PICTURES_OF_CHECK, pictures))
        pictures -= len(figures)
        parts.append(element("div", _heading(group, number), *([grid(*figures, kind="pictures")] if figures else []), *_lines(group)))
    return joined(*parts)


def _heading(group: FindingGroup, number: int) -> Markup:
    title = element(
        "h3", badge(_WORDS[group.severity], _TONES[group.severity]), f" {_title(group.check)}: {group.count:,}", id=f"check-{number}"
    )
    advice = Counter(finding.advice for finding in group.findings)
    told = [element("p", _sentence(text)) for text, _ in advice.most_common(3)]
    return joined(title, *told)


def _lines(group: FindingGroup) -> list[Markup]:
    first, more = group.findings[:_LINES], group.findings[_LINES : _LINES + _MORE_LINES]
    lines = [element("ul", *map(_line, first), class_="findings")]
    if more:
        lines.append(details(f"{len(more):,} more", element("ul", *map(_line, more), class_="findings")))
    left_out = group.count - len(first) - len(more)
    if left_out > 0:
        lines.append(element("p", f"And {left_out:,} more, which are left out here.", class_="muted"))
    return lines


def _line(finding: Finding) -> Markup:
    image = f" ({shortened(finding.image, 80)})" if finding.image else ""
    return element("li", shortened(_sentence(finding.message), _LONGEST), element("span", shortened(finding.where) + image, class_="muted"))


def _samples(readers: Sequence[ReaderSummary], album: Album) -> Markup:
    most = max(2, _SAMPLES // max(len(readers), 1))
    parts: list[Markup] = []
    for reader in readers:
        figures = [album.figure(reader, image, size=480) for image in choose_samples(reader, most)]
        drawn = [each for each in figures if each is not None]
        content = grid(*drawn, kind="pictures") if drawn else element("p", "No image can be shown.", class_="muted")
        parts += [element("h3", f"{shortened(reader.name, 60)}: {len(drawn)} of {reader.num_images:,} images"), content]
    return joined(*parts)


def _anchors(anchors: Anchors, chart: Markup) -> Markup:
    coverage = anchors.coverage
    rest = "Each of them trains one badly fitting anchor." if coverage.is_forced else "They are never trained on."
    share, number = f"{coverage.overall.missed_share:.1%}", f"{coverage.overall.num_objects:,}"
    told = f"No anchor reaches an IoU of {coverage.threshold:g} with {share} of the {number} objects to train on. {rest}"
    height, width = coverage.input_shape
    by_class_and_size = joined(
        _coverage_table("class", "class", coverage.by_class),
        _coverage_table("size", f"size at {width} x {height} pixels", coverage.by_size),
    )
    by_aspect_ratio = _coverage_table("ratio", "width : height", coverage.by_aspect_ratio)
    return joined(element("p", told), grid(chart, element("div", by_class_and_size), by_aspect_ratio))


def _coverage_table(title: str, by: str, groups: Sequence[CoverageGroup]) -> Markup:
    rows = [
        [shortened(group.name, 60), group.num_objects, f"{group.missed_share:.1%}", f"{group.mean_iou:.2f}"]
        for group in groups[:_MOST_GROUPS]
    ]
    left_out = f"; {len(groups) - _MOST_GROUPS} more classes fit better" if len(groups) > _MOST_GROUPS else ""
    return table([title, "objects", "missed", "mean IoU"], rows, caption=f"Objects that no anchor reaches, by {by}{left_out}")


def _kinds(counts: Sequence[int], word: str) -> str:
    total, kinds = sum(counts), len(counts)
    return f"{total:,} {word}{'' if total == 1 else 's'}" + (f" of {kinds} kinds" if kinds > 1 else "")


def _title(check: str) -> str:
    words = [_ACRONYMS.get(word, word) for word in shortened(check, 60).split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
