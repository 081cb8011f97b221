"""How a stage tells of its progress, without knowing whether a terminal, a notebook or nobody listens."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives a stage's progress. All calls come from one thread."""

    def start(self, stage: str, total: int, unit: str) -> None: ...

    def advance(self, count: int = 1) -> None: ...

    def finish(self) -> None: ...

    def note(self, message: str) -> None:
        """Something a person should read: a warning, an address."""


class SilentReporter:
    """Says nothing; warnings go to the package's logger."""

    def start(self, stage: str, total: int, unit: str) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        pass

    def finish(self) -> None:
        pass

    def note(self, message: str) -> None:
        import logging

        logging.getLogger("curator_dask").warning(message)
