"""Cut a report into the blocks of data that the page reads one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from curator_dask.report.page.safe_text import relative_url
from curator_dask.report.page.words import KINDS, REASONS

PER_CHUNK: Final = 10
"""Groups or videos in one block: as many as the page shows at first."""
MOST_NAMES: Final = 2_000
"""Characters of a group's file names that a search looks through; less where there are many groups."""
MOST_NAMES_IN_ALL: Final = 400_000

Report = Mapping[str, Any]
Preview = Callable[[str], str | None]
"""The URL of a preview by its path in the report."""


def index_block(report: Report) -> dict[str, Any]:
    """What the page knows of the lists without loading them: enough to filter and to count."""
    most = min(MOST_NAMES, MOST_NAMES_IN_ALL // max(len(report["groups"]), 1))
    return {
        "per_chunk": PER_CHUNK,
        "kinds": KINDS,
        "reasons": REASONS,
        "groups": [_group_in_index(group, report["clips"], most) for group in report["groups"]],
        "groups_left_out": report.get("groups_left_out", 0),
        "sources": [source["source"] for source in report["sources"]],
        "sources_left_out": report.get("sources_left_out", 0),
    }


def _group_in_index(group: Report, clips: Mapping[str, Report], most_names: int) -> dict[str, Any]:
    pairs = sorted({(int(pair["same_source"]), pair["kind"] or "") for pair in group["removed"]})
    ids = [*group["kept"], *(pair["id"] for pair in group["removed"])]
    names = sorted({clips[clip_id]["source"].lower() for clip_id in ids if clip_id in clips})
    return {"pairs": pairs, "names": "\n".join(names)[:most_names]}


def list_blocks(report: Report) -> dict[str, dict[str, Any]]:
    """The lists by the name of their block, each with the ids of the clips that it names."""
    blocks = _chunks("groups", report["groups"], ids_of_group)
    blocks |= _chunks("sources", report["sources"], ids_of_source)
    borderline = report["borderline"]
    ids = {pair[key] for side in ("removed", "kept") for pair in borderline[side] for key in ("id", "other_id")}
    blocks["borderline"] = {**borderline, "clip_ids": sorted(ids)}
    return blocks


def _chunks(name: str, items: Sequence[Report], ids_of: Callable[[Report], Iterable[str]]) -> dict[str, dict[str, Any]]:
    return {
        f"{name}-{at // PER_CHUNK}": {
            "items": part,
            "clip_ids": sorted({clip_id for item in part for clip_id in ids_of(item)}),
        }
        for at in range(0, len(items), PER_CHUNK)
        for part in (items[at : at + PER_CHUNK],)
    }


def ids_of_group(group: Report) -> list[str]:
    """The clips of a group. A clip that was removed by hand, or as an orphan, may have no kept one."""
    kept = (clip_id for pair in group["removed"] for clip_id in (pair["kept_id"], *pair["kept_ids"]))
    return [*group["kept"], *(pair["id"] for pair in group["removed"]), *(clip_id for clip_id in kept if clip_id)]


def ids_of_source(source: Report) -> list[str]:
    return [clip["id"] for clip in source["clips"]]


def clip_rows(report: Report, preview: Preview) -> dict[str, dict[str, Any]]:
    """Every clip as the page needs it, with URLs instead of paths."""
    group_of = {clip_id: at for at, group in enumerate(report["groups"]) for clip_id in ids_of_group(group)}
    state_of = {clip["id"]: clip["state"] for source in report["sources"] for clip in source["clips"]}
    removed = [*(pair for group in report["groups"] for pair in group["removed"]), *report["borderline"]["removed"]]
    state_of |= {pair["id"]: "removed" for pair in removed}
    state_of |= {clip_id: "plain" for entry in report["plain"] for clip_id in entry["ids"]}
    state_of |= {clip_id: "dropped" for entry in report.get("dropped", ()) for clip_id in entry["ids"]}
    return {
        clip_id: {
            "source": clip["source"],
            "start": clip["start_s"],
            "end": clip["end_s"],
            "width": clip["width"],
            "height": clip["height"],
            "bytes": clip["bytes"],
            "clip": relative_url(clip["clip"]),
            "preview": preview(clip["preview"]) if clip["preview"] else None,
            "group": group_of.get(clip_id),
            "state": state_of.get(clip_id, "kept"),
        }
        for clip_id, clip in report["clips"].items()
    }
