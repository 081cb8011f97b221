"""The names of all folders and files of an output.

The folders of the original workflow keep their names. What this package adds for its own use is hidden below ``.curator``::

    OUT/
      clips/{clip id}.mp4              metas/v0/{clip id}.json          previews/{clip id}.webp
      processed_videos/{path}.json     processed_clip_chunks/{path}_{i}.json
      clip_index/part-000000.parquet   one row per clip, failed ones included; part-000001.parquet and so on
      clips.parquet                    the same rows in one file, up to a million
      {model}_embd_parquet/*.parquet   vectors; _fingerprint.json, _plain.parquet, _quality.parquet,
                                       _tracks/*.parquet
      kmeans/centroid={k}/*.parquet    kmeans/_kmeans_centroids.npy     kmeans/_rejects.parquet
      pairwise/cluster_{k}.parquet
      overlaps/                        overlaps.parquet, clips.parquet
      duplicates/                      decisions/part-{n}.parquet, one row per clip; up to a million clips also
                                       duplicates.parquet, duplicates.csv, groups.parquet, keep.txt, remove.txt
                                       scores/cluster_{k}.parquet if a scope excludes some pairs
      sample/                          keep.txt, sample.parquet, clusters.json
      dataset/                         {split}/*.tar with manifest.json and README.md, or index.parquet
      run.json  failures.jsonl         .curator/{stage}/
      report/                          index.html, report.json, data/*.js where one file would be too large
      calibration.json                 in the output folder of calibrate
"""

from __future__ import annotations

import hashlib

from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX
from curator_dask.files.names import name_bytes, printable

KMEANS = "kmeans"
PAIRWISE = "pairwise"
CROSS_CLUSTER = "cross_cluster"
OVERLAPS = "overlaps"
DUPLICATES = "duplicates"
DATASET = "dataset"
SAMPLE = "sample"

CLIP_INDEX = "clips.parquet"
"""The clip index as one file; only up to `SINGLE_FILE_ROWS` rows."""
CLIP_INDEX_PARTS = "clip_index"
"""The folder of the clip index in parts."""
FAILURES = "failures.jsonl"
RUN_RECORD = "run.json"

FINGERPRINT = "_fingerprint.json"
TRACKS = "_tracks"
"""Beside the files of vectors. The underscore hides it from readers of data sets."""

CENTROIDS = "_kmeans_centroids.npy"
"""Arrow passes over names that begin so: the whole folder can be read as one table of Parquet files."""
PUBLIC_CENTROIDS = "kmeans_centroids.npy"
"""The name in the original workflow, in outputs of version 0.1, and of the copy in ``cache_path``."""
REJECTS = "_rejects.parquet"
PLAIN_CLIPS = "_plain.parquet"
QUALITY = "_quality.parquet"
EMBEDDINGS_ENDING = "_embd_parquet"

OVERLAPS_TABLE = "overlaps.parquet"

SINGLE_FILE_ROWS = 1_000_000
"""Up to so many clips, tables that lie in parts are there as single files too, such as ``keep.txt``."""
DECISIONS = "decisions"
"""In the output of identify: the decisions on all clips, in parts."""
DUPLICATES_TABLE = "duplicates.parquet"
DUPLICATES_CSV = "duplicates.csv"
GROUPS_TABLE = "groups.parquet"
KEEP_LIST = "keep.txt"
REMOVE_LIST = "remove.txt"
DROP_LIST = "drop.txt"
DROPPED_TABLE = "dropped.parquet"
SAMPLE_TABLE = "sample.parquet"
SAMPLE_CLUSTERS = "clusters.json"

MANIFEST_NAME = "manifest.json"
INDEX_TABLE = "index.parquet"
DATASET_CARD = "README.md"

CALIBRATION = "calibration.json"
REPORT = "report"
REPORT_JSON = "report.json"

# The state of a stage, below ``.curator/{stage}``.
STATE = ".curator"
PARAMETERS = "params.json"
LOCK = "lock"
UNITS = "units"
BATCHES = "batches"
PUBLISHED = "files.json"
SUMMARY = "summary.json"

_OUTPUT_NAMES = frozenset({
    STATE, KMEANS, PAIRWISE, CROSS_CLUSTER, DUPLICATES, DATASET, CLIP_INDEX, CLIP_INDEX_PARTS, FAILURES,
    RUN_RECORD, REPORT, SAMPLE, "metas", "previews", "processed_videos", "processed_clip_chunks",
})  # fmt: skip
_SHORT_MODEL_NAMES = {"internvideo2": "iv2"}

# File systems take 255 bytes; the rest is for endings such as ``_0.json``.
MAX_NAME_BYTES = 240


def clip_path(clip_id: str) -> str:
    return f"clips/{clip_id}.mp4"


def clip_index_part(number: int) -> str:
    return f"{CLIP_INDEX_PARTS}/part-{number:06d}.parquet"


def preview_path(clip_id: str) -> str:
    return f"previews/{clip_id}.webp"


def meta_path(clip_id: str, version: str = "v0") -> str:
    return f"metas/{version}/{clip_id}.json"


def processed_video_path(relative_path: str) -> str:
    return f"processed_videos/{relative_path}.json"


def processed_chunk_path(relative_path: str, index: int) -> str:
    return f"processed_clip_chunks/{relative_path}_{index}.json"


def is_of_output(path: str, *, clips: bool = True) -> bool:
    """Whether a path, relative to an output folder, is that of a file that a stage wrote; without `clips`, no clip is."""
    first = path.split("/", 1)[0]
    if first == "clips":
        return clips
    return first in _OUTPUT_NAMES or first.endswith(EMBEDDINGS_ENDING) or first.startswith(TEMPORARY_PREFIX)


def safe_relative(relative_path: str) -> str:
    """The path as one that every disk takes and that stays below the folder it is joined to.

    Parts that are too long once an ending is added are cut; parts that are no names (``..``, or empty, as keys of an
    object store may have them) and characters that cannot be printed are replaced. What was changed ends in a hash of
    the original, so that two names never become one.
    """
    return "/".join(_safe_part(part) for part in relative_path.split("/"))


def _safe_part(part: str) -> str:
    shown = printable(part)
    raw = shown.encode("utf-8")
    if shown == part and len(raw) <= MAX_NAME_BYTES and part not in ("", ".", ".."):
        return part
    kept = raw[: MAX_NAME_BYTES - 17].decode("utf-8", "ignore")
    return f"{kept.strip('.')}-{hashlib.sha256(name_bytes(part)).hexdigest()[:16]}"


def embeddings_folder(model_name: str) -> str:
    """``iv2_embd_parquet`` and ``ce1_embd_parquet`` as users know them; other models under their own name."""
    if model_name.startswith("cosmos-embed1"):
        return f"ce1{EMBEDDINGS_ENDING}"
    safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in model_name)
    # A leading underscore would hide the folder from readers of data sets; a path may be longer than a name can be.
    short = _SHORT_MODEL_NAMES.get(model_name, safe.strip("_") or "model")
    return f"{_safe_part(short)}{EMBEDDINGS_ENDING}"


def track_file(unit: str) -> str:
    return f"{TRACKS}/{unit}.parquet"


def centroid_file(cluster: int) -> str:
    return f"centroid={cluster}/part-0.parquet"


def pairwise_file(cluster: int) -> str:
    return f"cluster_{cluster}.parquet"


def decision_part(number: int) -> str:
    return f"{DECISIONS}/part-{number:06d}.parquet"


def scoped_scores_file(cluster: int) -> str:
    return f"scores/{pairwise_file(cluster)}"


class ClipWriterStage:
    """The path helpers of the original workflow, under their own names; each returns a path below ``out``."""

    @staticmethod
    def get_output_path_processed_videos(out: str) -> str:
        return _under(out, "processed_videos")

    @staticmethod
    def get_output_path_processed_clip_chunks(out: str) -> str:
        return _under(out, "processed_clip_chunks")

    @staticmethod
    def get_output_path_previews(out: str) -> str:
        return _under(out, "previews")

    @staticmethod
    def get_output_path_clips(out: str, filtered: bool = False) -> str:
        return _under(out, "filtered_clips" if filtered else "clips")

    @staticmethod
    def get_output_path_metas(out: str, version: str) -> str:
        return _under(out, f"metas/{version}")

    @staticmethod
    def get_output_path_iv2_embd(out: str) -> str:
        return _under(out, "iv2_embd")

    @staticmethod
    def get_output_path_iv2_embd_parquet(out: str) -> str:
        return _under(out, "iv2_embd_parquet")

    @staticmethod
    def get_output_path_ce1_embd(out: str) -> str:
        return _under(out, "ce1_embd")

    @staticmethod
    def get_output_path_ce1_embd_parquet(out: str) -> str:
        return _under(out, "ce1_embd_parquet")


def _under(out: str, folder: str) -> str:
    return f"{out.rstrip('/')}/{folder}"
