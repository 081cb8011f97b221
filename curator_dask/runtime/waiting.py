"""Workers come and go: ask those that are there, wait for results, share values that outlive them, and say if there are none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from typing import Any, TypeVar

from curator_dask.errors import ClusterError, InputError
from curator_dask.files.names import counted
from curator_dask.files.object_store.asking_once import workers_wrote

T = TypeVar("T")
NO_WORKERS_S = 300.0
"""How long to wait for workers: an adaptive cluster may rest without any, and batch systems take a while to start some."""
# How often the cluster's workers are counted, as they may come and go during a run.
LOOK_EVERY_S = 5.0
# Dask's own message names the worker, so it would differ in every run.
ALL_WORKERS_DIED = "every worker that tried it died: out of memory, or a crash in native code"


@contextlib.contextmanager
def asking_scheduler() -> Iterator[None]:
    """Within the block the client asks the scheduler something at once. Raises ClusterError if it is gone."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # the second one where the client has noticed it and closed itself
        raise scheduler_is_gone(error) from error


def scheduler_is_gone(error: BaseException) -> ClusterError:
    return ClusterError(f"the Dask scheduler does not answer any more ({error}): run again to go on")


def ask_workers(
    client: Any, function: Callable[..., Any], *arguments: Any, timeout_s: float, say: Callable[[str], None]
) -> set[Any]:
    """The different answers of all workers. Where there are none, that of the first one that comes within `timeout_s`.

    An adaptive cluster may rest without workers, and starts some for a task; `say` hears of it that they are waited for. A
    worker that leaves while it is asked has no answer. Raises TimeoutError where no worker comes, and what `function` raises.
    """
    answers = _answers_of_all(client, function, arguments)
    if answers:
        return answers
    say(waiting_for_workers(timeout_s))
    asked = client.submit(function, *arguments, pure=False)
    try:
        return {asked.result(timeout=timeout_s)}
    finally:
        asked.cancel()


def waiting_for_workers(timeout_s: float) -> str:
    """What to say while no worker is there."""
    return f"the Dask cluster has no workers now: waiting up to {timeout_s:.0f} s for some"


def log(text: str) -> None:
    """Log a warning, where nobody else is there to hear of it."""
    logging.getLogger("curator_dask").warning(text)


def _answers_of_all(client: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> set[Any]:
    with asking_scheduler():
        found = client.run(function, *arguments, on_error="return").values()
    answers = [answer for answer in found if not isinstance(answer, OSError)]  # such as a closed connection
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return set(answers)


class WorkerWatch:
    """Counts the threads of the cluster now and then, and notes since when it has had none; `say` hears of it once."""

    def __init__(self, client: Any, say: Callable[[str], None]) -> None:
        self.client = client
        self.num_threads = 1
        self._say = say
        self._is_waiting = False
        self._last_workers = time.monotonic()
        self._looked = 0.0

    def look(self, what: str) -> None:
        """Count the threads, if the last time is long enough ago.

        Args:
            what: the work that is left, in the plural: "3 units".

        Raises ClusterError if there is nothing to wait for.
        """
        now = time.monotonic()
        if self._looked and now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        threads = self._count_threads()
        if threads:
            self.num_threads, self._last_workers, self._is_waiting = threads, now, False
        else:
            self._wait_on(now - self._last_workers, what)

    def _count_threads(self) -> int:
        try:
            return sum(self.client.nthreads().values())
        except Exception as error:
            raise scheduler_is_gone(error) from error

    def _wait_on(self, waited_s: float, what: str) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._say(waiting_for_workers(NO_WORKERS_S))
        if waited_s > NO_WORKERS_S:
            raise ClusterError(
                f"the Dask cluster has had no workers for {NO_WORKERS_S:.0f} s, with {what} left to do: "
                "start workers, then run again to go on"
            )


def gather(client: Any, futures: Sequence[Any], say: Callable[[str], None] = log) -> list[Any]:
    """The results, in order, of tasks that all have to succeed. An error of this package passes through as it is.

    Args:
        client: the client of the tasks.
        futures: of the tasks.
        say: hears of it, once, if there are no workers. Without it, a warning is logged.

    Raises ClusterError where a task's workers died, no workers come, or the scheduler is gone.
    """
    from distributed import CancelledError, KilledWorker

    try:
        return _gather(client, list(futures), WorkerWatch(client, say))
    except KilledWorker as error:
        raise ClusterError(f"{ALL_WORKERS_DIED} ({error})") from error
    except CancelledError as error:
        raise ClusterError(f"the Dask scheduler was closed or lost ({error}): run again to go on") from error
    except OSError as error:
        if client.status != "running":
            raise scheduler_is_gone(error) from error
        raise InputError(f"a worker could not read or write a file: {error}") from error


def _gather(client: Any, futures: list[Any], watch: WorkerWatch) -> list[Any]:
    # In the client's own event loop, while this thread counts the workers: Dask would wait for them without end.
    gathering = asyncio.run_coroutine_threadsafe(client.gather(futures, asynchronous=True), client.loop.asyncio_loop)
    try:
        while not wait([gathering], timeout=LOOK_EVERY_S).done:
            watch.look(counted(len(futures), "tasks"))
        results: list[Any] = gathering.result()
    finally:
        gathering.cancel()
        workers_wrote()
    return results


def hold(client: Any, value: Any) -> Any:
    """A future of this value, to give to tasks. Workers hand it on to each other, and it comes again if they all die.

    `Client.scatter` would raise an error if a worker left meanwhile, and lose the value with the last worker that has it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # it is sent once, and must outlive the workers
        return client.submit(_same, value, pure=False)


def _same(value: T) -> T:
    return value
