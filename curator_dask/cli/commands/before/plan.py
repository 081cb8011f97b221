"""``plan``: what a run of a given size needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curator_dask.cli.options.declare import option
from curator_dask.cli.options.run_options import Json
from curator_dask.cli.output.documents import print_document

Clips = Annotated[float, option("--clips", help="Number of clips, such as 1e8.")]
Dim = Annotated[int, option("--dim", help="Numbers per vector.")]
Hours = Annotated[float | None, option("--hours", help="Hours of video. Default: 10 s per clip.")]
Videos = Annotated[float | None, option("--videos", help="Number of videos. Default: one per hour of clips of 10 s.")]
NumClusters = Annotated[int | None, option("--n-clusters", help="Clusters of k-means. Default: as run chooses them.")]
Rule = Annotated[str, option("--rule", help="overlap (align decides) or pairwise (k-means and pairwise decide).")]
CrossCluster = Annotated[bool, option("--cross-cluster", help="Also look for duplicates between clusters.")]
ClipMbit = Annotated[float, option("--clip-mbit-s", help="Megabits per second of the clips.")]
ModelTflop = Annotated[
    float,
    option(
        "--model-tflop",
        help="10^12 operations of the embedding model per clip; InternVideo2: 2.3. Default: no network.",
    ),
]
Cores = Annotated[int, option("--cores", help="Cores of all workers together.")]
Gpus = Annotated[int, option("--gpus", help="GPUs of all workers together.")]
WithinHours = Annotated[
    float | None, option("--within-hours", help="Also say how many cores end it within these hours.")
]
RatesFile = Annotated[
    Path | None,
    option(
        "--rates",
        metavar="<file>",
        help="JSON file of rates, or what plan --json printed. Default: those of benchmarks/results.",
    ),
]
Probe = Annotated[bool, option("--probe", help="First measure this machine for a few seconds.")]


def plan(
    clips: Clips,
    dim: Dim = 512,
    hours: Hours = None,
    videos: Videos = None,
    n_clusters: NumClusters = None,
    rule: Rule = "pairwise",
    cross_cluster: CrossCluster = False,
    clip_mbit_s: ClipMbit = 4.0,
    model_tflop: ModelTflop = 0.0,
    cores: Cores = 2,
    gpus: Gpus = 0,
    within_hours: WithinHours = None,
    rates: RatesFile = None,
    probe: Probe = False,
    json: Json = False,
) -> None:
    """Estimate the time, disk, memory and GPUs of a run before there is one. It prints what it assumes, and runs nothing."""
    import curator_dask as cd
    from curator_dask.cli.output.plan_report import plan_document, plan_report

    if rule not in ("overlap", "pairwise"):
        raise cd.ParameterError(f"--rule ({rule}) must be overlap or pairwise")
    if rates and probe:
        raise cd.ParameterError("--rates and --probe exclude each other: give one of them")
    size = cd.RunSize(
        clips=clips,
        dim=dim,
        hours=hours,
        videos=videos,
        n_clusters=n_clusters,
        align=rule == "overlap",
        cross_cluster=cross_cluster,
        clip_mbit_s=clip_mbit_s,
        model_tflop=model_tflop,
        cores=cores,
        gpus=gpus,
    )
    chosen = cd.measure_rates() if probe else cd.read_rates(rates) if rates else cd.StageRates()
    found = cd.plan_run(size, chosen)
    if json:
        print_document(plan_document(found, within_hours))
    else:
        typer.echo(plan_report(found, within_hours))
