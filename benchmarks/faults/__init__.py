"""Faults on purpose: what machines, stores and people do to a run, and what becomes of the output. `make faults` runs it."""
