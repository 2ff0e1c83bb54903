"""What a model saw in windows, kept for the benchmarks that show it the same ones and ask with other words.

Takes batches of windows; gives the model's half of the evidence, computed once a batch. A batch is known by its bits,
so that what is remembered is what would have been computed, bit for bit. Where little is remembered, nothing is lost
but the hash of the windows, a thousandth of a forward pass on the CPU.
"""

from __future__ import annotations

import hashlib

from torch import Tensor

from cocu.segment.zero_shot import Seen, SegmentationModel, see

ROOM = 2**28  # bytes of windows whose sight is kept: 9,700 of 48 pixels; what comes later is computed anew


class Memory:
    """Of one model, which must not change."""

    def __init__(self, model: SegmentationModel) -> None:
        self._model, self._seen, self._room = model, dict[bytes, Seen](), ROOM

    def see(self, windows: Tensor) -> Seen:
        """What the model sees in windows (b, 3, h, w) on the CPU."""
        pixels = windows.numpy()
        key = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
        seen = self._seen.get(key)
        if seen is None:
            seen = see(self._model, windows)
            if self._room >= pixels.nbytes:
                self._room -= pixels.nbytes
                self._seen[key] = seen
        return seen
