"""The work of the calibrate stage on a worker: edit one clip, and embed it and its copies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.models.base import EmbeddingModel, Frames, Unusable, Vector
from curator_dask.runtime.records import Failure, UnitResult
from curator_dask.stages.calibrate.spec import CALIBRATE, CalibrateTask
from curator_dask.stages.embed.spec import ClipToEmbed
from curator_dask.video.edits import EDITS, write_edit
from curator_dask.video.frames.read import read_ready_clip
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo, probe_video

_SIGNATURE_SIDE = 16


def edit_and_embed(task: CalibrateTask) -> UnitResult:
    """Embed one clip and its edited copies; the result holds the clip's vector and its cosines with the copies."""
    model = task.spec.model.load()
    with (
        task.spec.input.local_copy(task.clip.path) as path,
        tempfile.TemporaryDirectory(prefix="curator_dask_edit_") as folder,
    ):
        info = probe_video(path)
        base = _embed_file(model, path)
        copies = dict(_embed_copies(info, model, Path(folder)))
        signature = _signature(path)
    if base is None:
        failure = Failure(CALIBRATE, printable(task.clip.path), "no-vector", "the clip has no usable vector")
        return UnitResult(counts={"clips_failed": 1}, failures=(failure,))
    return _result(task.clip, base, copies, signature)


def _result(clip: ClipToEmbed, base: Vector, copies: dict[str, Vector | None], signature: list[float]) -> UnitResult:
    data = {
        "id": clip.id,
        "source": printable(clip.source or clip.path),
        "vector": base.tolist(),
        "signature": signature,
        "cosines": {name: -1.0 if vector is None else _cosine(base, vector) for name, vector in copies.items()},
    }
    return UnitResult(counts={"clips": 1, "copies": len(copies)}, data={"clips": [data]})


def _embed_copies(info: VideoInfo, model: EmbeddingModel, folder: Path) -> Iterator[tuple[str, Vector | None]]:
    """The name of each edit, and the vector of its copy (None if it has no usable one)."""
    copy = folder / "copy.mp4"
    for edit in EDITS:
        try:
            write_edit(info, edit, copy)
            yield edit.name, _embed_file(model, copy)
        except MediaError as error:
            raise MediaError(error.reason, f"{edit.name}: {error}") from error


def _embed_file(model: EmbeddingModel, path: Path) -> Vector | None:
    frames: Frames = read_ready_clip(path, model.frame_rule)
    result = model.embed([frames])[0]
    return None if isinstance(result, Unusable) else result


def _signature(path: Path) -> list[float]:
    """(256,) the mean picture of a clip in 16x16 grey levels: its content, without any embedding."""
    frames = read_ready_clip(path, FrameRule.spread(4, width=_SIGNATURE_SIDE, height=_SIGNATURE_SIDE))
    return [round(float(value), 3) for value in frames.mean(axis=(0, 3)).ravel()]


def _cosine(a: Vector, b: Vector) -> float:
    return float(a.astype("float64") @ b.astype("float64"))
