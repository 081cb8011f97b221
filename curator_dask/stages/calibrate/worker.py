"""The calibrate stage on a worker: a clip and its edited copies in, their cosines out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.models.base import Unusable
from curator_dask.runtime.records import Failure, UnitResult
from curator_dask.stages.calibrate.spec import CALIBRATE, CalibrateTask
from curator_dask.video.edits import EDITS, write_edit
from curator_dask.video.frames.read import read_ready_clip
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo, probe_video

if TYPE_CHECKING:
    import numpy as np

    from curator_dask.models.base import EmbeddingModel

_SIGNATURE_SIDE = 16


def edit_and_embed(task: CalibrateTask) -> UnitResult:
    """The vectors of a clip and of its edited copies; the unit of the calibrate stage."""
    model = task.spec.model.load()
    with (
        task.spec.input.fetched(task.clip.path) as path,
        tempfile.TemporaryDirectory(prefix="curator_dask_edit_") as folder,
    ):
        info = probe_video(path)
        vectors = dict(_vectors(info, model, Path(folder)))
        signature = _signature(path)
    base = vectors.pop("")
    if base is None:
        failure = Failure(CALIBRATE, printable(task.clip.path), "no-vector", "the clip has no usable vector")
        return UnitResult(counts={"clips_failed": 1}, failures=(failure,))
    cosines = {name: -1.0 if vector is None else _cosine(base, vector) for name, vector in vectors.items()}
    source = printable(task.clip.source or task.clip.path)
    data = {
        "id": task.clip.id, "source": source, "vector": base.tolist(), "signature": signature, "cosines": cosines
    }  # fmt: skip
    return UnitResult(counts={"clips": 1, "copies": len(cosines)}, data={"clips": [data]})


def _vectors(info: VideoInfo, model: EmbeddingModel, folder: Path) -> Iterator[tuple[str, Any]]:
    """(edit's name, vector or None) of the clip itself (no name) and of each copy."""
    yield "", _vector(model, read_ready_clip(info.path, model.frame_rule))
    copy = folder / "copy.mp4"
    for edit in EDITS:
        try:
            write_edit(info, edit, copy)
            yield edit.name, _vector(model, read_ready_clip(copy, model.frame_rule))
        except MediaError as error:
            raise MediaError(error.reason, f"{edit.name}: {error}") from error


def _vector(model: EmbeddingModel, frames: Any) -> np.ndarray[Any, Any] | None:
    result = model.embed([frames])[0]
    return None if isinstance(result, Unusable) else result


def _signature(path: Path) -> list[float]:
    """(256,) the mean picture of a clip in 16x16 grey levels: the picture itself, without any embedding."""
    frames = read_ready_clip(path, FrameRule.spread(4, width=_SIGNATURE_SIDE, height=_SIGNATURE_SIDE))
    return [round(float(value), 3) for value in frames.mean(axis=(0, 3)).ravel()]


def _cosine(a: Any, b: Any) -> float:
    return float(a.astype("float64") @ b.astype("float64"))
