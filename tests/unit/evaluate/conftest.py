"""The model that can be read by eye, and its benchmarks."""

from tests.unit.segment.conftest import benchmark_of, model, normalisation, scenes, write_voc

__all__ = ["benchmark_of", "model", "normalisation", "scenes", "write_voc"]
