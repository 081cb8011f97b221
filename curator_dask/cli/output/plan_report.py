"""A plan in words, and as a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from curator_dask.planning.estimate import ITERATIONS, SAMPLE_ITERATIONS, RunPlan, StageEstimate
from curator_dask.planning.one_byte import share_left

LARGE_CLIENT_GB = 64.0
"""More memory than this for one process is worth a warning."""

HEADINGS = (
    "stage",
    "core hours",
    "client hours",
    "GPU hours",
    "all, hours",
    "disk GB",
    "meanwhile GB",
    "client GB",
    "worker GB",
)


def plan_report(plan: RunPlan, within_hours: float | None) -> str:
    """The table of stages, the totals, warnings, and what all of it assumes."""
    rows = [HEADINGS, *(_row(plan, one) for one in plan.stages)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    table = ["  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                       for at, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]  # fmt: skip
    parts = [_size(plan), *table, "", *_totals(plan, within_hours), *warnings_of(plan), "", "It assumes:"]
    return "\n".join([*parts, *(f"* {one}" for one in assumptions_of(plan))])


def plan_document(plan: RunPlan, within_hours: float | None) -> dict[str, Any]:
    """The same numbers, with the rates: the document can be given to ``--rates``."""
    return {
        "size": asdict(plan.size),
        "stages": [
            {**asdict(one), "wall_hours": one.wall_hours(plan.size.cores, plan.size.gpus)} for one in plan.stages
        ],
        "wall_hours": plan.wall_hours,
        "disk_gb": plan.disk_gb,
        "cores_needed": None if within_hours is None else plan.cores_for(within_hours),
        "warnings": warnings_of(plan),
        "assumptions": assumptions_of(plan),
        "rates": plan.rates.to_dict(),
    }


def _size(plan: RunPlan) -> str:
    size = plan.size
    return (
        f"{size.clips:,.0f} clips from {size.num_hours:,.0f} hours in {size.num_videos:,.0f} videos; vectors of {size.dim}; "
        f"{size.num_clusters:,} clusters; {size.cores:,} cores, {size.gpus:,} GPUs\n"
    )


def _row(plan: RunPlan, one: StageEstimate) -> tuple[str, ...]:
    numbers = (one.core_hours, one.client_hours, one.gpu_hours, one.wall_hours(plan.size.cores, plan.size.gpus),
               one.disk_gb, one.temporary_gb, one.client_gb, one.worker_gb)  # fmt: skip
    return (one.stage, *("-" if number is None else figure(number) for number in numbers))


def figure(number: float) -> str:
    """Two digits that count.

    >>> figure(0), figure(0.01234), figure(4.56), figure(123.4), figure(98765.4)
    ('0', '0.012', '4.6', '123', '98,765')
    """
    if number == 0:
        return "0"
    return f"{number:.2g}" if number < 10 else f"{number:,.0f}"


def _totals(plan: RunPlan, within_hours: float | None) -> list[str]:
    lines = [
        f"In all {figure(plan.wall_hours)} hours, and at most {figure(plan.disk_gb)} GB of disk beside the videos."
    ]
    if within_hours is not None:
        cores = plan.cores_for(within_hours)
        lines.append(
            f"{cores:,} cores without GPUs end it within {within_hours:g} hours."
            if cores is not None
            else f"No number of cores ends it within {within_hours:g} hours: the client alone takes longer."
        )
    return lines


def warnings_of(plan: RunPlan) -> list[str]:
    """What would make the run fail or take far longer than it needs."""
    found = []
    large = [one for one in plan.stages if one.client_gb > LARGE_CLIENT_GB]
    if large:
        names = ", ".join(f"{one.stage} ({figure(one.client_gb)} GB)" for one in large)
        found.append(
            f"Warning: one process holds all clips in {names}. Cut the videos into several runs, and use --against or dedup-new."
        )
    best = plan.balanced_clusters()
    if not plan.size.align and plan.size.clips > 4e6 and plan.size.num_clusters < best / 2:
        found.append(
            f"Warning: {plan.size.num_clusters:,} clusters are few for so many clips. About {best:,} (--n-clusters) balance the "
            "time of k-means and pairwise."
        )
    return found


def assumptions_of(plan: RunPlan) -> list[str]:
    """In sentences; the rates follow by name."""
    said = [
        "all cores and GPUs are busy all the time, and disks and network keep up with them: nothing of this is measured here",
        "clusters are equally large; uneven ones take longer in pairwise",
        f"k-means ends after {SAMPLE_ITERATIONS} iterations over its sample of rows, {ITERATIONS} over all rows",
        "clips last 10 s unless the hours say otherwise; encoding is that of 720p video",
        f"rates: {plan.rates.origin}",
        *(f"{name} {value:g}" for name, value in plan.rates.to_dict().items() if name != "origin"),
    ]
    if not plan.size.align and (share := share_left(plan.size)) < 1:
        said.insert(
            2,
            f"pairwise takes {share:g} of the time of its products on CPUs: in clusters of so many clips, products of one-byte "
            "numbers leave most pairs out. Measured with 512 numbers per vector and up to 50,000 clips per cluster",
        )
    if plan.size.gpus or plan.size.model_tflop:
        said.insert(0, "the speed of GPUs is a guess: this package has not been measured on one")
    return said
