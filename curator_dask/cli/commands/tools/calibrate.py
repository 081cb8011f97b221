"""``calibrate``: the eps for a model on one's own clips."""

from __future__ import annotations

import csv
from pathlib import Path

import typer

from curator_dask.cli import options as o
from curator_dask.cli.calibration_report import lines
from curator_dask.errors import ParameterError


def calibrate(
    ctx: typer.Context,
    input_path: o.InputPath,
    output_path: o.StageOutputPath,
    embedding_algorithm: o.EmbeddingAlgorithm = "pdqf_tmk_nobars",
    model_dir: o.ModelDir = "./models",
    num_clips: o.NumClips = 64,
    known_duplicates: o.KnownDuplicates = None,
    frame_sampling: o.FrameSampling = "uniform",
    dtype: o.Dtype = "auto",
    torch_device: o.TorchDevice = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
    storage_option: o.StorageOption = None,
    dry_run: o.DryRun = False,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    n_workers: o.NWorkers = None,
    scheduler_address: o.SchedulerAddress = None,
    scheduler_file: o.SchedulerFile = None,
    verbose: o.Verbose = False,
    config: o.Config = None,
    print_config: o.PrintConfig = False,
) -> None:
    """Edit some of your clips, embed the copies, and recommend an eps with the numbers behind it."""
    o.print_config(ctx, print_config)
    from curator_dask import CalibrateStage
    from curator_dask.cli import terminal as face

    storage = o.storage_options(storage_option)
    parameters = {**o.parameters_of(ctx, CalibrateStage), "known_duplicates": _groups(known_duplicates)}
    stage = CalibrateStage(**parameters, input_storage_options=storage, output_storage_options=storage)
    with face.run_context(ctx) as context:
        result = stage.run(context=context)
    face.show_results([result])
    face.show_failures([result], f"{output_path}/.curator/calibrate/failures.jsonl")
    if not dry_run:
        typer.echo("\n".join(lines(stage.calibration())))


def _groups(path: Path | None) -> tuple[tuple[str, ...], ...]:
    """The lines of the file, each a group of file names as they stand in the folder of videos."""
    if path is None:
        return ()
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"--known-duplicates: cannot read {path}: {error}") from error
    return tuple(tuple(name.strip() for name in row if name.strip()) for row in rows if row)
