"""How fast the stages are, and how much room their files take: measured on one machine, or read from a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from curator_dask.errors import InputError, ParameterError
from curator_dask.keywords import with_suggestions

RETIRED: Final = ("identify_bytes_per_clip",)
"""Rates that earlier versions had and printed. They no longer count."""


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class StageRates:
    """Speeds per core and sizes per clip. The defaults were measured on two shared cores without a GPU (AMD Zen 3)."""

    origin: str = "benchmarks/results, two shared cores (x86-64, Zen 3), 28 November 2026"
    """Where the numbers are from."""
    split_core_s_per_hour: float = 1157.0
    """Core seconds to cut and encode an hour of 720p video with libopenh264 (transcode_2_cores.md)."""
    embed_core_s_per_hour: float = 188.0
    """Core seconds for the vectors and tracks of an hour of 720p video, with the default model (transcode_2_cores.md)."""
    align_core_s_per_clip: float = 0.0084
    """Core seconds of align per clip of 10 s; that of a million clips, the largest run (align_scale_2_cores.md)."""
    gflops_per_core: float = 65.0
    """Float32 products of rows and centroids, 10^9 operations per core and second (kmeans_2_cores.md)."""
    start_ns: float = 6.7
    """Nanoseconds of the client per number of a vector and pair of clusters, to choose the first centroids (measured up to
    4,000 clusters of 128 numbers, one thread)."""
    grouped_start_ns: float = 24.0
    """The same from 4,096 clusters on, per number of a vector and cluster to the power of 1.5 (measured for 4,096 and 8,192
    clusters of 128 numbers, one thread)."""
    pass_core_s_per_gb: float = 4.0
    """Core seconds to read and check, or to write, a GB of vectors once. With it k-means at 1,000,000 x 512 comes to 75 core
    seconds; it took 43 on a quiet machine whose processor has products of one-byte numbers (whole_dedup_2_cores.md)."""
    identify_core_s_per_clip: float = 10e-6
    """Core seconds to decide a clip by its score (6 to 7 µs, and 9 to 10 where duplicates between
    clusters are looked for: whole_dedup_2_cores.md)."""
    identify_overlap_core_s_per_clip: float = 20e-6
    """Core seconds to decide a clip by overlaps, without the listing of the rows (decisions_2_cores.md)."""
    cluster_core_s: float = 0.011
    """Core seconds that a cluster costs, however small it is (whole_dedup_2_cores.md)."""
    unit_client_s: float = 0.0014
    """Seconds of the client for one unit and its marker."""
    export_client_s_per_clip: float = 38e-6
    """Seconds of the client to list and plan a clip in export (100,000 clips with their files on a local disk: 3.7 s)."""
    copy_core_s_per_gb: float = 3.0
    """Core seconds to copy a GB of clips into shards with its hashes. Assumed, not measured."""
    identify_bytes_per_crossing_clip: float = 1100.0
    """Memory of one worker in identify by scores, per clip with a duplicate in another cluster (decisions_2_cores.md)."""
    crossing_share: float = 0.02
    """The share of such clips, where duplicates between clusters are looked for. Assumed, not measured."""
    split_unit_bytes: float = 830.0
    """Memory of the client per video, in split (clip_index_2_cores.md)."""
    embed_unit_bytes: float = 660.0
    """Memory of the client per unit of embed, which has up to 32 clips of a video (clip_index_2_cores.md)."""
    index_bytes_per_clip: float = 10.0
    """Memory of the client per clip in export: a row of 65 bytes per video where there are several splits, and its shards."""
    track_bytes_per_s: float = 143.0
    """Bytes of a track per second of video (embed_2_cores.md)."""
    table_bytes_per_clip: float = 100.0
    """Bytes of the tables of scores and decisions per clip. Assumed, not measured."""
    gpu_tflops: float = 20.0
    """Float32 products of a GPU, 10^12 operations per second. **Assumed: no GPU has run this package yet.**"""
    gpu_model_tflops: float = 200.0
    """Bfloat16 operations of a network on a GPU, 10^12 per second. Assumed like `gpu_tflops`."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "origin" and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise ParameterError(f"rate {one.name} ({value!r}) must be a number above 0")

    def with_some(self, found: Mapping[str, Any]) -> StageRates:
        """These rates with some replaced. Raises ParameterError for a name that is no rate."""
        known = [one.name for one in fields(self)]
        odd = sorted(set(found) - set(known))
        if odd:
            raise ParameterError(f"no rates are called {', '.join(odd)}: rates are {', '.join(known)}")
        return replace(self, **found)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_rates(path: Path) -> StageRates:
    """The rates in a JSON file: an object of rates, or what ``plan --json`` printed; those it lacks are the shipped ones.

    Raises InputError for a file that cannot be read or is no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read rates from {path}: {error}") from error
    found = document.get("rates", document) if isinstance(document, dict) else None
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if name not in RETIRED}
    if not isinstance(found, dict):
        raise InputError(f'{path} holds no rates: it must be a JSON object such as {{"gflops_per_core": 80}}')
    return StageRates(origin=str(path)).with_some(found)
