"""Benchmarks. Each compares this package with another program, or with the most that the machine can do, in one run."""
