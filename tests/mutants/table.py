"""The table: one-line changes that are easily made and that no one would see in a result."""

from __future__ import annotations

from tests.mutants.curation import CURATION

TABLE = (*CURATION,)
