"""What a stage is, the context that it runs in, and its result."""

from __future__ import annotations

import contextlib
import html
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from curator_dask.errors import ParameterError
from curator_dask.files.folder import Folder
from curator_dask.files.left_out import LeftOut, describe_left_out
from curator_dask.files.object_store.asking_once import asking_once
from curator_dask.runtime.cluster import LazyCluster, current_cluster
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.runtime.progress import Reporter
from curator_dask.runtime.records import JSON, Failure
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, count_work
from curator_dask.stages.notebook_progress import CellReporter, default_reporter

if TYPE_CHECKING:
    from dask.dataframe import DataFrame
    from distributed import Client

    from curator_dask.data.beside_vectors.plain_clips import PlainClip


@dataclass
class RunContext:
    """Where and how stages run. Nothing in it changes a result."""

    cluster: LazyCluster = field(default_factory=current_cluster)
    reporter: Reporter = field(default_factory=default_reporter)
    """Who is told of the progress: by default the cell of a notebook, elsewhere nobody."""
    overwrite: bool = False
    """Replace a stage's own earlier results where their parameters differ."""
    retry_failed: bool = False
    """Also do again what failed for good, as a property of the bytes; open failures are tried again in any case."""
    dry_run: bool = False
    """Write and decode nothing; only count what there is to do."""
    locks: set[tuple[str, str]] = field(default_factory=set)
    """The output folders and stages that this run holds, so that it takes none of them twice."""

    def __post_init__(self) -> None:
        """The start of workers takes seconds, so a notebook shows it."""
        if isinstance(self.reporter, CellReporter) and self.cluster.on_start is None:
            self.cluster.on_start = self.reporter.say

    def again(self, state: StageState) -> set[str]:
        """The keys of units that are to be done again, although their results are there."""
        return state.units_with_failures() if self.retry_failed else set()

    @contextlib.contextmanager
    def holding(self, stages: Sequence[Stage]) -> Iterator[None]:
        """Keep other runs out of the stages' output folders during the block; a dry run needs no lock.

        Raises FolderLockedError if another run works in one of them.
        """
        named = [(stage.output, stage.name) for stage in stages]
        wanted = [] if self.dry_run else [(folder, name) for folder, name in named if folder is not None]
        with locked_stages(wanted, self.locks):
            yield


@dataclass(frozen=True)
class StageResult:
    """The result of a stage. Counts cover the whole output, including the part that earlier runs had done."""

    stage: str
    output: Folder
    """The folder that the stage wrote to."""
    counts: Mapping[str, int]
    failures: tuple[Failure, ...] = ()
    num_run: int = 0
    """Units that this run did."""
    num_skipped: int = 0
    """Units that an earlier run had done."""
    seconds: float = 0.0
    tables: tuple[str, ...] = ()
    """The Parquet files of the result, relative to the output folder."""
    left_out: LeftOut = field(default_factory=dict)
    """The files of the input that were not taken: reason → ending → number."""
    warnings: tuple[str, ...] = ()
    """What is allowed and may be not what was wanted, with what to do about it."""
    waits: bool = False
    """In a dry run: what there is to do is only known when an earlier stage is done."""
    plain: tuple[PlainClip, ...] = ()
    """Clips that are not broken and have no vector: see `EmbedStage`."""

    @property
    def output_path(self) -> str:
        return self.output.url

    @property
    def num_open(self) -> int:
        """Failures that say something of the machine and not of the data: a new run tries them again."""
        return sum(failure.is_open for failure in self.failures)

    @property
    def num_failed(self) -> int:
        """Failures that are a property of the data, and would come again."""
        return len(self.failures) - self.num_open

    @property
    def dataframe(self) -> DataFrame:
        """The result as a lazy Dask DataFrame, one partition per file, Arrow-backed (list vectors stay lists)."""
        from curator_dask.data.tables import lazy_frame

        return lazy_frame(self.output, self.tables)

    def __repr__(self) -> str:
        counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in self.counts.items() if value)
        return f"<{self.stage}: {counts} → {self.output.url}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td style='text-align:right'>{value:,}</td></tr>"
            for name, value in self.counts.items()
        )
        told = "".join(f"<br>{html.escape(line)}" for line in describe_left_out(self.left_out))
        return (
            f"<b>{html.escape(self.stage)}</b> → <code>{html.escape(self.output.url)}</code><table>{rows}</table>{told}"
        )


class Stage(ABC):
    """A frozen set of parameters and the work that they describe: one input, one output, many independent units."""

    name: ClassVar[str]
    workers: ClassVar[str] = "cpu"
    """Which workers it needs on a GPU machine: ``cpu``, ``torch`` or ``rapids``, see `LazyCluster.serve`."""

    replaceable: ClassVar[frozenset[str]] = frozenset()
    """Parts of the identity that only change decisions: results of others are replaced without being asked."""

    unrecorded: ClassVar[Mapping[str, JSON]] = {}
    """Parameters that the identity leaves out where they have these values: an earlier version did not have them."""

    @property
    def output(self) -> Folder | None:
        """The folder that the results go to. None: there is none to lock, and none that may hold other results."""
        return None

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """The parameters that determine the result, as JSON values. Another identity may not share the output folder."""

    @abstractmethod
    def execute(self, context: RunContext) -> StageResult:
        """Do the work in the given context."""

    def state(self) -> StageState | None:
        """What the stage has recorded in its output folder; None where it has none."""
        return None if self.output is None else StageState(self.output, self.name, self.unrecorded)

    def check_input(self) -> None:  # noqa: B027  most stages find it out soon enough by themselves
        """Refuse input that is not there, before anything is locked, loaded or started. Raises InputError and ToolError."""

    def check(self, context: RunContext) -> None:
        """Refuse the output folder as the run itself would, before any work; say which results would be replaced.

        Raises FolderInUseError if it holds results of other parameters, and InputError where it cannot be a folder.
        """
        state = self.state()
        if state is None:
            return
        state.folder.check_is_no_file()
        if context.overwrite or state.held_for() is None:
            return
        replaced = state.check(self.identity(), replaceable=self.replaceable)
        if replaced and context.dry_run:
            context.reporter.note(f"{self.name}: {replaced}: this would be made anew")

    def count_planned(self, units: Sequence[Unit[Any]], again: Collection[str] = ()) -> tuple[int, int]:
        """How many of the units a run would do, and how many it would find done; results of other parameters do not count."""
        state = self.state()
        if state is None or state.holds_others(self.identity()):
            return len(units), 0
        return count_work(state, units, again)

    def run(self, client: Client | None = None, *, context: RunContext | None = None) -> StageResult:
        """Run this stage alone: on `client`, on the context's cluster, on the active Dask client, or on local processes."""
        with run_context(client, context) as context:
            return run_timed(self, context)


@contextlib.contextmanager
def run_context(client: Client | None = None, context: RunContext | None = None) -> Iterator[RunContext]:
    """The given context; without one, a new context on `client`, on the active Dask client, or on local processes.

    Local processes are started at the first use and closed at the end of the block; the caller's own clients stay open.
    """
    if client is not None and context is not None:
        raise ParameterError("give a client or a context, not both")
    if context is not None:
        yield context
        return
    with LazyCluster.of(client) if client is not None else current_cluster() as cluster:
        yield RunContext(cluster)


def run_timed(stage: Stage, context: RunContext) -> StageResult:
    """Execute a stage on workers of its kind, and note the seconds that it took."""
    with asking_once():
        check_first(stage, context)
        context.cluster.serve(stage.workers)
        start = time.monotonic()
        with context.holding([stage]):
            result = stage.execute(context)
    return replace(result, seconds=time.monotonic() - start)


def check_first(stage: Stage, context: RunContext) -> None:
    """Refuse within a second what cannot work: input that is not there, and a cluster that cannot be had."""
    stage.check_input()
    if not context.dry_run:
        context.cluster.check()


def require_paths(stage: object, *names: str) -> None:
    """Raise ParameterError if one of these parameters of a stage is empty."""
    for name in names:
        if not getattr(stage, name):
            raise ParameterError(f"{name} is missing: give a folder or a URL")
