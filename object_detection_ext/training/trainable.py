"""Which variables train: patterns against their names, as slim's trainable scopes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf
import tf_keras

from object_detection_ext.weights.report import aligned, scopes
from object_detection_ext.weights.variable_names import VariableNames, variable_names


@dataclass(frozen=True)
class TrainablePatterns:
    """Chooses variables by regular expressions, searched for anywhere in a name: ours, the TF 1 API's or the TF 2 API's.

    Attributes:
        update_trainable_variables: only what one of them matches trains; empty for all.
        freeze_variables: of those, what one of them matches does not.
    """

    update_trainable_variables: tuple[str, ...] = ()
    freeze_variables: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, pattern in self._patterns():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{field} must be a regular expression, got {pattern!r} ({error})") from error

    def __call__(self, network: tf_keras.Model) -> list[tf.Variable]:
        """The variables that train, in the network's order.

        Raises:
            ValueError: a pattern matches no trainable variable, or nothing is left to train.
        """
        variables = {variable.name.partition(":")[0]: variable for variable in network.trainable_variables}
        chosen = self.choose(variable_names([weight.name.partition(":")[0] for weight in network.weights]), trainable=variables)
        return [variables[name] for name in chosen]

    def choose(self, names: Sequence[VariableNames], *, trainable: Mapping[str, object]) -> list[str]:
        """Our names of the variables that train, of those in `trainable`."""
        candidates = [entry for entry in names if entry.ours in trainable]
        for field, pattern in self._patterns():
            if not any(_matches(pattern, entry) for entry in candidates):
                raise ValueError(f"{field} must match a trainable variable, got {pattern!r}{_near(pattern, candidates)}")
        updated, frozen = self.update_trainable_variables, self.freeze_variables
        left = [entry for entry in candidates if not updated or any(_matches(pattern, entry) for pattern in updated)]
        left = [entry for entry in left if not any(_matches(pattern, entry) for pattern in frozen)]
        if not left:
            raise ValueError(f"freeze_variables must leave something to train, got {', '.join(frozen)}, which matches all")
        return [entry.ours for entry in left]

    def _patterns(self) -> Iterator[tuple[str, str]]:
        for field in ("update_trainable_variables", "freeze_variables"):
            for index, pattern in enumerate(getattr(self, field)):
                yield f"{field}[{index}]", pattern


def describe_trained(network: tf_keras.Model, trained: Sequence[tf.Variable]) -> str:
    """A table: layers and parameters that train, and that do not, per scope of the network."""
    refs = {variable.ref() for variable in trained}
    variables = {variable.name.partition(":")[0]: variable for variable in network.trainable_variables}
    states = {name: variable.ref() in refs for name, variable in variables.items()}
    sizes = {name: int(variable.shape.num_elements()) for name, variable in variables.items()}
    rows = [["", "trained", "frozen"]]
    for label, names in (*scopes(states), ("total", tuple(states))):
        rows.append([label, *(_cell([name for name in names if states[name] == state], sizes) for state in (True, False))])
    moving = "; batch norm of frozen scopes goes on updating its moving statistics unless model.ssd.freeze_batchnorm is set"
    return "\n".join([f"what trains: layers (parameters){moving if not all(states.values()) else ''}", *aligned(rows)])


def _cell(names: Sequence[str], sizes: Mapping[str, int]) -> str:
    layers = {name.rpartition("/")[0] for name in names}
    return f"{len(layers)} ({sum(sizes[name] for name in names):,})" if names else "-"


def _matches(pattern: str, names: VariableNames) -> bool:
    return any(re.search(pattern, name) for name in names.known)


def _near(pattern: str, names: Sequence[VariableNames]) -> str:
    """Tells scopes and names that look like a pattern, the likeliest first."""
    known = dict.fromkeys(name for entry in names for full in entry.known for name in _with_scopes(full))
    near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.5)
    return f"; near it are {', '.join(near)}" if near else ""


def _with_scopes(name: str) -> Iterator[str]:
    steps = name.split("/")
    for end in range(1, len(steps) + 1):
        yield "/".join(steps[:end])
