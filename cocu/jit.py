"""Compilation of the curation kernels by numba.

A compiled function must call no compiled function of another module: the cache of machine code notices edits in the
function's own file only, and a stale kernel would go on giving the old numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`function` as machine code, cached on disk where a place for that can be written."""
    return _compile(function, fastmath=False)


def compiled_sum(function: F) -> F:
    """`compiled`, for a sum whose terms may be added in any order: the loop then uses vector instructions."""
    return _compile(function, fastmath={"reassoc", "contract"})


def _compile(function: F, fastmath: bool | set[str]) -> F:
    try:
        return cast(F, numba.njit(cache=True, nogil=True, fastmath=fastmath)(function))
    except RuntimeError:  # neither the package's folder nor a home can be written
        return cast(F, numba.njit(nogil=True, fastmath=fastmath)(function))
