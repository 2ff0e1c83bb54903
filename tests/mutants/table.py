"""The table: one-line changes that are easily made and that no one would see in a result."""

from __future__ import annotations

from tests.mutants.curation import CURATION
from tests.mutants.data import DATA
from tests.mutants.reports import REPORTS
from tests.mutants.segmentation import SEGMENTATION
from tests.mutants.training import TRAINING

TABLE = (*DATA, *CURATION, *SEGMENTATION, *TRAINING, *REPORTS)
