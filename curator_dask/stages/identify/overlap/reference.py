"""Clips that stay as they are: what they show is removed from the clips to decide on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curator_dask.data.clip_index import has_clip_index
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    pass


def reference_numbers(overlaps: Folder, against: Sequence[Folder]) -> list[int]:
    """The number of each output among the references that align took, by its path; where paths have changed, by their order.

    Raises InputError if an output has no clip index, or align did not see it.

    Args:
        overlaps: the output of the align stage.
        against: other outputs.
    """
    for folder in against:
        require_index(folder)
    recorded: object = StageState(overlaps, "align").parameter("reference_path")
    roots = [str(root) for root in (recorded if isinstance(recorded, list) else [recorded]) if root]
    found = [_number(roots, folder) for folder in against]
    if all(found):
        return found
    if not roots or len(roots) == len(against):
        return list(range(1, len(against) + 1))
    unknown = against[found.index(0)]
    raise InputError(f"align did not compare with {unknown.url}: give it to align as reference_path too")


def _number(roots: Sequence[str], folder: Folder) -> int:
    """The number of the reference that is an output, or is its folder of vectors; 0 for none."""
    here = [number for number, root in enumerate(roots, 1) if f"{root}/".startswith(f"{folder.root}/")]
    return here[0] if here else 0


def require_index(folder: Folder) -> None:
    """Raise InputError if another output has no clip index."""
    if not has_clip_index(folder):
        raise InputError(f"{folder.url} holds no {CLIP_INDEX}: give the output of another run as against_path")
