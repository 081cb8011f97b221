"""``calibrate``: find the thresholds that suit a model and one's own clips."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

import typer

from curator_dask.cli.options import embed, paths
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command
from curator_dask.cli.options.split import ModelDir
from curator_dask.errors import ParameterError


@stage_command
def calibrate(
    ctx: typer.Context,
    *,
    input_path: paths.ClipsToRead,
    output_path: paths.OutputPath,
    embedding_algorithm: embed.EmbeddingAlgorithm = "pdqf_tmk_nobars",
    model_dir: ModelDir = "./models",
    num_clips: embed.NumClips = 64,
    known_duplicates: embed.KnownDuplicates = None,
    frame_sampling: embed.FrameSampling = "uniform",
    dtype: embed.Dtype = "auto",
    torch_device: embed.TorchDevice = "auto",
    trust_remote_code: embed.TrustRemoteCode = False,
    model_settings: embed.ModelSettings = None,
    run_options: RunOptions,
) -> None:
    """Recommend the thresholds for your clips. It edits some, compares copies and other moments, and shows the numbers."""
    from curator_dask import CalibrateStage
    from curator_dask.cli.output import terminal
    from curator_dask.cli.output.calibration_report import calibration_report

    parameters = {**parameters_of(ctx, CalibrateStage), "known_duplicates": _read_groups(known_duplicates)}
    stage = CalibrateStage(**parameters, **run_options.folder_options)
    results = terminal.run_stages([stage], run_options)
    path = terminal.stage_failures_path(output_path, "calibrate")
    if run_options.dry_run:
        terminal.show_results(results, run_options, failures_path=path)
        return
    found = stage.calibration()
    said = [calibration_report(found)]
    terminal.show_results(results, run_options, failures_path=path, sentences=said, calibration=asdict(found))
    terminal.end_with_open(results, dry_run=run_options.dry_run)


def _read_groups(path: Path | None) -> tuple[tuple[str, ...], ...]:
    """The lines of a CSV file, each a group of file names relative to the folder of videos."""
    if path is None:
        return ()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # the reader finds the ends of lines, quoted ones too
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"--known-duplicates: cannot read {path}: {error}") from error
    return tuple(tuple(name.strip() for name in row if name.strip()) for row in rows if row)
