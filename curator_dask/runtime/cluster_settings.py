"""Where the work runs: local processes, local GPUs, or a scheduler that runs already."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.errors import ParameterError
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.device import DEVICES


@with_suggestions
@dataclass(frozen=True)
class ClusterSettings:
    """Where the work runs. No setting changes a result."""

    device: str = "auto"
    """``auto``, ``cpu`` or ``gpu``."""
    n_workers: int | None = None
    """Number of local worker processes. None: one per core, or one per GPU. On a GPU machine it is the number of GPUs."""
    scheduler_address: str | None = None
    """Address of a scheduler that runs already, such as ``tcp://host:8786``."""
    scheduler_file: str | None = None
    """Instead of its address: the file that ``dask scheduler --scheduler-file`` wrote."""
    dashboard: bool = True
    """Serve Dask's dashboard, on this machine only."""
    verbose: bool = False
    """Show the logs of Dask and its workers."""

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ParameterError(f"device ({self.device!r}) must be one of {', '.join(DEVICES)}")
        if self.n_workers is not None and (not isinstance(self.n_workers, int) or self.n_workers < 1):
            raise ParameterError(f"n_workers ({self.n_workers!r}) must be an integer >= 1")
        if self.scheduler_address and self.scheduler_file:
            raise ParameterError("give scheduler_address or scheduler_file, not both")
        if self.n_workers is not None and (self.scheduler_address or self.scheduler_file):
            raise ParameterError("n_workers is for a local cluster: a running scheduler has its own workers")
