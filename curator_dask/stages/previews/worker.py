"""The work of the previews stage on a worker: the preview of one clip."""

from __future__ import annotations

from curator_dask.files import layout
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.previews.spec import PreviewTask
from curator_dask.video.strip import write_strip


def make_preview(task: PreviewTask) -> UnitResult:
    """Write the preview of a clip. Raises MediaError if the clip cannot be read."""
    path = layout.preview_path(task.clip_id)
    with task.output.local_copy(layout.clip_path(task.clip_id)) as clip, task.output.writing(path) as temporary:
        write_strip(clip, temporary, task.length_s)
        num_bytes = temporary.stat().st_size
    return UnitResult({path: num_bytes}, {"previews": 1})
