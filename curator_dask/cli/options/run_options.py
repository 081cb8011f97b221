"""The options of every command that runs a stage: file system, workers, dry run, config file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from curator_dask.cli.options.config_file import Config, PrintConfig, print_config
from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.groups import expand_groups
from curator_dask.cli.options.panels import CLUSTER, GENERAL, INPUT
from curator_dask.errors import ParameterError

cluster_option = options_in(CLUSTER)
general_option = options_in(GENERAL)

StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        rich_help_panel=INPUT,
        metavar="<str>",
        help="KEY=VALUE for the file system of URLs, such as endpoint_url=…; may be repeated.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=GENERAL, help="Print the plan; write, decode and encode nothing.")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", rich_help_panel=GENERAL, help="Replace results of other parameters in the output folder."
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed",
        rich_help_panel=GENERAL,
        help="Also do again what failed for good. What failed because of the machine is tried again in any case.",
    ),
]
Device = Annotated[
    str,
    cluster_option(
        "--device",
        values=("auto", "cpu", "gpu"),
        help="Where clusters and similarities are computed.",
    ),
]
NWorkers = Annotated[
    int | None,
    cluster_option(
        "--n-workers",
        help="Number of local worker processes. Default: one per core, or one per GPU.",
    ),
]
SchedulerAddress = Annotated[
    str | None,
    cluster_option(
        "--scheduler-address",
        help="Address of a running Dask scheduler, such as tcp://host:8786.",
    ),
]
SchedulerFile = Annotated[
    str | None,
    cluster_option("--scheduler-file", help="The scheduler file of a running Dask cluster."),
]
Json = Annotated[
    bool,
    general_option("--json", help="Print the results as one JSON document; nothing else goes to stdout."),
]
Quiet = Annotated[bool, general_option("--quiet", help="Show errors, warnings and failures only.")]
Verbose = Annotated[bool, general_option("--verbose", help="Show the log of Dask and its workers.")]


@dataclass(frozen=True)
class RunOptions:
    """How and where a command runs. Nothing in it changes a result."""

    storage_option: StorageOption = None
    dry_run: DryRun = False
    overwrite: Overwrite = False
    retry_failed: RetryFailed = False
    device: Device = "auto"
    n_workers: NWorkers = None
    scheduler_address: SchedulerAddress = None
    scheduler_file: SchedulerFile = None
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False
    config: Config = None
    print_config: PrintConfig = False

    @property
    def storage_options(self) -> dict[str, Any]:
        """The fsspec options that --storage-option gives."""
        return parse_storage_options(self.storage_option or [])

    @property
    def folder_options(self) -> dict[str, Any]:
        """The fsspec options, as stages that read and write clips take them."""
        return {"input_storage_options": self.storage_options, "output_storage_options": self.storage_options}

    @property
    def table_options(self) -> dict[str, Any]:
        """The fsspec options, as stages that read and write tables take them."""
        options = {"storage_options": self.storage_options}
        return {"read_kwargs": options, "write_kwargs": options}


def stage_command(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `ctx` and `run_options: RunOptions`. --print-config is answered before it starts."""

    @wraps(command)
    def answer(ctx: typer.Context, *, run_options: RunOptions, **values: Any) -> None:
        if run_options.print_config:
            print_config(ctx)
        command(ctx, run_options=run_options, **values)

    return expand_groups(answer)


def parse_storage_options(pairs: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as a mapping; ``client_kwargs.endpoint_url=…`` makes a nested one."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ParameterError(f"--storage-option {pair!r} is not KEY=VALUE")
        target = options
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = {"true": True, "false": False}.get(value.lower(), value)
    return options
