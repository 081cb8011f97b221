"""A cut clip as a row of the clip index."""

from __future__ import annotations

from typing import Any

from curator_dask.files import layout
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo
from curator_dask.video.cut.transcode import CutClip
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import Span


def clip_row(
    identifier: str, video: SourceVideo, info: VideoInfo, span: Span, cut: CutClip | None, *, encoder: str
) -> dict[str, Any]:
    """One clip as a row. Without a cut (nothing transcoded) there is no file, and what it would hold is not known: -1."""
    written = cut is not None and cut.path is not None
    return {
        "id": identifier,
        "source_video": printable(video.path),
        "relative_path": video.relative_path,
        "span_index": span.index,
        "start_s": span.start_s,
        "end_s": span.end_s,
        "first_frame_s": cut.start_s if cut is not None and written else span.start_s,
        "num_frames": cut.num_frames if cut is not None else -1,
        "width": cut.width if cut is not None else -1,
        "height": cut.height if cut is not None else -1,
        "framerate": cut.framerate if cut is not None else info.framerate,
        "width_source": info.width,
        "height_source": info.height,
        "framerate_source": info.framerate,
        "video_codec": cut.codec if cut is not None else "",
        "encoder": encoder if written else "",
        "num_bytes": cut.num_bytes if cut is not None else 0,
        "clip_path": layout.clip_path(identifier) if written else "",
        "valid": written or cut is None,
        "reason": (cut.reason or "") if cut is not None else "",
        "message": (cut.message or "") if cut is not None else "",
    }
