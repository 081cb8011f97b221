"""The sample videos of moments through a whole run: all known copies go, and no known other moment does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage, IdentifyParameters, SplitStage, Workflow
from curator_dask.stages.base import RunContext
from curator_dask.video.samples import TRUTH, render_samples

Clip = tuple[str, float]
"""Name of the video, and the second at which the clip begins."""


@pytest.fixture(scope="module")
def root(tmp_path_factory, cluster) -> Path:
    """The videos, and the output of a run over them."""
    folder: Path = tmp_path_factory.mktemp("moments")
    render_samples(folder / "videos", num_scenes=1, length_s=1.0, moments=True)
    workflow(folder).run(RunContext(cluster))
    return folder


def workflow(root: Path, **parameters: Any) -> Workflow:
    return Workflow(SplitStage(str(root / "videos"), str(root / "out")), **parameters)


@pytest.fixture(scope="module")
def truth(root) -> dict[str, Any]:
    return dict(json.loads((root / "videos" / TRUTH).read_text()))


@pytest.fixture(scope="module")
def clips(root) -> dict[str, Clip]:
    """Id → clip, as split recorded them."""
    rows = pq.read_table(root / "out" / "clips.parquet").to_pylist()
    return {row["id"]: (Path(row["source_video"]).name, row["start_s"]) for row in rows}


@pytest.fixture(scope="module")
def removed(root, clips) -> dict[Clip, dict[str, Any]]:
    """The removed clips, with the clips that were kept for them."""
    rows = pq.read_table(root / "out" / "duplicates" / "duplicates.parquet").to_pylist()
    return {clips[row["id"]]: {**row, "kept": [clips[one] for one in row["kept_ids"]]} for row in rows}


def of(clips: dict[str, Clip], name: str) -> list[Clip]:
    return sorted(clip for clip in clips.values() if clip[0] == name)


def test_a_clip_of_a_still_camera_goes_for_its_copy_alone(truth, clips, removed):
    for original, copy in truth["moment_twins"]:
        pairs = list(zip(of(clips, original), of(clips, copy), strict=True))
        assert len(pairs) == 3
        for one, other in pairs:
            (gone,) = {one, other} & removed.keys()
            assert [gone, *removed[gone]["kept"]] in ([one, other], [other, one])
    copied = {name for pair in truth["moment_twins"] for name in pair}
    for name in set(truth["different_moments"]) - copied:
        assert len(of(clips, name)) == 3
        assert not removed.keys() & set(of(clips, name))


def test_a_shifted_copy_goes_and_the_offset_is_right(truth, clips, removed):
    """What is left of the two is one of them whole, and of the other what it alone shows."""
    for pair in truth["shifted"]:
        film, twin = of(clips, pair["original"]), of(clips, pair["twin"])
        gone = removed.keys() & {*film, *twin}
        assert gone in (set(twin), set(film[1:]))
        begins_s = {pair["original"]: 0.0, pair["twin"]: pair["offset_s"]}
        for clip in gone:
            name, start_s = removed[clip]["kept"][0]
            expected = (begins_s[name] + start_s) - (begins_s[clip[0]] + clip[1])
            assert removed[clip]["offset_s"] == pytest.approx(expected, abs=0.3)


def test_slides_stay(truth, clips, removed):
    for slides in truth["slides"]:
        assert len(of(clips, slides["file"])) == 4
        assert not removed.keys() & set(of(clips, slides["file"]))


def test_overlaps_of_an_earlier_run_do_not_count(root, context, clips, removed):
    """The files of overlaps stay when the output is decided by eps again."""
    result = workflow(root, identify=IdentifyParameters(eps=0.65)).run(RunContext(context.cluster, overwrite=True))
    assert (root / "out" / "overlaps" / "overlaps.parquet").exists()
    folders = (str(root / "out" / name) for name in ("pairwise", "kmeans"))
    IdentifyDuplicatesStage(*folders, str(root / "alone"), clips_path=str(root / "out"), eps=0.65).run(context=context)
    names = ("duplicates.csv", "groups.parquet", "keep.txt", "remove.txt")
    for name in names:
        assert (root / "out" / "duplicates" / name).read_bytes() == (root / "alone" / name).read_bytes()
    num_removed = len((root / "alone" / "remove.txt").read_text().split())
    assert num_removed > len(removed)
    assert f" {num_removed} removed" in str(result.totals)
