"""The size of a run that is to be planned."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from curator_dask.errors import ParameterError
from curator_dask.keywords import with_suggestions

CLIP_S = 10.0
"""Length of a clip by default."""


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class RunSize:
    """What goes into a run, and what it runs on."""

    clips: float
    """Number of clips."""
    dim: int = 512
    """Length of a vector."""
    hours: float | None = None
    """Hours of video; None: 10 s per clip."""
    n_clusters: int | None = None
    """Clusters of k-means; None: one per 1000 clips, at most 1000, as in `run`."""
    clip_mbit_s: float = 4.0
    """Megabits per second of the clips."""
    videos: float | None = None
    """Number of videos, each a unit; None: 360 clips (an hour) per video."""
    model_tflop: float = 0.0
    """10^12 operations of a network per clip, such as 2.3 for InternVideo2; 0: a model without weights."""
    cross_cluster: bool = False
    """Whether duplicates between clusters are looked for."""
    align: bool = True
    """Whether the rule ``overlap`` decides, which needs align; else similarity decides, which needs k-means and pairwise."""
    cores: int = 2
    """Cores of all workers together."""
    gpus: int = 0
    """GPUs of all workers together."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None or isinstance(value, bool):
                continue
            least = 0 if one.name in ("model_tflop", "gpus") else 1e-9
            if not (isinstance(value, int | float) and least <= value < math.inf):
                raise ParameterError(
                    f"{one.name} ({value!r}) must be a number {'of 0 or more' if not least else 'above 0'}"
                )

    @property
    def num_hours(self) -> float:
        return self.hours if self.hours is not None else self.clips * CLIP_S / 3600

    @property
    def num_videos(self) -> float:
        return self.videos if self.videos is not None else max(1.0, self.clips / 360)

    @property
    def num_clusters(self) -> int:
        return self.n_clusters or int(min(1000, max(1, self.clips // 1000)))

    @property
    def vectors_gb(self) -> float:
        """10^9 bytes of all vectors as float32."""
        return self.clips * self.dim * 4 / 1e9

    @property
    def clips_gb(self) -> float:
        return self.num_hours * 3600 * self.clip_mbit_s / 8 / 1000
