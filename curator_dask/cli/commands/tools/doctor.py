"""``doctor``: what this machine has, and what to do about the rest."""

from __future__ import annotations

import sys

import typer


def doctor() -> None:
    """Show device, driver, RAPIDS, memory, ffmpeg and its encoders; ends with 1 where something needed is missing."""
    from rich.console import Console
    from rich.table import Table

    from curator_dask.doctor import examine

    findings = examine()
    table = Table(box=None, show_header=False, pad_edge=False)
    for overflow in ("ignore", "ignore", "fold"):  # a path that is cut short is of no use
        table.add_column(overflow=overflow)
    colours = {"ok": "green", "note": "yellow", "fault": "red"}
    for finding in findings:
        table.add_row(f"[{colours[finding.level]}]{finding.level}[/]", finding.topic, _plain(finding.text))
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
