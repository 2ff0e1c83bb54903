"""Embeddings are unit vectors: what was just computed, and what an archive is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.errors import NumericsError

UNIT = 1e-3  # a unit vector in float16 is closer than this to length 1


def check_unit(rows: NDArray[Any], names: Sequence[str], *, where: Path) -> None:
    """Raise `NumericsError` naming `where` and the first of `names` whose row (of n, d) is no finite unit vector."""
    lengths = np.linalg.norm(rows.astype(np.float32), axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT))  # written so that a length that is no number is bad
    if bad.size:
        raise NumericsError(
            f"{where}: the embedding of '{names[bad[0]]}' has the length {lengths[bad[0]]:.4g} where 1 is needed "
            f"({bad.size} such rows). Run the embedding stage again; if it comes back, check clip.pretrained, or look "
            "at that sample."
        )
