"""Progress in a notebook: one line with a bar per stage, in the output of the cell that runs."""

from __future__ import annotations

import html
import importlib
import sys
import time
from typing import Any, Final

from curator_dask.runtime.progress import Reporter, SilentReporter

UPDATE_AFTER_S: Final = 0.2
"""A notebook keeps every message, so a bar is not drawn anew more often than this."""


def default_reporter() -> Reporter:
    """A line per stage where a notebook's cell runs this; silence elsewhere."""
    return CellReporter() if in_notebook() else SilentReporter()


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process. IPython in a terminal has no kernel."""
    shell_of = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return getattr(shell_of(), "kernel", None) is not None


class CellReporter(SilentReporter):
    """One line per stage: a bar while it runs, what was done and in which time when it has ended."""

    def __init__(self) -> None:
        self._line: Any = None
        self._said = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self._stage, self._total, self._unit, self._done = stage, total, unit, 0
        self._started = self._shown = time.monotonic()
        if total:
            self._line = _display(self._content())

    def say(self, message: str) -> None:
        """On the line of the stage until some of it is done; on a line of its own where no stage runs."""
        if self._line is None:
            _display(_text_content(message))
        else:
            self._said = message
            self._line.update(self._content(), raw=True)

    def advance(self, count: int = 1) -> None:
        self._done += count
        self._said = "" if count else self._said
        now = time.monotonic()
        if self._line is not None and now - self._shown >= UPDATE_AFTER_S:
            self._shown = now
            self._line.update(self._content(), raw=True)

    def finish(self) -> None:
        if self._line is not None:
            seconds = time.monotonic() - self._started
            self._said = ""
            self._line.update(_text_content(f"{self._text()} in {seconds:,.1f} s"), raw=True)
            self._line = None

    def _text(self) -> str:
        said = f" · {self._said}" if self._said else ""
        return f"{self._stage}: {self._done:,} of {self._total:,} {self._unit}{said}"

    def _content(self) -> dict[str, str]:
        bar = f'<progress max="{self._total}" value="{self._done}" style="width: 14rem; vertical-align: middle"></progress>'
        return {"text/plain": self._text(), "text/html": f"{bar} {html.escape(self._text())}"}


def _text_content(text: str) -> dict[str, str]:
    return {"text/plain": text, "text/html": html.escape(text)}


def _display(content: dict[str, str]) -> Any:
    """A line of the cell, which can be changed later."""
    return importlib.import_module("IPython.display").display(content, raw=True, display_id=True)
