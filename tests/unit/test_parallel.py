from __future__ import annotations

import os
import time

import pytest

from cocu.errors import DataError, EnvironmentFault
from cocu.parallel import in_processes


def slow_first(item: int) -> tuple[int, int]:
    time.sleep(0.2 if item == 0 else 0)
    return item, os.getpid()


def fail(item: int) -> int:
    raise DataError(f"Item {item} is broken.")


def die(item: int) -> int:
    os._exit(9)


def test_results_come_in_the_order_of_the_items() -> None:
    found = list(in_processes(slow_first, range(5), 2))
    assert [item for item, _ in found] == list(range(5))
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize(("processes", "chunk"), [(1, 1), (3, 5)])
def test_what_one_process_can_do_is_done_here(processes: int, chunk: int) -> None:
    found = list(in_processes(slow_first, range(5), processes, chunk=chunk))
    assert found == [(item, os.getpid()) for item in range(5)]


def test_an_error_comes_through_and_a_killed_process_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"Item 0 is broken\."):
        list(in_processes(fail, range(2), 2))
    with pytest.raises(EnvironmentFault, match="A process was killed"):
        list(in_processes(die, range(2), 2))
