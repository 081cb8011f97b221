"""The command line: a thin shell around the stages."""

from __future__ import annotations


def main() -> None:
    """Entry point of ``curator-dask``."""
    from curator_dask.cli.app import app

    app(prog_name="curator-dask")
