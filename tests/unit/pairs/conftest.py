"""A configuration for the stages of the pairs."""

import pytest

from cocu.config import Config
from tests.unit.mini.conftest import tiny_config


@pytest.fixture
def config() -> Config:
    return tiny_config()
