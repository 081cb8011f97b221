"""Stands for cuML in a rehearsal."""

__version__ = "0 (a stand-in)"
