"""The work of the calibrate stage on a worker: edit one clip, embed it and its copies, and lay their tracks over each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.models.base import Frames, Vector
from curator_dask.runtime.records import Failure, UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.stages.calibrate.spec import CALIBRATE, CalibrateTask
from curator_dask.stages.calibrate.tracks.compare import CopyTracks, compare_tracks, line_of_track
from curator_dask.stages.embed.clip_tracks import ClipFrames, Embedder, write_track_file
from curator_dask.stages.embed.part_results import Embedded
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedTask
from curator_dask.video.edits import EDITS, LATE, Edit, write_edit
from curator_dask.video.frames.read import read_ready_clip, read_ready_clip_by_rules
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo, probe_video

_SIGNATURE_SIDE = 16
_LEAST_S = 2.0
"""A copy that would be shorter is not made."""


@dataclass(frozen=True)
class _EditedCopy:
    """One edited copy, compared with its original."""

    name: str
    cosine: float
    """Of the two vectors; -1 if the copy has none."""
    tracks: CopyTracks | None = None


def edit_and_embed(task: CalibrateTask) -> UnitResult:
    """Embed one clip and its edited copies. The result holds the clip's vector, its cosines with the copies, and how
    well the tracks of the copies match."""
    embedder = Embedder(task.spec)
    with (
        task.spec.input.local_copy(task.clip.path) as path,
        task.spec.output.scratch(*StageState(task.spec.output, CALIBRATE).scratch_parts()) as folder,
    ):
        info = probe_video(path)
        clip, _ = _embed_file(embedder, path)
        if not isinstance(clip.vector, np.ndarray):
            failure = Failure(CALIBRATE, printable(task.clip.path), "no-vector", "the clip has no usable vector")
            return UnitResult(counts={"clips_failed": 1}, failures=(failure,))
        copies = list(_compared_copies(embedder, info, clip, folder))
        signature = _signature(path)
    embed_task = EmbedTask(task.spec, task.key, (task.clip,))
    outputs = write_track_file(embed_task, [(task.clip, clip)])
    data = _record_of(task.clip, clip.vector, copies, signature)
    return UnitResult(outputs, {"clips": 1, "copies": len(copies)}, data={"clips": [data]})


def _record_of(clip: ClipToEmbed, vector: Vector, copies: list[_EditedCopy], signature: list[float]) -> dict[str, Any]:
    compared = [(copy.name, copy.tracks) for copy in copies if copy.tracks is not None]
    return {
        "id": clip.id,
        "source": printable(clip.source or clip.path),
        "span_s": [clip.start_s, clip.end_s],
        "vector": vector.tolist(),
        "signature": signature,
        "cosines": {copy.name: copy.cosine for copy in copies},
        "levels": {name: tracks.levels for name, tracks in compared},
        "stills": {name: tracks.still for name, tracks in compared if tracks.still is not None},
    }


def _compared_copies(embedder: Embedder, info: VideoInfo, clip: Embedded, folder: Path) -> Iterator[_EditedCopy]:
    """Each edited copy of a clip. Those that begin later show what vectors make of them; tracks can be cut afterwards."""
    line = line_of_track(clip.track)
    for edit in EDITS + tuple(edit for edit in LATE if _is_long_enough(info, edit)):
        copy, frames = _embed_copy(embedder, info, edit, folder)
        cosine = _cosine(clip, copy)
        if edit in LATE or line is None:
            yield _EditedCopy(edit.name, cosine)
        else:
            rate_fps = embedder.rules[-1].rate_fps
            yield _EditedCopy(edit.name, cosine, compare_tracks(line, embedder, copy, frames, rate_fps))


def _is_long_enough(info: VideoInfo, edit: Edit) -> bool:
    return (info.duration_s or 0.0) - sum(edit.trim_s) >= _LEAST_S


def _embed_copy(embedder: Embedder, info: VideoInfo, edit: Edit, folder: Path) -> tuple[Embedded, Frames]:
    copy = folder / "copy.mp4"
    try:
        write_edit(info, edit, copy)
        return _embed_file(embedder, copy)
    except MediaError as error:
        raise MediaError(error.reason, f"{edit.name}: {error}") from error


def _embed_file(embedder: Embedder, path: Path) -> tuple[Embedded, Frames]:
    """What comes of a file, and the frames that its track was made of."""
    frames: list[Frames] = []
    for found in read_ready_clip_by_rules(path, embedder.rules):
        if isinstance(found, MediaError):
            raise found
        frames.append(found)
    return embedder.embed([ClipFrames(*frames)])[0], frames[-1]


def _cosine(clip: Embedded, copy: Embedded) -> float:
    vectors = [one.vector.astype("float64") for one in (clip, copy) if isinstance(one.vector, np.ndarray)]
    return float(vectors[0] @ vectors[1]) if len(vectors) == 2 else -1.0


def _signature(path: Path) -> list[float]:
    """(256,) the mean picture of a clip in 16x16 grey levels: its content, without any embedding."""
    frames = read_ready_clip(path, FrameRule.spread(4, width=_SIGNATURE_SIDE, height=_SIGNATURE_SIDE))
    return [round(float(value), 3) for value in frames.mean(axis=(0, 3)).ravel()]
