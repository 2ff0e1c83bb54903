"""Work shared by processes of this machine: the results in order, whatever their number.

Takes a function that can be pickled and its items; gives the results one after another. Processes are spawned, since
forking one that has run threads, or a GPU, may hang.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from cocu.errors import EnvironmentFault

T = TypeVar("T")
R = TypeVar("R")


def in_processes(work: Callable[[T], R], items: Sequence[T], processes: int, *, chunk: int = 1) -> Iterator[R]:
    """`work` of every item in order: by as many processes, `chunk` items at a time, or here where one is enough.

    Raises what `work` raises, and `EnvironmentFault` when a process is killed.
    """
    if processes == 1 or len(items) <= chunk:
        yield from map(work, items)
        return
    try:
        with ProcessPoolExecutor(min(processes, len(items)), mp_context=get_context("spawn")) as pool:
            yield from pool.map(work, items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise EnvironmentFault("A process was killed, most likely for memory: give fewer processes.") from error
