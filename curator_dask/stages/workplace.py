"""Where parts are worked on: on workers, or in this process where there is one part, so that small sets need no Dask."""

from __future__ import annotations

import contextlib
import uuid
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


def exchange_folder(state: StageState, *within: str) -> str:
    """A folder in that of the stage for the files of one run, below `EXCHANGE`, or below a folder within it.

    No other run has the same: a task of a run that was killed may go on for a while on the workers of a running scheduler, and
    write there.
    """
    return state.path(EXCHANGE, *within, uuid.uuid4().hex[:12])


@contextlib.contextmanager
def workplace(context: RunContext, state: StageState, *, here: bool, below: str = "") -> Iterator[Workplace]:
    """A place without files before and after the block, which leaves none of earlier runs either.

    Args:
        below: its `exchange_folder`, where its files are on no local disk; "": a new one.
    """
    if here:
        with temporary_folder() as scratch:
            yield Workplace(context, Folder(str(scratch)), EXCHANGE, here)
        return
    below = below or exchange_folder(state)
    of_all_runs = below.rpartition("/")[0]
    state.remove_below(of_all_runs)
    try:
        yield Workplace(context, state.folder, below, here)
    finally:
        state.remove_below(of_all_runs)
