"""The files that an ``input_path`` names: those of a folder, one file, or a list of files of one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curator_dask.data.tables import data_files
from curator_dask.errors import InputError, ParameterError
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder


@dataclass(frozen=True)
class VectorFiles:
    """The files of vectors that a stage reads."""

    folder: Folder
    """The folder that the files lie in."""
    filetype: str
    names: frozenset[str] | None
    """The names of the chosen files; None: all files of the folder."""
    endings: tuple[str, ...] = ()
    """The endings of the files to read, in lower case; empty: those that files of this type usually have."""

    @staticmethod
    def of(
        input_path: str | Sequence[str],
        filetype: str,
        open_folder: Callable[[str], Folder],
        endings: Sequence[str] | None = None,
    ) -> VectorFiles:
        """The files of a stage's ``input_path``. Raises ParameterError if the files of a list lie in different folders."""
        if isinstance(input_path, str):
            folder = open_folder(input_path)
            if not folder.is_file():
                return VectorFiles(folder, filetype, None, lower_endings(endings))
            input_path = [input_path]
        names = frozenset(path.rpartition("/")[2] for path in input_path)
        return VectorFiles(open_folder(_common_folder(input_path)), filetype, names, lower_endings(endings))

    def entries(self) -> list[Entry]:
        """The files in path order. Raises InputError if there are none, or a named one is missing."""
        found = data_files(self.folder, self.filetype, self.endings)
        if self.names is None:
            return found
        missing = sorted(self.names - {entry.path for entry in found})
        if missing:
            raise InputError(f"input_path: {self.folder.url} holds no {self.filetype} file {missing[0]!r}")
        return [entry for entry in found if entry.path in self.names]


def lower_endings(endings: Sequence[str] | None) -> tuple[str, ...]:
    """``.pq`` for ``.PQ`` and ``pq``. Raises ParameterError unless it is a list of endings."""
    if isinstance(endings, str):
        raise ParameterError(f"input_file_extensions ({endings!r}) must be a list, such as ['.parquet']")
    for ending in endings or ():
        if not (isinstance(ending, str) and ending.strip(".")):
            raise ParameterError(
                f"input_file_extensions ({ending!r}) must be endings of file names, such as '.parquet'"
            )
    return tuple("." + ending.lower().removeprefix(".") for ending in endings or ())


def _common_folder(paths: Sequence[str]) -> str:
    parents = {str(path).rpartition("/")[0] for path in paths}
    if len(parents) != 1:
        raise ParameterError(f"input_path: the files of a list must lie in one folder, not in {sorted(parents)}")
    return parents.pop() or "."
