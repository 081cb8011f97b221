"""``doctor``: say what this machine has, and what to do about the things that are missing."""

from __future__ import annotations

import sys

import typer


def doctor() -> None:
    """Show device, driver, RAPIDS, memory, ffmpeg and its encoders. Exits with 1 if something necessary is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from curator_dask.doctor import examine

    findings = examine()
    table = Table(box=None, show_header=False, pad_edge=False)
    for overflow in ("ignore", "ignore", "fold"):  # a long path is wrapped, not cut off
        table.add_column(overflow=overflow)
    colours = {"ok": "green", "note": "yellow", "fault": "red"}
    for finding in findings:
        table.add_row(f"[{colours[finding.level]}]{finding.level}[/]", finding.topic, escape(finding.text))
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)
