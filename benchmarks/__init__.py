"""Benchmarks: each against a peer or the machine's own limit, side by side in one run, printing ratios."""
