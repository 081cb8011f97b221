"""Where parts are worked on: on workers, or in this process where there is one part, so that small sets need no Dask."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from curator_dask.files.folder import Folder
from curator_dask.files.temporary.temporary_folders import temporary_folder
from curator_dask.runtime.state import StageState
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.base import RunContext

Result = TypeVar("Result")
EXCHANGE: Final = "buckets"
"""The folder, below that of the stage, of files that tasks hand on to each other."""


@dataclass(frozen=True)
class Workplace:
    """Where tasks are done."""

    context: RunContext
    folder: Folder
    """Has the files that tasks hand on to each other."""
    below: str
    """The folder in it where they lie."""
    here: bool
    """Whether the tasks are done in this process."""

    def path(self, what: str, number: int) -> str:
        """The path of the file that holds something of a part or bucket."""
        return f"{self.below}/{what}-{number:06d}.arrow"

    def each(self, work: Callable[..., Result], tasks: Sequence[Any], *common: object) -> list[Result]:
        """The results of ``work(task, *common)``, in order. What is common to the tasks is sent once.

        Raises what the work raises, and ClusterError where workers died.
        """
        if self.here or not tasks:
            return [work(task, *common) for task in tasks]
        client = self.context.cluster.client
        held = [[hold(client, one)] * len(tasks) for one in common]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # each task has what it alone needs
            futures = client.map(work, tasks, *held, pure=False)
        return gather(client, futures, self.context.reporter.note)


@contextlib.contextmanager
def workplace(context: RunContext, state: StageState, *, here: bool, below: str = "") -> Iterator[Workplace]:
    """A place without files before and after the block.

    Args:
        below: the folder of its files in that of the stage, where they are on no local disk; "": `EXCHANGE`.
    """
    if here:
        with temporary_folder() as scratch:
            yield Workplace(context, Folder(str(scratch)), EXCHANGE, here)
        return
    below = below or state.path(EXCHANGE)
    state.remove_below(below)
    try:
        yield Workplace(context, state.folder, below, here)
    finally:
        state.remove_below(below)
