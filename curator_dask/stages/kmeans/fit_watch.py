"""Watch a fit on GPUs: give it up as soon as it cannot succeed, and fit once more on fresh workers.

NCCL waits for ever, and Dask keeps a task that is pinned to a dead worker for ever; neither reports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future as Outcome
from typing import TYPE_CHECKING, Any, Final, TypeVar

from curator_dask.errors import ClusterError, CuratorError, DeviceError
from curator_dask.runtime.waiting import asking_scheduler, scheduler_is_gone

if TYPE_CHECKING:
    from curator_dask.runtime.progress import Reporter

T = TypeVar("T")

LOOK_EVERY_S: Final = 1.0
BACK_WITHIN_S: Final = 120.0
"""Restarted workers must come back within this time."""

# Names of the tasks that run a rank; the first of them to fail says why the others hang.
RANK_TASKS: Final = ("_func_preflight_fit", "_func_fit", "_fit_alone")
OUT_OF_MEMORY: Final = ("out_of_memory", "out of memory", "bad_alloc", "cudaerrormemoryallocation")


class FitLostError(ClusterError):
    """A worker was lost or the fit got stuck: it can be repeated."""


class DeviceFullError(DeviceError):
    """A device was full: the fit can be repeated with the vectors in host memory."""


def watch(client: Any, work: Callable[[], T], *, workers: Collection[str], deadline_s: float) -> T:
    """Do ``work``, which waits for tasks of all ``workers`` at once, and give it up as soon as it cannot succeed.

    It cannot if a worker is gone, if one rank's task has failed while the others still wait for it, or if the deadline
    has passed. Its tasks are then cancelled; those that run go on until their workers are restarted.
    """
    before = set(client.futures)
    outcome: Outcome[T] = Outcome()
    threading.Thread(target=_settle, args=(outcome, work), name="kmeans-fit", daemon=True).start()
    give_up_at = time.monotonic() + deadline_s
    while True:
        try:
            return outcome.result(timeout=LOOK_EVERY_S)
        except Exception as error:
            if outcome.done():
                raise translate_error(error) from error
        trouble = _find_trouble(client, before, workers) or (
            FitLostError(f"k-means did not end within {deadline_s:,.0f} s") if time.monotonic() > give_up_at else None
        )
        if trouble is not None:
            _cancel(client, set(client.futures) - before)
            raise trouble


def _settle(outcome: Outcome[T], work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:  # the waiting thread raises it
        outcome.set_exception(error)


def _find_trouble(client: Any, before: Collection[str], workers: Collection[str]) -> CuratorError | None:
    """The error that keeps the fit from its end; None if nothing has happened."""
    try:
        alive = set(client.scheduler_info(n_workers=-1)["workers"])
    except Exception as error:
        return scheduler_is_gone(error)
    lost = sorted(set(workers) - alive)
    if lost:
        return FitLostError(
            f"{len(lost)} of {len(workers)} GPU workers went away during the fit ({', '.join(lost[:3])})"
        )
    for key, state in list(client.futures.items()):
        if key not in before and str(key).startswith(RANK_TASKS) and state.status == "error":
            return translate_error(state.exception)
    return None


def translate_error(error: BaseException | None) -> CuratorError:
    """The error of ours for one of cuML, NCCL or Dask; its class says whether the fit can be repeated."""
    from distributed import CancelledError, KilledWorker

    if isinstance(error, CuratorError):
        return error
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, KilledWorker | CancelledError | OSError):
        return FitLostError(f"a GPU worker went away during the fit ({told})")
    if isinstance(error, MemoryError) or any(mark in told.lower() for mark in OUT_OF_MEMORY):
        return DeviceFullError(f"a GPU ran out of memory during the fit ({told})")
    if "NCCL" in told:
        return DeviceError(
            f"the GPU workers cannot reach each other ({told}). NCCL_DEBUG=INFO in their environment says why; "
            "with one worker (--n-workers 1) NCCL is not needed"
        )
    return DeviceError(f"cuML could not fit: {told}")


def _cancel(client: Any, keys: Collection[Any]) -> None:
    """Cancel tasks, which also wakes the thread that waits for them."""
    from distributed import Future

    with contextlib.suppress(Exception):  # the scheduler itself may be gone
        client.cancel([Future(key, client) for key in keys], force=True)


def retry(client: Any, attempt: Callable[[bool], T], reporter: Reporter) -> T:
    """Call ``attempt(in_host_memory)``, and once more on fresh workers if a worker was lost or a device was full.

    An attempt must begin by reading the vectors, as restarted workers hold nothing. Raises ClusterError or DeviceError
    if the second attempt fails in the same way.
    """
    with asking_scheduler():
        workers = set(client.scheduler_info(n_workers=-1)["workers"])
    try:
        return attempt(False)
    except (FitLostError, DeviceFullError) as error:
        full = isinstance(error, DeviceFullError)
        where = "with the vectors in host memory" if full else "from the files"
        reporter.note(f"kmeans: {error}. The workers are restarted, and the fit is made again {where}")
    with asking_scheduler():
        restart(client, workers)
    try:
        return attempt(full)
    except FitLostError as error:
        raise ClusterError(f"{error}, for the second time: look at the workers' logs, then run again") from error
    except DeviceFullError as error:
        raise DeviceError(
            f"{error}, though the vectors were in host memory: use fewer clusters or more GPUs"
        ) from error


def restart(client: Any, workers: Collection[str]) -> None:
    """Start these workers anew: nothing else frees a worker from a collective operation that the others never join.

    Their nannies kill them at once, since Dask's own restart first asks the worker, which no longer answers.
    Raises ClusterError if they have no nanny to start them again, or do not come back.
    """
    present = client.scheduler_info(n_workers=-1)["workers"]
    alive = sorted(set(present) & set(workers))
    orphans = [address for address in alive if not present[address].get("nanny")]
    if orphans:
        raise ClusterError(
            f"the GPU workers {', '.join(orphans[:3])} run without a nanny, so they cannot be restarted from here: "
            "restart them yourself, then run again"
        )
    if alive:
        client.run(_kill_worker, workers=alive, nanny=True)
    give_up_at = time.monotonic() + BACK_WITHIN_S
    while True:
        now = set(client.scheduler_info(n_workers=-1)["workers"])
        if not now & set(alive) and len(now) >= len(workers):
            return
        if time.monotonic() > give_up_at:
            raise ClusterError(
                f"{len(now)} of {len(workers)} GPU workers came back within {BACK_WITHIN_S:.0f} s: run again to go on"
            )
        time.sleep(0.1)


def _kill_worker(dask_worker: Any) -> None:
    """In the nanny: kill the worker; the nanny then starts a new one."""
    os.kill(dask_worker.pid, signal.SIGKILL)
