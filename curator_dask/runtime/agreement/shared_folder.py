"""The same folder on all machines: a local path may mean another disk on another machine.

A worker that does not see the folder of the run would make one of its own and write into it, and the results would lie
where nobody looks. So it looks for the lock of the run before it works.
"""

from __future__ import annotations

import time

from curator_dask.errors import ClusterError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import LOCK, STATE
from curator_dask.runtime.lock.holder import Holder

LOOKS = 4
LOOK_AGAIN_S = 1.0
"""A network disk may show a new file some seconds later."""


def lock_token(folder: Folder, stage: str) -> str:
    """What tells the run that works on this stage in a local folder from all others; "" for URLs, and without a lock."""
    if not folder.is_local:
        return ""
    try:
        holder = Holder.from_bytes(folder.read_bytes(f"{STATE}/{stage}/{LOCK}"))
    except OSError:
        return ""
    return holder.token if holder else ""


def require_shared(folder: Folder, stage: str, token: str) -> None:
    """On a worker: raise ClusterError where the folder is not the one that holds the lock with this token."""
    for look in range(LOOKS):
        if not token or lock_token(folder, stage) == token:
            return
        if look + 1 < LOOKS:
            time.sleep(LOOK_AGAIN_S)
    raise ClusterError(
        f"a worker does not see the output folder {folder.url} of this run, or sees another one under that path: give a "
        "path on a disk that all machines share, or a URL such as s3://bucket/folder"
    )
