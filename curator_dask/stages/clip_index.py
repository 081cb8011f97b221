"""The clip index ``clips.parquet``: one row a planned clip, failed ones included, with the reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from curator_dask import layout
from curator_dask.errors import InputError
from curator_dask.records import printable
from curator_dask.state import StageState
from curator_dask.storage import Folder
from curator_dask.tables import parquet_bytes, read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.discover import SourceVideo
    from curator_dask.video.probe import VideoInfo
    from curator_dask.video.spans import Span
    from curator_dask.video.transcode import CutClip


_ESCAPE = re.compile(r"\\(\\|udc[0-9a-f]{2})")


def schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("source_video", pa.string()),
            ("relative_path", pa.string()),
            ("span_index", pa.int64()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("first_frame_s", pa.float64()),
            ("num_frames", pa.int64()),
            ("width", pa.int64()),
            ("height", pa.int64()),
            ("framerate", pa.float64()),
            ("width_source", pa.int64()),
            ("height_source", pa.int64()),
            ("framerate_source", pa.float64()),
            ("video_codec", pa.string()),
            ("encoder", pa.string()),
            ("num_bytes", pa.int64()),
            ("clip_path", pa.string()),
            ("valid", pa.bool_()),
            ("reason", pa.string()),
            ("message", pa.string()),
        ]
    )


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


def write_clip_index(state: StageState, keys: Collection[str]) -> None:
    """Write the index from the markers of the units with these keys, by video and span; unchanged, it is left alone.

    Clips of videos that are no longer among the input stay where they are, but are not part of the result.
    """
    import pyarrow as pa

    tables = [pa.Table.from_pylist(batch, schema=schema()) for batch in _batches(state, keys)]
    table = pa.concat_tables([schema().empty_table(), *tables]).sort_by(
        [("relative_path", "ascending"), ("span_index", "ascending"), ("id", "ascending")]
    )
    state.publish(layout.CLIP_INDEX, parquet_bytes(table))


def _batches(state: StageState, keys: Collection[str], rows_per_batch: int = 20_000) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for record in state.records():
        rows = record.data.get("clips", ()) if record.key in keys else ()
        batch.extend({**row, "relative_path": stored_name(row["relative_path"])} for row in rows)
        if len(batch) >= rows_per_batch:
            yield batch
            batch = []
    if batch:
        yield batch


def stored_name(name: str) -> str:
    """A file name as Parquet text, which must be UTF-8: other bytes become ``\\udcXX``, and a backslash is doubled."""
    return name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode("utf-8")


def real_name(stored: str) -> str:
    """The file name that `stored_name` stored."""
    return _ESCAPE.sub(lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), stored)


def read_clip_index(folder: Folder) -> pa.Table:
    """The index of a split output. Raises InputError if there is none."""
    if not folder.exists(layout.CLIP_INDEX):
        raise InputError(f"{folder.url} holds no {layout.CLIP_INDEX}: run the split stage into it first")
    return read_parquet(folder, layout.CLIP_INDEX)
