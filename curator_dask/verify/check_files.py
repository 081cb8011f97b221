"""Compare the files of an output with the records of its stages: sizes, then the content."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from curator_dask.errors import CuratorError
from curator_dask.files.folder import TEMPORARY_PREFIX, Folder, Written
from curator_dask.files.layout import BATCHES, FAILURES, LOCK, PARAMETERS, PUBLISHED, RUN_RECORD, STATE, SUMMARY, UNITS
from curator_dask.verify.finding import CHANGED, DAMAGED, DOUBLED, EXTRA, MISSING, ORPHANED, Finding
from curator_dask.verify.stage_records import StageRecords

THREADS = 8
"""Files that are read at a time."""
_OF_STATE = frozenset({PARAMETERS, PUBLISHED, SUMMARY, FAILURES, LOCK})
_ENDINGS_OF_RECORDS = {UNITS: (".json",), BATCHES: (".jsonl",)}
_OF_RUN = (RUN_RECORD, FAILURES, "report", "overrides.csv", "previews/")
"""What the records of stages do not name: files of the run as a whole, and what people see and write."""


def damaged_records(stages: Sequence[StageRecords]) -> Iterator[Finding]:
    for stage in stages:
        for path, why in stage.damaged.items():
            yield Finding(stage.name, stage.prefix + path, DAMAGED, f"this record cannot be read: {why}")


def wrong_sizes(stages: Sequence[StageRecords], sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Recorded files that are not there, or have another size."""
    for stage in stages:
        for path, size, unit in stage.outputs():
            found = sizes.get(path)
            if path.removeprefix(stage.prefix) in stage.damaged:
                continue  # it is named already
            if found is None:
                yield Finding(stage.name, path, MISSING, "is missing", unit)
            elif size not in (found, -1):
                what = f"has {found} bytes, its record says {int(size)}"
                yield Finding(stage.name, path, CHANGED, what, unit)


def wrong_content(root: Folder, stages: Sequence[StageRecords], passed_over: Collection[str]) -> Iterator[Finding]:
    """Recorded files whose bytes have another hash. Those of `passed_over`, and those without a hash, are not read."""
    wanted = [
        (stage.name, path, size.content_hash, unit)
        for stage in stages
        for path, size, unit in stage.outputs()
        if isinstance(size, Written) and size.content_hash and path not in passed_over
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        faults = pool.map(lambda one: _fault_of(root, one[1], one[2]), wanted)
        for (stage, path, _, unit), what in zip(wanted, faults, strict=True):
            if what:
                yield Finding(stage, path, CHANGED, what, unit)


def _fault_of(root: Folder, path: str, recorded: str) -> str:
    try:
        found = root.content_hash(path, like=recorded)
    except (OSError, CuratorError, ValueError) as error:
        return f"cannot be read: {error}"
    return "" if found == recorded else "its bytes are not those that were written"


def without_hash(stages: Iterable[StageRecords]) -> int:
    """How many recorded files have no hash, as an earlier version wrote the record."""
    return sum(1 for stage in stages for _, size, _ in stage.outputs() if not getattr(size, "content_hash", ""))


def doubled(stages: Sequence[StageRecords]) -> Iterator[Finding]:
    """Files that two units name as theirs."""
    owners: dict[str, str] = {}
    for stage in stages:
        for path, _, unit in stage.outputs():
            owner = owners.setdefault(path, f"{stage.name} {unit}")
            if owner != f"{stage.name} {unit}":
                yield Finding(stage.name, path, DOUBLED, f"is named by {unit or 'the stage'} and by {owner}", unit)


def unrecorded(stages: Sequence[StageRecords], paths: Iterable[str]) -> Iterator[Finding]:
    """Files that no record names."""
    known = {path for stage in stages for path, _, _ in stage.outputs()}
    hurt = [stage for stage in stages if stage.damaged_texts]
    for path in paths:
        if path in known or path.startswith(_OF_RUN) or _is_named_by_damaged(hurt, path):
            continue
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
    """The stage whose folder holds the path; the innermost one."""
    holders = [stage for stage in stages if stage.prefix and path.startswith(stage.prefix)]
    return max(holders, key=lambda stage: len(stage.prefix)).name if holders else ""
