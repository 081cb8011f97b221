"""``sample``: a balanced part of the kept clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from curator_dask.cli.options import paths
from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import DECIDING, INPUT
from curator_dask.cli.options.run_options import RunOptions, stage_command

option, input_option = options_in(DECIDING), options_in(INPUT)

Output = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of run.")]
Size = Annotated[int, option("--size", help="How many clips to choose, exactly.")]
Temperature = Annotated[
    float,
    option(
        "--temperature",
        help="Each cluster gets clips in proportion to its size to this power: 0 as many of each, 1 as in the whole.",
    ),
]
MaxPerCluster = Annotated[
    int | None, option("--max-per-cluster", help="The most clips of one cluster. Default: no limit.")
]
Seed = Annotated[int, option("--seed", help="Decides which clips of a cluster are chosen.")]
DuplicatesPath = Annotated[
    str | None, input_option("--duplicates-path", help="Output of identify. Default: OUT/duplicates.")
]
KMeansPath = Annotated[str | None, input_option("--kmeans-path", help="Output of kmeans. Default: OUT/kmeans.")]
OutputPath = Annotated[
    str | None, input_option("--output-path", help="Folder or URL to write to. Default: OUT/sample.")
]


@stage_command
def sample(
    ctx: typer.Context,
    *,
    path: Output,
    size: Size,
    temperature: Temperature = 0.0,
    max_per_cluster: MaxPerCluster = None,
    seed: Seed = 0,
    duplicates_path: DuplicatesPath = None,
    kmeans_path: KMeansPath = None,
    output_path: OutputPath = None,
    id_field: paths.IdField = "id",
    run_options: RunOptions,
) -> None:
    """Choose exactly N of the kept clips, balanced over their clusters.

    OUT/sample/keep.txt lists them, and export --keep-list follows it. Nothing is removed.
    """
    import curator_dask as cd
    from curator_dask.cli.output import terminal

    stage = cd.SampleStage(
        path, size, temperature, max_per_cluster, seed, duplicates_path, kmeans_path, output_path, id_field,
        storage_options=run_options.storage_options,
    )  # fmt: skip
    (result,) = terminal.run_stages([stage], run_options)
    found = result if isinstance(result, cd.SampleResult) else None
    histogram = found.histogram() if found else []
    listed = [] if run_options.dry_run else [f"next: curator-dask export --keep-list {stage.output.url}/keep.txt …"]
    terminal.show_results(
        [result],
        run_options,
        sentences=[*_lines(histogram), *listed],
        histogram=histogram,
        clusters=[asdict(one) for one in found.clusters] if found else [],
    )


def _lines(histogram: Iterable[Mapping[str, int]]) -> Iterable[str]:
    """The histogram as lines of text: clusters of a size, and their clips before and after."""
    bins = list(histogram)
    kept, sampled = (max(sum(one[name] for one in bins), 1) for name in ("kept", "sampled"))
    yield f"{'clips of a cluster':>20} {'clusters':>10} {'kept':>12} {'share':>7} {'sampled':>12} {'share':>7}"
    for one in bins:
        size = f"{one['clips_from']:,}" + (f" to {one['clips_to']:,}" if one["clips_to"] > one["clips_from"] else "")
        yield (
            f"{size:>20} {one['clusters']:>10,} {one['kept']:>12,} {one['kept'] / kept:>7.1%} {one['sampled']:>12,} "
            f"{one['sampled'] / sampled:>7.1%}"
        )
