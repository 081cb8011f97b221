"""Clips per second of internvideo2 while other threads decode, and the share of the time in which the model computes.

    python -m benchmarks.gpu.embed [--clips 512] [--device cuda] [--threads N]
    python -m benchmarks.gpu.embed --device cpu --small --clips 26      (a tiny network, to try the benchmark itself)

The network has its full size and random weights. First, sample videos are rendered and split into clips. Then one
process reads the clips as a worker of the embed stage does, again and again until there are enough, and writes their
vectors. Goal: the model computes during at least 90 % of the time.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.records import tell
from benchmarks.internvideo2 import SMALL, random_network
from curator_dask import EmbedStage, SplitStage
from curator_dask.models import register_model
from curator_dask.models.base import ModelOptions
from curator_dask.models.internvideo2.model import InternVideo2
from curator_dask.models.internvideo2.network import NetworkSizes
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed.clip_frames import threads_ahead
from curator_dask.stages.embed.spec import EmbedTask
from curator_dask.stages.embed.units import plan_units
from curator_dask.stages.embed.worker import embed_units
from curator_dask.video.samples import HEIGHT, WIDTH, render_samples

NAME = "internvideo2_random"
GOAL = 0.9


class Timed(InternVideo2):
    """Counts the seconds in which the model computes. `embed` returns vectors on the host, so the device has finished."""

    name = NAME
    seconds = 0.0

    def embed(self, clips: Sequence[Any]) -> list[Any]:
        start = time.perf_counter()
        vectors = super().embed(clips)
        self.seconds += time.perf_counter() - start
        return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, help="threads that read clips; default: as many as the stage uses")
    parser.add_argument("--small", action="store_true", help="a tiny network")
    options = parser.parse_args()
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    network = random_network(torch.device(options.device), dtype, SMALL if options.small else NetworkSizes())
    model = Timed(network, "random", ModelOptions(device=options.device))
    register_model(NAME, lambda _: model)
    with tempfile.TemporaryDirectory() as scratch:
        tasks = clips_to_embed(Path(scratch), options)
        wall_s, num_clips = run(tasks, model)
    threads = options.threads or threads_ahead(options.device)
    what = f"{num_clips} clips of 2 s, {WIDTH}x{HEIGHT}, {threads} threads that read"
    tell(what, num_clips / wall_s, "clips/s")
    tell(f"{what}: while the model computes", num_clips / model.seconds, "clips/s")
    goal = GOAL if options.device != "cpu" else None
    tell(f"{what}: share of the time in which the model computes", model.seconds / wall_s, at_least=goal)


def clips_to_embed(scratch: Path, options: argparse.Namespace) -> list[EmbedTask]:
    render_samples(scratch / "videos", length_s=4.0)
    split = SplitStage(str(scratch / "videos"), str(scratch / "clips"), fixed_stride_split_duration=2.0)
    with LazyCluster(ClusterSettings(device="cpu", dashboard=False)) as cluster:
        split.run(context=RunContext(cluster))
    stage = EmbedStage(
        str(scratch / "clips"), str(scratch / "vectors"), NAME, frames_from="clips", torch_device=options.device,
        decode_threads=options.threads,
    )  # fmt: skip
    tasks = [unit.task for unit in plan_units(stage.spec())]
    again = itertools.cycle(tasks)
    num_clips = 0
    chosen: list[EmbedTask] = []
    while num_clips < options.clips:
        task = next(again)
        chosen.append(replace(task, key=f"{task.key}-{len(chosen)}"))
        num_clips += len(task.clips)
    return chosen


def run(tasks: Sequence[EmbedTask], model: Timed) -> tuple[float, int]:
    """Seconds and number of clips, without the first task, during which a GPU chooses its kernels."""
    list(embed_units(tasks[:1]))
    model.seconds = 0.0
    start = time.perf_counter()
    records = list(embed_units(tasks))
    return time.perf_counter() - start, sum(record.counts["embeddings"] for record in records)


if __name__ == "__main__":
    main()
