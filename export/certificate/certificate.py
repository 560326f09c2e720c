"""What every form of a model gave for the same evaluation images, and whether each may be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.certificate.comparison import Comparison, Tolerance
from export.certificate.samples import SampleSet
from export.certificate.subject import Outputs
from export.multiply_adds import LEAST_INT8_SHARE, Int8Share
from export.quantization.layers import LayerFidelity
from object_detection_ext.errors import InputError


@dataclass(frozen=True)
class Certificate:
    """What was compared and what came out.

    Attributes:
        checkpoint: its prefix.
        samples: the images.
        expected: the checkpoint's outputs for them.
        map: the checkpoint's mAP and mAP at IoU 0.5 on them.
        comparisons: one a form.
        half_pixel: the first `.tflite` with images resized around pixel centres, as phone apps do.
        problems: name of the form -> what is beyond its tolerance.
        found: name of the form -> its outputs.
        tolerances: by kind.
        shares: name of an int8 file -> how much of it runs in 8 bits.
        layers: of the int8 network, against the float one on training images, worst first; empty where there is none.
    """

    config: str
    checkpoint: str
    samples: SampleSet
    expected: Outputs
    map: float
    map_50: float
    comparisons: tuple[Comparison, ...]
    half_pixel: Comparison | None
    problems: Mapping[str, str]
    found: Mapping[str, Outputs]
    tolerances: Mapping[str, Tolerance]
    shares: Mapping[str, Int8Share]
    layers: tuple[LayerFidelity, ...]

    def write_json(self, path: Path) -> None:
        """Everything but the outputs themselves."""
        path.write_text(json.dumps(self._as_json(), indent=2) + "\n")

    def check(self) -> None:
        """Raises InputError where a form is beyond its tolerance."""
        for name, problem in self.problems.items():
            raise InputError(
                f"{name} is not what the checkpoint is: {problem}; nothing was written (--allow_divergence writes it all the same)"
            )

    def table(self) -> str:
        """A line a form, for people."""
        width = max(len(each.name) for each in self.comparisons)
        lines = [f"{'mAP on ' + str(len(self.samples.samples)) + ' images':{width}}  {'mAP':>6}  {'change':>7}  boxes dB  scores dB"]
        lines.append(f"{'checkpoint':{width}}  {self.map:6.4f}")
        for each in self.comparisons:
            mark = "  beyond tolerance" if each.name in self.problems else ""
            change = f"{each.map - self.map:+7.4f}"
            lines.append(f"{each.name:{width}}  {each.map:6.4f}  {change}  {each.box_decibels:8.1f}  {each.score_decibels:9.1f}{mark}")
        return "\n".join(lines)

    def _as_json(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "checkpoint": self.checkpoint,
            "images": len(self.samples.samples),
            "evaluation_images": self.samples.num_records,
            "checkpoint_map": self.map,
            "checkpoint_map_50": self.map_50,
            "models": [
                self._entry(each) | {"passed": each.name not in self.problems, "problem": self.problems.get(each.name)}
                for each in self.comparisons
            ],
            "half_pixel_resize": self._entry(self.half_pixel) if self.half_pixel else None,
            "int8_layers": [each._asdict() for each in self.layers],
        }

    def _entry(self, comparison: Comparison) -> dict[str, Any]:
        share = self.shares.get(comparison.name)
        return {
            **comparison._asdict(),
            "parity": comparison.parity._asdict(),
            "tolerance": self.tolerances[comparison.kind]._asdict(),
            "multiply_adds_in_int8": share and {**share._asdict(), "least_share": LEAST_INT8_SHARE},
        }
