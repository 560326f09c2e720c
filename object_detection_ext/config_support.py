"""Which settings of a pipeline config are not honoured, as data. `config.check_supported` walks a config along these tables.

Keys are `Message.field`. A field that is in no table is honoured; `tests/object_detection_ext/test_config_support.py` looks for the code
that reads it. A scalar set to its default is always accepted. Whoever makes a field work removes it here.
"""

from __future__ import annotations

NOT_SUPPORTED: dict[str, str] = {}
ALLOWED_VALUES: dict[str, tuple[str, ...]] = {}
OLD_RUNTIME_ONLY: frozenset[str] = frozenset()
