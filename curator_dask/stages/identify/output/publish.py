"""Write the tables and lists of all clips from the pieces of the parts; or remove them where there are too many clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from curator_dask.files.content_hash import Written, hash_of
from curator_dask.files.folder import Folder
from curator_dask.files.layout import (
    DUPLICATES_CSV,
    DUPLICATES_TABLE,
    GROUPS_TABLE,
    KEEP_LIST,
    REMOVE_LIST,
    SINGLE_FILE_ROWS,
)
from curator_dask.runtime.published import write_if_changed
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.output.pieces import CutTask, Pieces, cut_pieces, read_pieces
from curator_dask.stages.identify.output.single_files import file_of
from curator_dask.stages.workplace import Workplace, workplace

SINGLE_FILES: Final = (KEEP_LIST, GROUPS_TABLE, DUPLICATES_TABLE, DUPLICATES_CSV, REMOVE_LIST)
"""Those that take longest to make come first."""


def names_of_files(num_rows: int, *, with_groups: bool = True) -> tuple[str, ...]:
    """The tables and lists of all clips that there are for so many rows."""
    if num_rows > SINGLE_FILE_ROWS:
        return ()
    return tuple(name for name in SINGLE_FILES if with_groups or name != GROUPS_TABLE)


def pieces_of_part(place: Workplace, number: int, names: tuple[str, ...]) -> Pieces | None:
    """Where the pieces of a part lie; None where there is nothing to be made of them."""
    return Pieces(place.folder, place.path("pieces", number), names) if names else None


def publish_single_files(
    place: Workplace, state: StageState, parts: Sequence[str], names: tuple[str, ...], below: str = ""
) -> None:
    """Write these files, from the pieces of all parts; or remove all such files where there are no `names`.

    Pieces that nobody cut when their part was made are cut from it now.

    Args:
        parts: paths of the parts.
        below: a prefix of the paths of the files.
    """
    if not names:
        for name in SINGLE_FILES:
            _unpublish(state, below + name)
        return
    pieces = [one for number in range(len(parts)) if (one := pieces_of_part(place, number, names))]
    cut = [CutTask(state.folder, *pair) for pair in zip(parts, pieces, strict=True)]
    place.each(cut_pieces, [one for one in cut if not place.folder.exists(one.pieces.path)])
    tasks = [FileTask(state.folder, below + name, name, tuple(pieces)) for name in names]
    state.note(dict.fromkeys({task.path for task in tasks} - state.published().keys(), -1))
    written = place.each(write_single_file, tasks)
    state.note({task.path: size for task, size in zip(tasks, written, strict=True)})


def publish_again(context: RunContext, state: StageState, parts: Sequence[str], num_rows: int) -> None:
    """Write these files in this process, where an earlier run wrote the parts; those that would not change are left alone."""
    with workplace(context, state, here=True) as place:
        publish_single_files(place, state, parts, names_of_files(num_rows))


def _unpublish(state: StageState, path: str) -> None:
    """Remove a file, if it is one of the stage."""
    if path in state.published():
        state.unpublish(path)


@dataclass(frozen=True)
class FileTask:
    """Write one of the files."""

    output: Folder
    path: str
    name: str
    pieces: tuple[Pieces, ...]
    """Of all parts."""


def write_single_file(task: FileTask) -> int:
    """Write the file, unless it would not change; returns its size, as `Written` with its hash."""
    data = file_of(task.name, read_pieces(task.pieces, task.name))
    write_if_changed(task.output, task.path, data)
    return Written(len(data), hash_of(data))
