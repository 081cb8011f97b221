"""Kept clips of one group of duplicates come from several videos: all these videos are in one split."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from curator_dask import ExportStage, PlanParameters
from curator_dask.files.buckets import buckets
from curator_dask.stages.base import RunContext
from tests.stages import builders

VIDEOS = 12
"""Each has two clips. The second clip of a video is near that of the next one, and not near that of the one after it."""
STEP = 0.1  # rad: neighbours have a cosine of .995, the others .980 and less
SHARES = {"train": 0.5, "val": 0.5}


@pytest.fixture(scope="module")
def decided(tmp_path_factory, cluster) -> Path:
    """Videos 0 to 2 and 3 to 5 are two chains, whose ends stay; the clips of the other videos are like no other."""
    root = tmp_path_factory.mktemp("groups") / "out"
    clips = [(f"{video:02}-{at}", f"video {video}") for video in range(VIDEOS) for at in range(2)]
    vectors = np.eye(len(clips) + 4, dtype=np.float32)[: len(clips)]
    for video in range(6):
        vectors[2 * video + 1] = 0
        plane = len(clips) + 2 * (video // 3)
        angle = STEP * (video % 3)
        vectors[2 * video + 1, plane : plane + 2] = np.cos(angle), np.sin(angle)
    ids = [clip for clip, _ in clips]
    builders.write_vectors(root / "v" / "a.parquet", ids, vectors)
    builders.score_vectors(root / "v", root, RunContext(cluster), 1)
    builders.identify_duplicates(root, RunContext(cluster), eps=0.01, rule="greedy")
    rows = [{"id": one, "source_video": video, "valid": True, "clip_path": f"clips/{one}.mp4"} for one, video in clips]
    builders.write_clip_index(root, [{**row, "num_bytes": 4} for row in rows])
    (root / "clips").mkdir()
    for one in ids:
        (root / "clips" / f"{one}.mp4").write_bytes(one.encode())
    return root


def splits(out: Path, to: Path, cluster, seed: int, decisions: str = "d") -> dict[str, set[str]]:
    """The videos of each split."""
    shards = PlanParameters(splits=SHARES, seed=seed)
    stage = ExportStage(str(out), str(to), duplicates_path=str(out / decisions), shards=shards)
    stage.run(context=RunContext(cluster))
    return {name: {sample["source_video"] for sample in samples(to / name)} for name in SHARES}


def samples(folder: Path) -> list[dict[str, object]]:
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            texts = [tar.extractfile(member) for member in tar if member.name.endswith(".json")]
            found += [json.loads(text.read()) for text in texts if text is not None]
    return found


def together(videos: set[str], found: dict[str, set[str]]) -> bool:
    return any(videos <= split for split in found.values())


@pytest.mark.parametrize("many", [False, True])
def test_a_group_is_in_one_split(decided, cluster, tmp_path, monkeypatch, many):
    kept = (decided / "d" / "keep.txt").read_text().splitlines()
    chains = [{f"video {video}" for video in chain if f"{video:02}-1" in kept} for chain in ((0, 1, 2), (3, 4, 5))]
    assert all(len(chain) == 2 for chain in chains)
    if many:
        monkeypatch.setattr(buckets, "BLOCK_ROWS", 4)
        monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    apart = 0
    for seed in range(3):
        found = splits(decided, tmp_path / str(seed), cluster, seed)
        assert sum(map(len, found.values())) == VIDEOS
        assert all(together(chain, found) for chain in chains)
        (decided / "lists").mkdir(exist_ok=True)
        (decided / "lists" / "keep.txt").write_bytes((decided / "d" / "keep.txt").read_bytes())
        alone = splits(decided, tmp_path / f"alone {seed}", cluster, seed, "lists")
        apart += not all(together(chain, alone) for chain in chains)
    assert apart, "no seed parts the videos when the groups are not known: the test shows nothing"


def test_samples_do_not_name_groups(decided, cluster, tmp_path):
    splits(decided, tmp_path / "out", cluster, 0)
    assert {sample["group"] for name in SHARES for sample in samples(tmp_path / "out" / name)} == {""}
