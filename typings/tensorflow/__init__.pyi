# TensorFlow ships no types and typeshed's stubs cover a part of it, partly wrong: everything in it counts as Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
