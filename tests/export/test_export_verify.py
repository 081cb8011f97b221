"""Every fault that an export can have, made in a real export."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace

import av
import pytest

from curator_dask.export.faults import MAX_FAULTS, Fault, FirstFaults
from curator_dask.export.manifest import Manifest, read_manifest
from curator_dask.export.plan import PlanParameters
from curator_dask.export.samples import clip_json_bytes, member_key
from curator_dask.export.verify import verify_export
from curator_dask.files.buckets import buckets
from curator_dask.files.layout import MANIFEST_NAME

SHARD = "train/000000.tar"


def check_media(path):
    """Decodes a frame, as the stage does."""
    try:
        with av.open(str(path)) as container:
            next(container.decode(video=0))
    except (av.FFmpegError, StopIteration) as error:
        return str(error)
    return None


class Export:
    """An export to damage. The manifest stays as it was until `bless` is called."""

    def __init__(self, folder):
        self.folder = folder
        self.manifest: Manifest = read_manifest((folder / MANIFEST_NAME).read_text())

    def faults(self, **options):
        return verify_export(self.manifest, lambda shard: (self.folder / shard.path).open("rb"), **options)

    def said(self, **options):
        return [str(fault) for fault in self.faults(**options)]

    def members(self):
        with tarfile.open(self.folder / SHARD) as archive:
            return [(info, archive.extractfile(info).read()) for info in archive]

    def rewrite(self, members, archive_format=tarfile.USTAR_FORMAT):
        with tarfile.open(self.folder / SHARD, "w", format=archive_format) as archive:
            for info, data in members:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        self.bless()

    def bless(self):
        """Write the damaged shard's size and digest into the manifest, so that only its content shows the fault."""
        data = (self.folder / SHARD).read_bytes()
        shards = list(self.manifest.shards)
        shards[0] = replace(shards[0], sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data))
        self.manifest = replace(self.manifest, shards=tuple(shards))


@pytest.fixture(autouse=True, params=["one bucket", "many buckets"])
def num_buckets(request, monkeypatch):
    if request.param == "many buckets":
        monkeypatch.setattr(buckets, "BLOCK_ROWS", 4)
        monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)


@pytest.fixture
def export(clips, tmp_path):
    clips.export(tmp_path, PlanParameters(shard_clips=5, order="sorted"))
    return Export(tmp_path)


def test_a_sound_export(export, clips):
    opened = []

    def check(path):
        opened.append(path.read_bytes())
        return check_media(path)

    found = [shard.path for shard in export.manifest.shards]
    assert export.faults(found=found, removed=["x", "../y"], check_media=check, media_per_shard=2) == []
    assert len(opened) == 6
    assert set(opened) <= {clips.media(record.id) for record in clips.records}


def test_more_checks_than_clips_open_each_clip_once(export):
    opened = []
    export.faults(check_media=lambda path: opened.append(path), media_per_shard=100)
    assert len(opened) == 12


def test_a_flipped_byte_in_the_media(export):
    info, _ = export.members()[1]
    data = bytearray((export.folder / SHARD).read_bytes())
    data[info.offset_data + 20] ^= 1
    (export.folder / SHARD).write_bytes(data)
    (said,) = export.said()
    assert said.startswith(f"{SHARD}: sha256 is ")


def test_media_that_do_not_open(export):
    members = export.members()
    members[1] = (members[1][0], bytes(len(members[1][1])))
    export.rewrite(members)
    key = members[0][0].name.partition(".")[0]
    (fault,) = export.faults(check_media=check_media)
    assert (fault.shard, fault.key) == (SHARD, key)
    assert "the media cannot be read: " in fault.what
    assert export.faults() == []


def test_a_member_that_is_missing(export):
    members = export.members()
    key = members[0][0].name.partition(".")[0]
    export.rewrite(members[:1] + members[2:])
    assert export.said() == [f"{SHARD}: {key}: the members are 'json', not json, mp4"]


def test_a_member_too_many(export):
    members = export.members()
    key = members[0][0].name.partition(".")[0]
    export.rewrite([*members[:2], (tarfile.TarInfo(f"{key}.txt"), b"hello"), *members[2:]])
    assert export.said() == [f"{SHARD}: {key}: the members are 'json, mp4, txt', not json, mp4"]


def test_a_removed_clip(export, clips):
    removed = [record.id for record in clips.records[:2]]
    faults = export.faults(removed=removed)
    assert sorted(fault.key for fault in faults) == sorted(removed)
    assert {fault.what for fault in faults} == {"the clip is on the removal list"}


def test_a_removed_clip_under_another_name(export, clips):
    members = export.members()
    removed = replace(clips.records[11], num_bytes=len(members[1][1]))
    members[0] = (members[0][0], clip_json_bytes(removed))
    export.rewrite(members)
    said = export.said(removed=[removed.id])
    assert any(f"the JSON is of another clip: '{removed.id}', which is on the removal list" in text for text in said)


def test_a_key_that_comes_twice_in_a_shard(export):
    members = export.members()
    key = members[0][0].name.partition(".")[0]
    export.rewrite([*members, *members[:2]])
    said = export.said()
    assert f"{SHARD}: {key}: the key occurs twice in the shard, or its members are apart" in said
    assert f"{SHARD}: holds 6 samples, the manifest says 5" in said


def test_a_key_that_comes_in_two_shards(export, clips):
    first, second, third = export.manifest.shards
    (export.folder / second.path).write_bytes((export.folder / first.path).read_bytes())
    same = replace(first, name=second.name)
    export.manifest = replace(export.manifest, shards=(first, same, third))
    faults = export.faults()
    assert len(faults) == 5
    assert {(fault.shard, fault.what) for fault in faults} == {(second.path, f"the key is also in {first.path}")}


def test_clips_that_are_not_as_they_are_listed(export, clips):
    ids = [record.id for record in clips.records]
    assert export.said(listed=ids) == []
    assert sorted(export.said(listed=[*ids[1:], "gone", "../gone", ids[3]])) == sorted(
        [
            next(f"{shard}: {ids[0]}: the clip is not on the list" for shard in shards_of(export, ids[0])),
            f"{member_key('../gone')}: the clip is on the list, and no shard holds it",
            "gone: the clip is on the list, and no shard holds it",
            f"{ids[3]}: the list names the clip more than once",
        ]
    )


def shards_of(export, clip_id):
    for shard in export.manifest.shards:
        with tarfile.open(export.folder / shard.path) as archive:
            if any(name.startswith(clip_id) for name in archive.getnames()):
                yield shard.path


def test_of_very_many_faults_the_first_ones_are_told():
    faults = FirstFaults()
    for place in reversed(range(1000)):
        faults.add(place % 2, place, Fault(f"shard {place % 2}", str(place), "bad"))
    told = list(faults.of_all())
    assert len(told) == 2 * (MAX_FAULTS + 1)
    assert [fault.key for fault in told[:3]] == ["0", "2", "4"]
    assert str(told[MAX_FAULTS]) == f"shard 0: {500 - MAX_FAULTS} more faults like the last one"
    assert told[MAX_FAULTS + 1].key == "1"


def test_members_that_are_apart(export):
    members = export.members()
    export.rewrite([members[0], *members[2:], members[1]])
    said = export.said()
    key = members[0][0].name.partition(".")[0]
    assert f"{SHARD}: {key}: the key occurs twice in the shard, or its members are apart" in said
    assert f"{SHARD}: {key}: the members are 'json', not json, mp4" in said


def test_samples_in_another_order(export):
    members = export.members()
    export.rewrite([*members[2:], *members[:2]])
    assert export.said() == [f"{SHARD}: the keys are not those of the manifest, in this order"]


@pytest.mark.parametrize(
    "name",
    ["../../evil.mp4", "/etc/evil.mp4", "a/../b.mp4", "evil", ".mp4", "__a__.mp4", "a.b.mp4", "\x1b[31m.mp4", "é.mp4"],
)
def test_a_member_with_a_hostile_name(export, name):
    export.rewrite([*export.members(), (tarfile.TarInfo(name), b"x")])
    (said,) = export.said(check_media=check_media, media_per_shard=9)
    assert said == f"{SHARD}: member {name!a} is not named KEY.EXTENSION"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.DIRTYPE, "a folder"),
        (b"x", "a member of type b'x'"),
    ],
)
def test_a_member_that_is_no_file(export, kind, words):
    info = tarfile.TarInfo("evil.mp4")
    info.type, info.linkname = kind, "/etc/passwd"
    export.rewrite([*export.members(), (info, b"")])
    assert export.said() == [f"{SHARD}: member 'evil.mp4' is {words}"]


def test_an_archive_of_another_format(export):
    export.rewrite(export.members(), tarfile.GNU_FORMAT)
    said = export.said()
    assert any("is not plain USTAR" in text for text in said)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:700], "bytes before the end of a member"),
        (lambda data: data[:2000], "bytes before the end of a member"),
        (lambda data: data[:20480], "the archive ends "),
        (lambda data: b"", "the archive ends before"),
        (lambda data: b"x" * 1000, "broken tar header"),
        (lambda data: data + b"secret", "data after the end"),
        (lambda data: data[:124] + b"\xff" * 12 + data[136:], "broken tar header"),
    ],
    ids=["in the JSON", "in the media", "no end", "empty", "no tar", "more", "size"],
)
def test_an_archive_that_is_broken(export, spoil, words):
    path = export.folder / SHARD
    path.write_bytes(spoil(path.read_bytes()))
    export.bless()
    assert any(words in text for text in export.said())


def change(field, value):
    def spoil(clip):
        clip[field] = value
        return clip

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change("cosine_sim_score", None), "cosine_sim_score in the JSON is 'None', not float"),
        (change("start_s", 3), "start_s in the JSON is '3', not float"),
        (change("width", True), "width in the JSON is 'True', not int"),
        (change("caption", "x"), "the JSON has other fields than the schema"),
        (change("id", "other"), "the JSON is of another clip: 'other'"),
        (change("num_bytes", 1), "bytes, the JSON says 1"),
        (lambda clip: [clip], "the JSON is not an object"),
        (lambda clip: {name: clip[name] for name in sorted(clip)}, "other fields"),
    ],
    ids=["null", "whole", "bool", "more", "id", "size", "list", "order"],
)
def test_a_json_of_another_schema(export, spoil, words):
    members = export.members()
    members[0] = (members[0][0], json.dumps(spoil(json.loads(members[0][1]))).encode())
    export.rewrite(members)
    (said,) = export.said()
    assert words in said


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 100_000, b" " * (2 << 20)], ids=["", "open", "bytes", "deep", "huge"]
)
def test_a_json_that_is_none(export, data):
    members = export.members()
    members[0] = (members[0][0], data)
    export.rewrite(members)
    (said,) = export.said()
    assert "the JSON is not an object" in said


def test_a_shard_of_endless_faults_is_given_up(export):
    export.rewrite([(tarfile.TarInfo(f"../{number}"), b"") for number in range(1000)])
    faults = export.faults()
    assert MAX_FAULTS < len(faults) < MAX_FAULTS + 5
    assert any("given up" in fault.what for fault in faults)


def test_a_shard_that_is_missing(export):
    (export.folder / SHARD).unlink()
    (fault,) = export.faults()
    assert fault.shard == SHARD
    assert fault.what.startswith("cannot be read: ")


def test_a_tar_that_the_manifest_does_not_know(export):
    found = [*(shard.path for shard in export.manifest.shards), "train/000003.tar"]
    assert export.said(found=found) == ["train/000003.tar: is not in the manifest"]


def test_a_gap_in_the_numbers(export):
    shards = export.manifest.shards
    export.manifest = replace(export.manifest, shards=(shards[0], shards[2]))
    found = [shard.path for shard in export.manifest.shards]
    assert export.said(found=found) == ["train: the shards are not numbered 0, 1, 2, ... in the manifest"]
