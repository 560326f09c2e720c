"""A parallel map that keeps the order and holds only a few results at a time."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_functions: list[Callable[[Any], Any]] = []  # of a worker process: the one that it applies
_CHUNK = 32  # items a worker takes at a time: enough to hide the queue, few enough for a smooth progress bar


def ordered_map(function: Callable[[Item], Result], items: Sequence[Item], *, num_workers: int) -> Iterator[Result]:
    """Yields `function(item)` in the order of the items, whatever the number of workers.

    Args:
        function: picklable, as are items and results; sent to each worker once. Its first exception, in the items' order, is raised here.
        items: what to map over; fetched a few at a time.
        num_workers: worker processes; with one, or with few items, all happens in this process.

    Raises:
        ChildProcessError: a worker process died.
    """
    starts = range(0, len(items), _CHUNK)
    num_workers = min(num_workers, len(starts))
    if num_workers <= 1:
        yield from map(function, items)
        return
    # Spawned, not forked: the caller may have threads (TensorFlow's, say) that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker, initargs=(function,)) as executor:
        pending: deque[Future[list[Result]]] = deque()
        try:
            for start in starts:
                pending.append(executor.submit(_apply, items[start : start + _CHUNK]))
                if len(pending) > 2 * num_workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool:
            raise ChildProcessError("a worker process died, perhaps killed for want of memory; try fewer --num_workers") from None
        finally:
            executor.shutdown(cancel_futures=True)  # and waits: Python's own threads would stumble over a pool that is half closed


def _apply(chunk: Sequence[Any]) -> list[Any]:
    (function,) = _functions
    return [function(item) for item in chunk]


def _start_worker(function: Callable[[Any], Any]) -> None:
    _functions.append(function)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(parent_sentinel: int) -> None:
    """Ends this worker when its parent is killed: it would otherwise wait for work forever."""
    multiprocessing.connection.wait([parent_sentinel])
    os._exit(1)
