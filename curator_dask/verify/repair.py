"""Mark what is broken, so that the next run makes it anew and nothing else. No file of a user is removed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from curator_dask.files.layout import BATCHES, PARAMETERS, UNITS
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.verify.finding import REDONE, Finding
from curator_dask.verify.stage_records import StageRecords


def mark_broken(stages: Sequence[StageRecords], findings: Collection[Finding]) -> int:
    """Mark the units of missing and changed files as not done; returns how many things the next run makes anew.

    A unit whose marker is damaged loses it. Files of a stage as a whole need no mark: every run compares them.

    Raises FolderLockedError if a run works on one of the stages.
    """
    broken = [finding for finding in findings if finding.kind in REDONE]
    with locked_stages([(stage.state.folder, stage.name) for stage in stages], set()):
        for stage in stages:
            paths = {finding.path for finding in broken}
            for unit in sorted({unit for path, _, unit in stage.outputs() if unit and path in paths}):
                stage.state.mark_broken(unit)
            _drop_damaged_records(stage)
    return len({(finding.stage, finding.unit or finding.path) for finding in broken})


def _drop_damaged_records(stage: StageRecords) -> None:
    """Remove markers that cannot be read, and give up results whose parameters are lost."""
    for path in stage.damaged:
        if path == stage.state.path(PARAMETERS):
            stage.state.give_up_parameters()
        elif path.startswith(stage.state.path(UNITS, "")):
            stage.state.folder.remove(path)
        elif path.startswith(stage.state.path(BATCHES, "")):
            stage.state.drop_damaged()
