"""The doctor's zero-mAP autopsy: runs it with a progress bar and puts what it finds beside the other findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from data_tools.progress import progress
from export.quiet import quiet_tensorflow
from object_detection_ext.config import Config
from object_detection_ext.errors import InputError
from object_detection_ext.findings import FindingCollector

if TYPE_CHECKING:
    from object_detection_ext.types import Batch


def perform_autopsy(config: Config, findings: FindingCollector, *, checkpoint: str | None, num_images: int) -> str:
    """What each stage found, as text; the first broken one also goes to `findings`."""
    quiet_tensorflow()
    from object_detection_ext.diagnosis.autopsy import run_autopsy

    try:
        autopsy = run_autopsy(config, checkpoint=checkpoint, num_images=num_images, watch=_shown)
    except InputError as error:  # a config that cannot be used at all: the findings say so too
        return f"autopsy: not possible: {error}"
    findings.add(autopsy.findings(str(config.path)))
    return f"autopsy\n{autopsy}"


def _shown(batches: Iterable[Batch], total: int) -> Iterator[Batch]:
    """The batches, with their images going by."""
    images = ((batch, number) for batch in batches for number in range(batch.images.shape[0]))
    for batch, number in progress(images, total=total, label="autopsy"):
        if number == 0:
            yield batch
