"""Where the chunks of a fit are: each thread of a worker goes over those that its worker holds, so that rows stay there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curator_dask.runtime.waiting import asking_scheduler


@dataclass(frozen=True)
class Place:
    """One thread of one worker, and the chunks that it goes over."""

    worker: str | None
    """None: any."""
    chunks: tuple[int, ...]
    """Their numbers, in order."""

    def options(self) -> dict[str, Any]:
        """Options of `Client.submit`: a task runs on this worker, and on another one if it is lost."""
        pinned = {} if self.worker is None else {"workers": [self.worker], "allow_other_workers": True}
        return {**pinned, "pure": False}


def find_places(client: Any, held: Sequence[Any]) -> list[Place]:
    """Places for these futures, which are done: where they are, as far as each thread gets an even share of them.

    A cluster without workers has one place, which is any worker that comes. Raises ClusterError if the scheduler is gone.
    """
    with asking_scheduler():
        holders, threads = client.who_has(list(held)), client.nthreads()
    return choose_places([tuple(holders.get(future.key, ())) for future in held], threads)


def choose_places(holders: Sequence[Sequence[str]], threads: Mapping[str, int]) -> list[Place]:
    """Places for chunks that these workers hold. Where a worker holds more than an even share, others take the rest.

    >>> choose_places([["a"], ["b"], ["a"], ["b"]], {"a": 1, "b": 1})
    [Place(worker='a', chunks=(0, 2)), Place(worker='b', chunks=(1, 3))]
    >>> choose_places([["a"], ["a"], ["a"], ["lost"]], {"a": 1, "b": 1})
    [Place(worker='a', chunks=(0, 1)), Place(worker='b', chunks=(2, 3))]

    Args:
        holders: the workers that hold each chunk; none, if it is lost.
        threads: the number of threads of each worker.
    """
    if not threads:
        return [Place(None, tuple(range(len(holders))))]
    share = -(-len(holders) // sum(threads.values()))
    taken: dict[str, list[int]] = {worker: [] for worker in sorted(threads)}

    def room(worker: str) -> int:
        return share * threads[worker] - len(taken[worker])

    homeless: list[int] = []
    for number, workers in enumerate(holders):
        homes = [worker for worker in sorted(workers) if worker in taken and room(worker) > 0]
        (taken[homes[0]] if homes else homeless).append(number)
    for number in homeless:
        taken[max(taken, key=room)].append(number)
    return [
        Place(worker, tuple(sorted(chunks)[thread :: threads[worker]]))
        for worker, chunks in taken.items()
        for thread in range(min(threads[worker], len(chunks)))
    ]
