"""The panels of ``--help``: options with one subject stand together."""

from __future__ import annotations

INPUT = "Input and output"
SPLITTING = "Splitting"
EMBEDDING = "Embedding"
DECIDING = "Deciding"
EXPORT = "Export"
CLUSTER = "Cluster"
GENERAL = "General"

PANELS = (INPUT, SPLITTING, EMBEDDING, DECIDING, EXPORT, CLUSTER, GENERAL)
"""In the order in which they are shown."""
