"""A pool of worker processes that dies with its parent, and what the machine offers to it."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process


def cpu_count() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_size() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def run_all(function: Callable, items: Iterable, workers: int | None = None) -> Iterator:
    """Results of `function(item)` in the order of completion; `workers` fresh processes (None: one per core), in this one for <= 1.

    `function` must be picklable. Worker processes never re-import the caller's script, so an unguarded script is safe."""
    items = list(items)
    workers = min(cpu_count() if workers is None else workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)
    try:
        with _quiet_children(function):
            futures = [pool.submit(function, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone (a killed parent would leave idle workers for ever)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(process: int) -> None:
    connection.wait([process])
    os._exit(1)


@contextmanager
def _quiet_children(function: Callable) -> Iterator[None]:
    """While worker processes start: one thread each, and `__main__` is not imported again unless `function` lives there."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS") if name not in os.environ}
    main = sys.modules["__main__"]
    needed = "__main__" in (getattr(f, "__module__", None) for f in _functions(function))
    hidden: dict[str, object] = {} if needed else {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    os.environ.update(threads)
    main.__dict__.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        for name in threads:
            os.environ.pop(name, None)


def _functions(function: Callable) -> Iterator[Callable]:
    """A callable and those it is bound to by `functools.partial`."""
    yield function
    for part in (getattr(function, "func", None), *getattr(function, "args", ()), *getattr(function, "keywords", {}).values()):
        if callable(part):
            yield from _functions(part)
