"""Whether a person changed the list of kept ids that identify wrote: their list then counts, and the parts do not."""

from __future__ import annotations

from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import hashes_of
from curator_dask.runtime.state import StageState


def list_was_edited(folder: Folder) -> bool:
    """Whether ``keep.txt`` of an output of identify is not as it was written. ``remove.txt`` decides nothing.

    A list that is not there was not edited, nor was one whose hash no stage recorded.
    """
    recorded = _recorded_hashes(folder).get(layout.KEEP_LIST)
    if recorded is None or not folder.exists(layout.KEEP_LIST):
        return False
    return folder.content_hash(layout.KEEP_LIST, recorded) != recorded


def _recorded_hashes(folder: Folder) -> dict[str, str]:
    """The hashes of the lists, from the stage that wrote them: identify, or an addition one folder above."""
    if own := hashes_of(StageState(folder, "identify").published()):
        return own
    above, _, name = folder.url.rstrip("/").rpartition("/")
    if not above or above.endswith("/"):
        return {}
    addition = hashes_of(StageState(Folder(above, folder.storage_options), "incremental").published())
    return {path.removeprefix(f"{name}/"): found for path, found in addition.items() if path.startswith(f"{name}/")}
