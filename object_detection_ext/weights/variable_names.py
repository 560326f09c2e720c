"""The names that a variable goes by: ours, the TF 1 API's and the TF 2 API's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from object_detection_ext.weights.api_names import api_names, feature_extractor_scope
from object_detection_ext.weights.tf1_names import tf1_names


class VariableNames(NamedTuple):
    """One variable under each naming scheme, without `:0`; empty where the scheme has no such variable."""

    ours: str
    tf1: str
    api: str

    @property
    def known(self) -> tuple[str, ...]:
        """The names that are not empty, each once."""
        return tuple(dict.fromkeys(name for name in self if name))


def variable_names(variables: Sequence[str]) -> list[VariableNames]:
    """The names of all variables of a network, given ours (`Conv1/kernel`, without `:0`)."""
    tf1, api = tf1_names(variables), api_names(variables, scope=feature_extractor_scope(variables) or "")
    return [VariableNames(name, *(table[name].name if name in table else "" for table in (tf1, api))) for name in variables]
