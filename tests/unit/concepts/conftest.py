"""The corpus that curation is tested on."""

from tests.unit.curate.conftest import folders

__all__ = ["folders"]
