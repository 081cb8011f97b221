"""Read an output again, whole, and compare it with its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curator_dask.errors import InputError
from curator_dask.files.buckets.meeting import folder_for_buckets
from curator_dask.files.folder import Folder
from curator_dask.files.layout import STATE
from curator_dask.verify.check_counts import wrong_counts
from curator_dask.verify.check_files import damaged_records, wrong_files
from curator_dask.verify.finding import Finding
from curator_dask.verify.recorded_files import RecordedFiles
from curator_dask.verify.repair import mark_broken
from curator_dask.verify.stage_records import recorded_stages


@dataclass(frozen=True)
class OutputCheck:
    """What a check of an output found."""

    findings: tuple[Finding, ...]
    """By stage and path."""
    num_stages: int
    num_files: int
    num_bytes: int
    num_without_hash: int
    """Files whose records an earlier version wrote: only their sizes were compared."""
    num_marked: int
    """How many units and files the next run makes anew, where that was asked for."""

    def by_stage(self) -> dict[str, int]:
        """Stage → number of findings; "" for files of no stage."""
        return dict(sorted(Counter(finding.stage for finding in self.findings).items()))


def verify_output(
    path: str,
    *,
    quick: bool = False,
    repair: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> OutputCheck:
    """Compare every file of every stage below `path` with the records that the stages left there.

    Finds what is missing, changed, named twice, named by no record, or left by a stopped run, and counts that do not add up.

    Args:
        path: the output of a run, of one stage or of several: a folder or a URL.
        quick: compare sizes only, and read no file but the records.
        repair: mark what is missing or changed as not done, so that the same command as before makes exactly that anew. No
            file is removed.
        storage_options: fsspec options for `path`.

    Raises:
        InputError: no stage has left its records there.
        FolderLockedError: with `repair`, while a run works there.
    """
    root = Folder(path, dict(storage_options or {}))
    with folder_for_buckets() as scratch:
        files = RecordedFiles(scratch)
        stages = recorded_stages(root, files)
        if not stages:
            raise InputError(f"{path} holds no records of a stage ({STATE}): give the output folder of a run")
        findings = {*damaged_records(stages), *wrong_files(root, stages, files, quick=quick)}
        findings |= set(wrong_counts(root, stages, scratch))
        marked = mark_broken(stages, files, findings) if repair else 0
    return OutputCheck(
        tuple(sorted(findings)),
        len(stages),
        files.num_files,
        files.num_bytes,
        0 if quick else files.num_without_hash,
        marked,
    )


def has_records(path: str, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Whether a stage has left its records in this folder or in one directly below it."""
    root = Folder(path, dict(storage_options or {}))
    return any(
        entry.path.startswith(f"{STATE}/") or f"/{STATE}/" in entry.path for entry in root.each_entry(hidden=True)
    )
