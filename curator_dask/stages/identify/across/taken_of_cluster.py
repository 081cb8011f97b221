"""The taken rows of one cluster: where a worker finds them that decides on the cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.buckets.shared import shared_batches
from curator_dask.files.folder import Folder


@dataclass(frozen=True)
class TakenOfCluster:
    """The rows of a cluster that kept rows of other clusters remove, in a bucket of a file that `TakenRows.write` wrote."""

    folder: Folder
    path: str
    bucket: int

    def places(self) -> NDArray[np.int64]:
        """Their places in the ranking."""
        [batch] = shared_batches(self.folder, [self.path], self.bucket)
        found: NDArray[np.int64] = batch["place"].to_numpy()
        return found
