"""Benchmarks on real servers, each figure beside its target: `python -m bench`."""
