"""Benchmarks of asv, which compares commits."""
