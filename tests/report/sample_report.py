"""A report of any size for tests of its page, with two real clips: the second begins 1.5 s later in the same film."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from curator_dask.files.folder import Folder
from curator_dask.report.review.pages import read_pages
from curator_dask.report.review.server import ReviewServer

HOSTILE = "<img src=x onerror=alert(1)>\"'&#?%41</script>\u202e.mp4"
"""A name of a file on Linux would have no slash; names in a report may come from elsewhere."""
HOSTILE_FILE = HOSTILE.replace("/", "")
OFFSET_S = -1.5
"""Second t of the removed clip shows what second t + 1.5 of the kept clip shows."""


def render_clips(out: Path) -> None:
    """``clips/kept.mp4`` and a removed one with a hostile name, each of 4 s, and their previews."""
    (out / "clips").mkdir(parents=True)
    (out / "previews").mkdir()
    film = out / "film.mp4"
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=6", "-g", "10", film)
    for name, start in (("kept.mp4", 0.0), (HOSTILE_FILE, -OFFSET_S)):
        _ffmpeg("-ss", str(start), "-t", "4", "-i", film, out / "clips" / name)
        strip = out / "previews" / Path(name).with_suffix(".webp").name
        _ffmpeg("-i", out / "clips" / name, "-vf", "fps=1.5,tile=6x1", "-frames:v", "1", strip)


def _ffmpeg(*arguments: object) -> None:
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def sample_report(num_groups: int = 2, removed_per_group: int = 1) -> dict[str, Any]:
    """A report whose numbers are all different, so that none can stand in for another. All clips play the same two files."""
    groups = [_group(at, removed_per_group) for at in range(num_groups)]
    ids = [clip for group in groups for clip in (*group["kept"], *(pair["id"] for pair in group["removed"]))]
    removed = num_groups * removed_per_group
    bins = {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "counts": [3, 0, 1, 41]}
    return {
        "schema_version": 1,
        "name": f"out {HOSTILE}",
        "rule": "overlap",
        "eps": None,
        "min_cover": 0.8,
        "strictness": "normal",
        "scope": "all",
        "model": "pdqf_tmk_nobars",
        "totals": {
            "clips": 1234 + removed,
            "kept": 1200,
            "removed": removed,
            "plain": 23,
            "failed": 11,
            "line": f"{1234 + removed} clips = 1200 kept + {removed} removed + 23 plain + 11 failed",
        },
        "seconds": {"kept": 12000.0, "removed": 4.0 * removed, "plain": 77.0},
        "bytes": {"kept": 987_654_321, "removed": 1_111_111, "plain": 2_222},
        "orphans": 7,
        "removed_by": {
            "reason": {"near-duplicate": removed},
            "kind": {"shifted": removed},
            "pair": {"same_source": 5, "cross_source": 6},
        },
        "warnings": [f"{HOSTILE} is odd."],
        "sweep": [
            {"eps": eps, "kept": 1000 - at, "removed": at, "kept_seconds": 1e4 - at, "kept_bytes": 1e9 - at}
            for at, eps in enumerate((0.001, 0.01, 0.1, 0.65))
        ],
        "sweep_rule": "pairwise",
        "scores": bins,
        "overlaps": {"picture": bins, "motion": bins},
        "clusters": {
            "number": 3,
            "rows": 1222,
            "sizes": {"edges": [1, 2, 10, 100], "counts": [0, 1, 2]},
            "largest": [{"cluster": 1, "rows": 600, "share_of_pairs": 0.4}],
        },
        "groups": groups,
        "borderline": {"removed": [_close_pair(groups[0])], "kept": []},
        "sources": [_source(group) for group in groups],
        "dropped": [],
        "quality": {"motion_mean": {**bins, "limit": 0.003}},
        "failures": [
            {
                "stage": "split",
                "reason": "not-a-video",
                "number": 11,
                "examples": [{"source": HOSTILE, "clip_id": None, "message": f"it is {HOSTILE}"}],
            }
        ],
        "plain": [{"source": HOSTILE, "reason": "low-quality", "number": 23, "ids": []}],
        "clips": {clip_id: _clip(clip_id) for clip_id in ids},
    }


def _group(at: int, num_removed: int) -> dict[str, Any]:
    pairs = [
        {
            "id": f"removed-{at}-{number}",
            "kept_id": f"kept-{at}",
            "kept_ids": [f"kept-{at}"],
            "reason": "near-duplicate",
            "score": 0.995,
            "offset_s": OFFSET_S,
            "cover": 0.9,
            "kind": "still" if at % 2 else "shifted",
            "same_source": at % 3 == 1,
        }
        for number in range(num_removed)
    ]
    return {"kept": [f"kept-{at}"], "removed": pairs}


def _close_pair(group: dict[str, Any]) -> dict[str, Any]:
    (pair, *_) = group["removed"]
    return {
        **{key: pair[key] for key in ("id", "score", "offset_s", "cover", "kind", "same_source")},
        "other_id": pair["kept_id"],
        "strength": 0.91,
    }


def _source(group: dict[str, Any]) -> dict[str, Any]:
    removed = [pair["id"] for pair in group["removed"]]
    (kept,) = group["kept"]
    clips = [{"id": kept, "start_s": 0.0, "end_s": 4.0, "state": "kept", "twins": removed}]
    clips += [
        {"id": clip_id, "start_s": 4.0 * at, "end_s": 4.0 * at + 4, "state": "removed", "twins": [kept]}
        for at, clip_id in enumerate(removed, start=1)
    ]
    return {"source": f"folder/{kept} {HOSTILE}", "title": HOSTILE, "duration_s": 4.0 * len(clips), "clips": clips}


def _clip(clip_id: str) -> dict[str, Any]:
    name = "kept.mp4" if clip_id.startswith("kept") else HOSTILE_FILE
    return {
        "source": f"folder/{clip_id} {HOSTILE}",
        "start_s": 0.0,
        "end_s": 4.0,
        "width": 160,
        "height": 90,
        "bytes": 12_345,
        "clip": f"../clips/{name}",
        "preview": f"../previews/{name.removesuffix('.mp4')}.webp",
    }


@contextlib.contextmanager
def serving(out: Path) -> Iterator[ReviewServer]:
    """The review of an output folder, as long as the block lasts."""
    with ReviewServer(read_pages(Folder(str(out)))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
