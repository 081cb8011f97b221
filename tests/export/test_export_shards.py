from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import webdataset

from curator_dask.errors import MediaError, ParameterError
from curator_dask.export.plan import PlanParameters, ShardPlan
from curator_dask.export.samples import clip_json_bytes, member_key
from curator_dask.export.shards import media_fault, write_shard
from tests.export.planning import plan_shards


def plan_of(*records, **changes):
    return ShardPlan("train", "000000.tar", tuple(records), 0, **changes)


def written(plan, media=b"m", extras=None):
    stream = io.BytesIO()
    return write_shard(plan, stream, lambda _: io.BytesIO(media), extras), stream.getvalue()


def test_every_header_is_plain_and_says_nothing_of_who_and_when(clips, tmp_path):
    clips.export(tmp_path, with_embeddings=True)
    with tarfile.open(tmp_path / "train" / "000000.tar") as archive:
        infos = archive.getmembers()
        assert not archive.pax_headers
    assert {(i.type, i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in infos} == {
        (b"0", 0, 0, 0, "", "", 0o644)
    }
    names = [info.name for info in infos]
    keys = [name.partition(".")[0] for name in names[::3]]
    assert names == [f"{key}.{extension}" for key in keys for extension in ("json", "mp4", "npy")]


def test_what_was_planned_and_what_is_recorded_is_what_lies_there(clips, tmp_path):
    plans = plan_shards(clips.records, PlanParameters(shard_clips=5))
    manifest = clips.export(tmp_path)
    assert [shard.samples for shard in manifest.shards] == [5, 5, 2]
    for plan, shard in zip(plans, manifest.shards, strict=True):
        data = (tmp_path / shard.path).read_bytes()
        assert plan.path == shard.path
        assert plan.num_bytes == shard.num_bytes == len(data)
        assert shard.sha256 == hashlib.sha256(data).hexdigest()
        assert shard.md5 == hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("limit", [10_240, 20_480, 40_960])
def test_no_shard_is_longer_than_the_limit(clips, tmp_path, limit):
    manifest = clips.export(tmp_path, PlanParameters(shard_bytes=limit))
    sizes = [(tmp_path / shard.path).stat().st_size for shard in manifest.shards]
    assert sum(shard.samples for shard in manifest.shards) == len(clips.records)
    assert max(sizes) <= limit
    assert len(sizes) > 1


def test_two_runs_and_any_order_of_clips_give_equal_bytes(clips, tmp_path):
    first = clips.export(tmp_path / "a", with_embeddings=True)
    second = clips.export(tmp_path / "b", with_embeddings=True, records=reversed(clips.records))
    assert first == second
    paths = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(paths) == 3 + 3
    for path in paths:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_bytes_are_the_same_on_every_python_and_every_machine(record):
    """These bytes must never change: half of a continued export would differ from the other half."""
    _, data = written(plan_of(record(1, num_bytes=1)))
    assert len(data) == 10_240
    assert hashlib.sha256(data).hexdigest() == "46157f2a9a28d4568a59e52bc139cd1297e7070fae66906086c95244471edb7c"


def test_the_bytes_are_those_of_webdatasets_own_writer(clips, tmp_path):
    plan = plan_of(*clips.records[:3])
    write_shard(plan, tmp_path / "ours.tar", clips.open_media)
    with webdataset.TarWriter(str(tmp_path / "theirs.tar"), user="", group="", mtime=0, mode=0o644) as writer:
        for clip in plan.samples:
            writer.write({"__key__": member_key(clip.id), "json": clip_json_bytes(clip), "mp4": clips.media(clip.id)})
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


@pytest.mark.parametrize(
    "clip_id", ["../../evil", "/etc/cron.d/evil", "..", "a/../../b", "__meta__", "-rf", "nul\0", "a.mp4"]
)
def test_no_id_ever_makes_a_path(record, clip_id):
    _, data = written(plan_of(record(1, id=clip_id, num_bytes=1, source_video="../../../x")))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        key = member_key(clip_id)
        assert archive.getnames() == [f"{key}.json", f"{key}.mp4"]
        assert json.load(archive.extractfile(f"{key}.json"))["id"] == clip_id


def test_large_media_are_streamed(record):
    class Endless(io.RawIOBase):
        """A file of 64 MB that is never in memory as a whole."""

        left = largest = 64 << 20
        asked: list[int] = []  # noqa: RUF012

        def read(self, size=-1):
            self.asked.append(size)
            given = min(size, self.left)
            self.left -= given
            return bytes(given)

    class Counter:
        total = largest = 0

        def write(self, data):
            self.total += len(data)
            self.largest = max(self.largest, len(data))

    media, target = Endless(), Counter()
    result = write_shard(plan_of(record(1, num_bytes=64 << 20)), target, lambda _: media)
    assert result.num_bytes == target.total > 64 << 20
    assert target.largest <= 1 << 20
    assert min(media.asked) > 0


@pytest.mark.parametrize(
    ("media", "message"),
    [
        (b"12345", "has 5 bytes, its record says 10"),
        (b"1" * 11, "has 11 bytes, its record says 10"),
        (b"", "has 0 bytes"),
    ],
    ids=["short", "long", "empty"],
)
def test_media_of_another_size(record, tmp_path, media, message):
    clip = record(1, num_bytes=10)
    with pytest.raises(MediaError, match=f"clip {clip.id}: its media file {message}") as caught:
        write_shard(plan_of(clip), tmp_path / "x.tar", lambda _: io.BytesIO(media))
    assert caught.value.reason == "media-size"
    assert not list(tmp_path.iterdir()), "nothing half written stays behind"


def test_media_that_are_missing(clips, tmp_path):
    clip = replace(clips.records[0], id="gone")
    with pytest.raises(MediaError, match="clip gone: its media file is missing") as caught:
        write_shard(plan_of(clips.records[0], clip), tmp_path / "x.tar", clips.open_media)
    assert caught.value.reason == "media-missing"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDONLY | os.O_DIRECTORY], ids=["read fails", "open fails"])
def test_media_that_cannot_be_read(record, tmp_path, flags):
    def open_media(_):
        if flags & os.O_DIRECTORY:
            return tmp_path.open("rb")
        return os.fdopen(os.open(tmp_path / "w", os.O_CREAT | os.O_WRONLY), "rb")

    with pytest.raises(MediaError, match="cannot be read") as caught:
        write_shard(plan_of(record(1)), tmp_path / "x.tar", open_media)
    assert caught.value.reason == "media-unreadable"


def test_faults_of_media_can_be_asked_for_before(record):
    clip = record(1, num_bytes=10)
    assert media_fault(clip, 10) is None
    assert "has 9 bytes" in media_fault(clip, 9)
    assert "missing" in media_fault(clip, None)


def test_extras_come_after_the_media_in_the_order_of_their_names(record):
    extras = {"webp": lambda clip: b"w" + clip.id.encode(), "npy": lambda _: b"n"}
    _, data = written(plan_of(record(1, num_bytes=1), record(2, num_bytes=1)), extras=extras)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [name.partition(".")[2] for name in archive.getnames()] == ["json", "mp4", "npy", "webp"] * 2
        assert archive.extractfile(f"{record(2).id}.webp").read() == b"w" + record(2).id.encode()


def test_extras_are_limited_to_what_loaders_understand(record, tmp_path):
    with pytest.raises(ParameterError, match="extension 'cls'"):
        write_shard(plan_of(record(1)), tmp_path / "x.tar", lambda _: io.BytesIO(b""), {"cls": lambda _: b"1"})


def test_an_embedding_survives(clips, tmp_path):
    clips.export(tmp_path, PlanParameters(), with_embeddings=True)
    with tarfile.open(tmp_path / "train" / "000000.tar") as archive:
        for clip in clips.records:
            read = np.load(io.BytesIO(archive.extractfile(f"{clip.id}.npy").read()), allow_pickle=False)
            np.testing.assert_array_equal(read, clips.embedding(clip))
