"""Calls a command's `main` and prints what the call cost, without the imports before it; runs in either environment.

python -P benchmarks/timed_call.py data_tools.create_tf_record FLAGS...
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import resource
import sys
import time


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """The first argument is the module, those after it are its flags."""
    module, flags = importlib.import_module(sys.argv[1]), sys.argv[2:]
    if hasattr(module, "FLAGS"):  # the original: flags of absl, read before main
        module.FLAGS([sys.argv[1], *flags])
        flags = None
    wall, cpu = time.monotonic(), cpu_seconds()
    module.main(flags)
    wall = time.monotonic() - wall
    for worker in multiprocessing.active_children():  # what they have used counts when they have ended
        worker.join()
    print(json.dumps({"call_wall_seconds": wall, "call_cpu_seconds": cpu_seconds() - cpu}))


if __name__ == "__main__":
    main()
