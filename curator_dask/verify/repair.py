"""Mark what is broken, so that the next run makes it anew and nothing else. No file of a user is removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set

from curator_dask.files.layout import BATCHES, PARAMETERS, UNITS
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.verify.finding import REDONE, Finding
from curator_dask.verify.recorded_files import FileRecords, UnitKey
from curator_dask.verify.stage_records import StageRecords


def mark_broken(stages: Sequence[StageRecords], files: Iterable[FileRecords], findings: Collection[Finding]) -> int:
    """Mark the units of missing and changed files as not done; returns how many things the next run makes anew.

    A unit whose marker is damaged loses it. Files of a stage as a whole need no mark: every run compares them.

    Raises FolderLockedError if a run works on one of the stages.
    """
    broken = [finding for finding in findings if finding.kind in REDONE]
    with locked_stages([(stage.state.folder, stage.name) for stage in stages], set()):
        units = _units_of({finding.path for finding in broken}, files)
        for stage in stages:
            for unit in sorted(unit for number, unit in units if number == stage.number):
                stage.state.mark_broken(unit)
            _drop_damaged_records(stage)
    return len({(finding.stage, finding.unit or finding.path) for finding in broken})


def _units_of(paths: Set[str], files: Iterable[FileRecords]) -> set[UnitKey]:
    """Number of the stage, and key, of all units that name one of these paths as theirs."""
    return {unit for file in files if file.path in paths for unit in file.units()}


def _drop_damaged_records(stage: StageRecords) -> None:
    """Remove markers that cannot be read, and give up results whose parameters are lost."""
    for path in stage.damaged:
        if path == stage.state.path(PARAMETERS):
            stage.state.give_up_parameters()
        elif path.startswith(stage.state.path(UNITS, "")):
            stage.state.folder.remove(path)
        elif path.startswith(stage.state.path(BATCHES, "")):
            stage.state.drop_damaged()
