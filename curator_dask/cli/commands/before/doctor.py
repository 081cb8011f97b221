"""``doctor``: say what this machine has, and what to do about the things that are missing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from curator_dask.cli.options.run_options import Json
from curator_dask.cli.output.documents import print_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curator_dask.doctor import Finding


def doctor(json: Json = False) -> None:
    """Show device, driver, RAPIDS, memory, ffmpeg and its encoders. Exits with 1 if something necessary is missing."""
    from curator_dask.doctor import examine

    findings = examine()
    usable = all(finding.level != "fault" for finding in findings)
    if json:
        print_document({"usable": usable, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    if not usable:
        raise typer.Exit(1)


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for overflow in ("ignore", "ignore", "fold"):  # a long path is wrapped, not cut off
        table.add_column(overflow=overflow)
    colours = {"ok": "green", "note": "yellow", "fault": "red"}
    for finding in findings:
        table.add_row(f"[{colours[finding.level]}]{finding.level}[/]", finding.topic, escape(finding.text))
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
