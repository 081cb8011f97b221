"""How a stage reports its progress, without knowing whether a terminal, a notebook or nobody listens."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives a stage's progress. All calls come from one thread."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage begins work on `total` things; `unit` names them in the plural."""

    def advance(self, count: int = 1) -> None:
        """So many more of them are done."""

    def add_video(self, seconds: float) -> None:
        """The clips of what is done now have so many seconds; told before `advance`."""

    def finish(self) -> None:
        """The stage has ended, also when it failed."""

    def say(self, message: str) -> None:
        """Tell what begins now, such as the start of workers."""

    def note(self, message: str) -> None:
        """Show a message that a person should read: a warning, an address."""


class SilentReporter:
    """Says nothing; warnings go to the package's logger."""

    def start(self, stage: str, total: int, unit: str) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        pass

    def add_video(self, seconds: float) -> None:
        pass

    def finish(self) -> None:
        pass

    def say(self, message: str) -> None:
        pass

    def note(self, message: str) -> None:
        import logging

        logging.getLogger("curator_dask").warning(message)
