"""`model.ssd.matcher` -> a matcher."""

from __future__ import annotations

from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.errors import InputError
from object_detection_ext.protos import matcher_pb2
from object_detection_ext.targets.matcher import ArgMaxMatcher

FIELD = "model.ssd.matcher"


def build_matcher(config: matcher_pb2.Matcher) -> ArgMaxMatcher:
    """The matcher that `config` describes; raises `InputError` with the field's path where a value is impossible.

    `use_matmul_gather` chose how the API gathered on a TPU; it changes no number.
    """
    kind = chosen(config, FIELD, allowed=("argmax_matcher",))
    message = config.argmax_matcher
    if message.ignore_thresholds:
        return ArgMaxMatcher(matched_threshold=None, force_match_for_each_row=message.force_match_for_each_row)
    for name in ("matched_threshold", "unmatched_threshold"):
        value = getattr(message, name)
        if not 0.0 <= value <= 1.0:
            raise InputError(f"{FIELD}.{kind}.{name} must be in [0, 1], got {value:g}")
    with errors_at(f"{FIELD}.{kind}"):
        return ArgMaxMatcher(
            matched_threshold=message.matched_threshold,
            unmatched_threshold=message.unmatched_threshold,
            negatives_lower_than_unmatched=message.negatives_lower_than_unmatched,
            force_match_for_each_row=message.force_match_for_each_row,
        )
