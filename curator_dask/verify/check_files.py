"""Compare the files of an output with the records of its stages: sizes, then the content."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor

from curator_dask.errors import CuratorError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import BATCHES, FAILURES, LOCK, PARAMETERS, PUBLISHED, RUN_RECORD, STATE, SUMMARY, UNITS
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX
from curator_dask.verify.finding import CHANGED, DAMAGED, DOUBLED, EXTRA, MISSING, ORPHANED, Finding
from curator_dask.verify.recorded_files import FileRecords
from curator_dask.verify.stage_records import StageRecords

THREADS = 8
"""Files that are read at a time."""
FILES_AT_ONCE = 1_024
"""Files that are looked at together."""
_OF_STATE = frozenset({PARAMETERS, PUBLISHED, SUMMARY, FAILURES, LOCK})
_ENDINGS_OF_RECORDS = {UNITS: (".json",), BATCHES: (".jsonl",)}
_OF_RUN = (RUN_RECORD, FAILURES, "report", "overrides.csv", "previews/")
"""What the records of stages do not name: files of the run as a whole, and what people see and write."""


def damaged_records(stages: Sequence[StageRecords]) -> Iterator[Finding]:
    for stage in stages:
        for path, why in stage.damaged.items():
            yield Finding(stage.name, stage.prefix + path, DAMAGED, f"this record cannot be read: {why}")


def wrong_files(
    root: Folder, stages: Sequence[StageRecords], files: Iterable[FileRecords], *, quick: bool
) -> Iterator[Finding]:
    """All that is wrong with the files and with what the records say of them. Quick: their content is not read."""
    damaged = {stage.prefix + path for stage in stages for path in stage.damaged}
    files, hurt = iter(files), [stage for stage in stages if stage.damaged_texts]
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(itertools.islice(files, FILES_AT_ONCE)):
            wrong = [finding for file in some for finding in _wrong_sizes(stages, file)]
            yield from wrong
            if not quick:
                yield from _wrong_content(pool, root, stages, some, damaged | {finding.path for finding in wrong})
            for file in some:
                yield from _doubled(stages, file)
                yield from _unrecorded(stages, hurt, file)


def orphaned(stages: Sequence[StageRecords], files: Iterable[FileRecords]) -> Iterator[FileRecords]:
    """What stopped runs left."""
    hurt = [stage for stage in stages if stage.damaged_texts]
    return (file for file in files if any(one.kind == ORPHANED for one in _unrecorded(stages, hurt, file)))


def _wrong_sizes(stages: Sequence[StageRecords], file: FileRecords) -> Iterator[Finding]:
    """A recorded file that is not there, or has another size."""
    for one in file.recorded:
        stage = stages[one.stage]
        if file.path.removeprefix(stage.prefix) in stage.damaged:
            continue  # it is named already
        if file.num_bytes is None:
            yield Finding(stage.name, file.path, MISSING, "is missing", one.unit)
        elif one.num_bytes not in (file.num_bytes, -1):
            what = f"has {file.num_bytes} bytes, its record says {one.num_bytes}"
            yield Finding(stage.name, file.path, CHANGED, what, one.unit)


def _wrong_content(
    pool: Executor, root: Folder, stages: Sequence[StageRecords], files: Iterable[FileRecords], passed_over: Set[str]
) -> Iterator[Finding]:
    """Recorded files whose bytes have another hash. Those of `passed_over`, and those without a hash, are not read."""
    wanted = [
        (file.path, one) for file in files if file.path not in passed_over for one in file.recorded if one.content_hash
    ]
    faults = pool.map(lambda one: _fault_of(root, one[0], one[1].content_hash), wanted)
    for (path, one), what in zip(wanted, faults, strict=True):
        if what:
            yield Finding(stages[one.stage].name, path, CHANGED, what, one.unit)


def _fault_of(root: Folder, path: str, recorded: str) -> str:
    try:
        found = root.content_hash(path, like=recorded)
    except (OSError, CuratorError, ValueError) as error:
        return f"cannot be read: {error}"
    return "" if found == recorded else "its bytes are not those that were written"


def _doubled(stages: Sequence[StageRecords], file: FileRecords) -> Iterator[Finding]:
    """A file that two units name as theirs."""
    owners = [f"{stages[one.stage].name} {one.unit}" for one in file.recorded]
    for one, owner in zip(file.recorded, owners, strict=True):
        if owner != owners[0]:
            what = f"is named by {one.unit or 'the stage'} and by {owners[0]}"
            yield Finding(stages[one.stage].name, file.path, DOUBLED, what, one.unit)


def _unrecorded(stages: Sequence[StageRecords], hurt: Sequence[StageRecords], file: FileRecords) -> Iterator[Finding]:
    """A file that no record names, nor one of those that are damaged."""
    path = file.path
    if file.recorded or path.startswith(_OF_RUN) or _is_named_by_damaged(hurt, path):
        return
    if kind := _kind_of_unrecorded(path):
        what = "no record names it" if kind == EXTRA else "a run that was stopped left it"
        yield Finding(_stage_of(stages, path), path, kind, what)


def _is_named_by_damaged(stages: Sequence[StageRecords], path: str) -> bool:
    return any(
        stage.is_named_by_damaged(path.removeprefix(stage.prefix)) for stage in stages if path.startswith(stage.prefix)
    )


def _kind_of_unrecorded(path: str) -> str:
    """`EXTRA` or `ORPHANED`; "" for the own records of a stage."""
    _, found, after = f"/{path}".rpartition(f"/{STATE}/")
    if f"/{TEMPORARY_PREFIX}" in f"/{path}":
        return ORPHANED
    if not found:
        return EXTRA
    inside = after.split("/", 1)[-1]
    folder, _, name = inside.rpartition("/")
    return "" if inside in _OF_STATE or name.endswith(_ENDINGS_OF_RECORDS.get(folder, ())) else ORPHANED


def _stage_of(stages: Sequence[StageRecords], path: str) -> str:
    """The stage whose records lie around the path; else the innermost one whose folder holds it."""
    own = [stage for stage in stages if path.startswith(f"{stage.prefix}{stage.state.path()}/")]
    holders = own or [stage for stage in stages if stage.prefix and path.startswith(stage.prefix)]
    return max(holders, key=lambda stage: len(stage.prefix)).name if holders else ""
