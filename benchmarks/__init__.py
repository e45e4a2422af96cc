"""Measurements, one command each: ``python -m benchmarks.gateway``, ``python -m benchmarks.real_engine``."""
