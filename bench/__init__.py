"""Benchmarks: whole-process figures against the peers, in one run, as ratios (`make bench`)."""
