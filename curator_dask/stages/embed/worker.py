"""The work of the embed stage on a worker: frames of clips in, one file of vectors and one of tracks per unit out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from curator_dask.errors import MediaError
from curator_dask.runtime.device import torch_device
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.units import WORKER_LOST
from curator_dask.runtime.waiting import ALL_WORKERS_DIED
from curator_dask.stages.embed.clip_frames import read_frames
from curator_dask.stages.embed.clip_tracks import Embedder
from curator_dask.stages.embed.clip_vectors import VectorBatches, write_unit
from curator_dask.stages.embed.part_results import Embedded
from curator_dask.stages.embed.spec import EmbedSpec, EmbedTask
from curator_dask.stages.embed.units import Task

LOST = Embedded(MediaError(WORKER_LOST, f"{ALL_WORKERS_DIED}, as the others of its unit were done without it"))
"""What became of a clip that was set aside."""


def embed_unit(task: Task) -> UnitResult:
    """Decode, compute and write the vectors and tracks of one unit."""
    (result,) = embed_units([task])
    return result


def embed_units(tasks: Sequence[Task]) -> Iterator[UnitResult]:
    """Embed several units of one stage, in order. Clips are read ahead and batches are filled across units.

    The result of each unit comes as soon as its files are written.
    """
    embedder = Embedder(tasks[0].spec)
    batches = VectorBatches(embedder)
    whole = [task.whole() for task in tasks]
    unwritten = deque(enumerate(whole))
    batches.results.update({(number, name): LOST for number, task in unwritten for name in task.aside})
    for number, clip, frames in read_frames([task.to_read() for task in whole], embedder.rules):
        batches.add((number, clip.id), frames)
        yield from _write_complete_units(unwritten, batches)
    batches.flush()
    yield from _write_complete_units(unwritten, batches)


def _write_complete_units(unwritten: deque[tuple[int, EmbedTask]], batches: VectorBatches) -> Iterator[UnitResult]:
    """Write the first units, as far as all clips of a unit have a result."""
    while unwritten and all((unwritten[0][0], clip.id) in batches.results for clip in unwritten[0][1].clips):
        number, task = unwritten.popleft()
        found = {clip.id: batches.results.pop((number, clip.id)) for clip in task.clips}
        yield write_unit(task, lambda clip, found=found: found[clip.id])  # type: ignore[misc]


def settle_on_gpu(spec: EmbedSpec) -> tuple[EmbedSpec, dict[str, Any]]:
    """On a GPU worker: the spec with this worker's device, and the fingerprint of the model there.

    The model stays loaded for the units that follow.
    """
    options = replace(spec.model.options, device=torch_device("gpu"))
    spec = replace(spec, model=replace(spec.model, options=options))
    return spec, spec.model.load().fingerprint()
