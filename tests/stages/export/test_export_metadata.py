"""A user's table, carried into an export: the JSON, the captions, the table of clips, and what a changed table changes."""

from __future__ import annotations

import csv
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curator_dask import (
    ExportParameters,
    ExportStage,
    FolderInUseError,
    InputError,
    ParameterError,
    PlanParameters,
    SplitStage,
    Workflow,
    verify_dataset,
    verify_output,
)
from curator_dask.cli.app import app
from curator_dask.files.buckets import buckets
from curator_dask.stages.base import RunContext
from tests.trees import results, times, tree

HOSTILE = "=cmd|'/c calc'!A1,\"two\nlines\",../../etc/passwd,\x1b[31m,</script><b>,\u202e"
ONE_EACH = PlanParameters(shard_clips=1, order="sorted")


@pytest.fixture(scope="module")
def clips(few_videos, cluster, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("metadata") / "out"
    SplitStage(str(few_videos), str(out)).run(context=RunContext(cluster))
    return out


@pytest.fixture(scope="module")
def videos(clips) -> list[str]:
    return sorted(set(pq.read_table(clips / "clips.parquet")["relative_path"].to_pylist()))


def write_csv(path: Path, rows: list[dict]) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def rows_of(videos: list[str]) -> list[dict]:
    """A row for every video but the last, with texts that are hostile somewhere."""
    named = [
        {"video": video, "title": f"film {n}", "year": 2000 + n, "score": n / 4, "say": f"It shows {n}."}
        for n, video in enumerate(videos[:-1])
    ]
    named[0] |= {"title": HOSTILE, "say": HOSTILE}
    return named


def export(clips: Path, out: Path, cluster, *, dry_run: bool = False, **parameters):
    stage = ExportStage(str(clips), str(out), all_clips=True, **{"shards": ONE_EACH, **parameters})
    return stage.run(context=RunContext(cluster, dry_run=dry_run))


def samples(dataset: Path) -> dict[str, dict]:
    """Source video → the members of its clip."""
    found: dict[str, dict] = {}
    for shard in sorted(dataset.rglob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                found.setdefault(member.name.partition(".")[0], {})[member.name.partition(".")[2]] = (
                    archive.extractfile(member).read()
                )
    return {Path(json.loads(members["json"])["source_video"]).name: members for members in found.values()}


def test_columns_go_into_the_json_and_captions_into_members(clips, videos, cluster, tmp_path):
    table = write_csv(
        tmp_path / "t.csv", [*rows_of(videos), {"video": "gone.mp4", "title": "x", "year": 1, "score": "", "say": ""}]
    )
    result = export(clips, tmp_path / "data", cluster, metadata=table, caption_column="say")
    found = samples(tmp_path / "data")
    carried = [json.loads(found[video]["json"])["metadata"] for video in videos]
    assert carried[0] == {"title": HOSTILE, "year": 2000, "score": 0.0}
    assert carried[1] == {"title": "film 1", "year": 2001, "score": 0.25}
    assert carried[-1] == {"title": None, "year": None, "score": None}
    assert [found[video]["txt"].decode() for video in videos] == [HOSTILE, "It shows 1.", "It shows 2.", ""]
    assert {name: result.counts[name] for name in result.counts if "metadata" in name or "caption" in name} == {
        "clips_with_metadata": 3, "clips_without_metadata": 1, "captions_empty": 1,
        "metadata_rows": 4, "metadata_rows_unmatched": 1, "metadata_rows_ambiguous": 0,
    }  # fmt: skip
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_bytes())
    assert manifest["members"] == ["json", "mp4", "txt"]
    assert manifest["fields"]["metadata"] == {"title": "str", "year": "int", "score": "float"}
    assert list(manifest["fields"]) == list(json.loads(found[videos[0]]["json"]))
    assert verify_dataset(str(tmp_path / "data")).faults == ()
    assert verify_output(str(tmp_path / "data")).findings == ()


def test_many_buckets_give_the_bytes_of_one(clips, videos, cluster, tmp_path, monkeypatch):
    ids = pq.read_table(clips / "clips.parquet")["id"].to_pylist()
    of_clips = [{"clip_id": clip, "title": f"clip {n}", "say": "x" * n} for n, clip in enumerate([*ids[:-1], ids[0]])]
    of_videos = [*rows_of(videos), {**rows_of(videos)[1], "year": 1}]
    tables = {"clips": write_csv(tmp_path / "clips.csv", of_clips), "videos": write_csv(tmp_path / "v.csv", of_videos)}
    forms = [{}, {"shards": replace(ONE_EACH, order="shuffled")}, {"format": "parquet"}]
    counts = []
    for size in ("one", "many"):
        for name, table in tables.items():
            for number, form in enumerate(forms):
                out = tmp_path / size / f"{name}-{number}"
                counts.append(export(clips, out, cluster, metadata=table, caption_column="say", **form).counts)
        monkeypatch.setattr(buckets, "BLOCK_ROWS", 2)
        monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    assert tree(tmp_path / "one") == tree(tmp_path / "many")
    assert counts[: len(counts) // 2] == counts[len(counts) // 2 :]
    assert {one["clips_without_metadata"] for one in counts} == {2}, "the last one, and one that rows contradict"


def test_what_could_not_be_used_is_said(clips, videos, cluster, tmp_path, caplog):
    table = write_csv(tmp_path / "t.csv", [*rows_of(videos), {**rows_of(videos)[0], "video": "\x1b[31mgone"}])
    export(clips, tmp_path / "data", cluster, metadata=table)
    (sentence,) = [line for line in caplog.messages if line.startswith("metadata ")]
    assert sentence.endswith(r"rows that name no video of this output: 1 of 4: '\\x1b[31mgone'")


def test_without_a_table_nothing_is_added(clips, cluster, tmp_path):
    export(clips, tmp_path / "data", cluster)
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_bytes())
    assert "fields" not in manifest
    assert "metadata" not in json.loads(next(iter(samples(tmp_path / "data").values()))["json"])
    assert "dataset_info" not in (tmp_path / "data" / "README.md").read_text()


def test_a_changed_table_makes_only_the_shards_of_its_clips_anew(clips, videos, cluster, tmp_path, caplog):
    rows = rows_of(videos)
    table = write_csv(tmp_path / "t.csv", rows)
    first = export(clips, tmp_path / "data", cluster, metadata=table)
    assert (first.num_run, first.num_skipped) == (4, 0)
    before = times(tmp_path / "data")
    again = export(clips, tmp_path / "data", cluster, metadata=table)
    assert (again.num_run, times(tmp_path / "data")) == (0, before)
    rows[1]["title"] = "another"
    write_csv(tmp_path / "t.csv", [*reversed(rows)])
    planned = export(clips, tmp_path / "data", cluster, metadata=table, dry_run=True)
    changed = export(clips, tmp_path / "data", cluster, metadata=table)
    assert (planned.num_run, changed.num_run, changed.num_skipped) == (1, 1, 3)
    assert any(
        "other clips or another table than before: of 4 files 1 is written anew" in line for line in caplog.messages
    )
    assert json.loads(samples(tmp_path / "data")[videos[1]]["json"])["metadata"]["title"] == "another"
    fresh = tmp_path / "fresh"
    export(clips, fresh, cluster, metadata=table)
    assert results(tmp_path / "data") == results(fresh)
    assert verify_dataset(str(tmp_path / "data")).faults == ()


def test_other_choices_are_refused(clips, videos, cluster, tmp_path):
    table = write_csv(tmp_path / "t.csv", rows_of(videos))
    export(clips, tmp_path / "data", cluster, metadata=table)
    before = tree(tmp_path / "data")
    for choice in ({}, {"metadata": table, "metadata_columns": "year"}, {"metadata": table, "caption_column": "say"}):
        with pytest.raises(FolderInUseError, match="metadata|caption_column"):
            export(clips, tmp_path / "data", cluster, **choice)
    assert tree(tmp_path / "data") == before


def test_the_bytes_do_not_depend_on_the_number_of_workers_or_the_kind_of_file(
    clips, videos, cluster, one_worker, tmp_path
):
    rows = rows_of(videos)
    first = write_csv(tmp_path / "t.csv", rows)
    pq.write_table(pa.Table.from_pylist([*reversed(rows)]), tmp_path / "t.parquet")
    export(clips, tmp_path / "one", one_worker.cluster, metadata=first, caption_column="say")
    export(clips, tmp_path / "two", cluster, metadata=str(tmp_path / "t.parquet"), caption_column="say")
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_the_table_of_clips_has_typed_columns(clips, videos, cluster, tmp_path):
    table = write_csv(tmp_path / "t.csv", rows_of(videos))
    parameters = {
        "format": "parquet",
        "metadata": table,
        "metadata_columns": ["year", "title"],
        "caption_column": "say",
    }
    export(clips, tmp_path / "data", cluster, **parameters)
    found = pq.read_table(tmp_path / "data" / "index.parquet")
    assert found.schema.names[-3:] == ["metadata.year", "metadata.title", "caption"]
    assert found.schema.field("metadata.year").type == pa.int64()
    by_source = {Path(row["source"]).name: row for row in found.to_pylist()}
    assert [by_source[video]["metadata.year"] for video in videos] == [2000, 2001, 2002, None]
    assert by_source[videos[0]]["metadata.title"] == by_source[videos[0]]["caption"] == HOSTILE
    media = times(tmp_path / "data" / "clips")
    rows = rows_of(videos)
    rows[0]["title"] = "another"
    write_csv(tmp_path / "t.csv", rows)
    export(clips, tmp_path / "data", cluster, **parameters)
    assert times(tmp_path / "data" / "clips") == media, "no media is copied again for a changed table"
    assert "another" in pq.read_table(tmp_path / "data" / "index.parquet")["metadata.title"].to_pylist()


def test_a_table_of_clip_ids_by_a_key_of_any_name(clips, videos, cluster, tmp_path):
    ids = pq.read_table(clips / "clips.parquet")["id"].to_pylist()
    table = write_csv(tmp_path / "t.csv", [{"k": ids[0], "path": "x", "n": 7}])
    result = export(clips, tmp_path / "data", cluster, metadata=table, metadata_key="k")
    assert (result.counts["clips_with_metadata"], result.counts["clips_without_metadata"]) == (1, 3)
    with pytest.raises(InputError, match="no row of .* names a clip or a video of this output, by path"):
        export(clips, tmp_path / "other", cluster, metadata=table)


def test_verify_finds_changed_columns_and_captions(clips, videos, cluster, tmp_path):
    table = write_csv(tmp_path / "t.csv", rows_of(videos))
    export(clips, tmp_path / "data", cluster, metadata=table, caption_column="say")
    shard = tmp_path / "data" / "train" / "000001.tar"
    whole = shard.read_bytes()
    for old, new, what in (
        (b'"year": 2001', b'"year": "01"', "metadata in the JSON: 'year' is \"'01'\", not int"),
        (b'"title": ', b'"Title": ', "metadata in the JSON has other columns than the manifest says"),
        (b'"metadata": {"t', b'"metaDATA": {"t', "the JSON has other fields than the schema"),
        (b"It shows 1.", b"It shows \xff.", "the caption is no UTF-8 text"),
    ):
        assert whole.count(old) == 1
        shard.write_bytes(whole.replace(old, new))
        assert any(what in str(fault) for fault in verify_dataset(str(tmp_path / "data")).faults), what


@pytest.mark.parametrize("kind", [7, "strange", ["int"], {"x": {"y": "int"}}])
def test_a_manifest_with_strange_fields_is_refused(clips, videos, cluster, tmp_path, kind):
    export(clips, tmp_path / "data", cluster, metadata=write_csv(tmp_path / "t.csv", rows_of(videos)))
    path = tmp_path / "data" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["fields"]["metadata"]["year"] = kind
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="'year' of the JSON is"):
        verify_dataset(str(tmp_path / "data"))


def test_a_run_refuses_a_bad_table_before_any_work(few_videos, cluster, tmp_path):
    (tmp_path / "t.csv").write_text("foo\n1\n")
    for parameters, error in (
        ({"metadata": str(tmp_path / "t.csv")}, "tells of clips or videos"),
        ({"metadata": str(tmp_path / "gone.csv")}, "there is no file"),
        ({"metadata": str(tmp_path / "t.csv"), "metadata_key": "bar"}, "has no column 'bar'; its columns are foo"),
    ):
        workflow = Workflow(SplitStage(str(few_videos), str(tmp_path / "out")), export=ExportParameters(**parameters))
        with pytest.raises(InputError, match=error):
            workflow.run(RunContext(cluster))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ParameterError, match=r"caption_column \('x'\) says what is taken from a table"):
        ExportParameters(caption_column="x")


def test_a_whole_run_with_captions_and_previews(few_videos, videos, cluster, tmp_path):
    table = write_csv(tmp_path / "t.csv", rows_of(videos))
    parameters = ExportParameters(metadata=table, caption_column="say", previews=True)

    def run():
        return Workflow(SplitStage(str(few_videos), str(tmp_path / "out")), export=parameters).run(RunContext(cluster))

    result, again = run(), run()
    counts = result.stage("export").counts
    assert counts["clips_with_metadata"] + counts["clips_without_metadata"] == counts["clips"] == result.totals.kept
    assert [stage.num_run for stage in again.stages] == [0] * len(again.stages)
    dataset = tmp_path / "out" / "dataset"
    assert all(list(members) == ["json", "mp4", "txt", "webp"] for members in samples(dataset).values())
    assert verify_dataset(str(dataset), duplicates_path=str(tmp_path / "out" / "duplicates")).faults == ()
    assert verify_output(str(tmp_path / "out")).findings == ()


def test_the_command_line_takes_a_table(clips, videos, tmp_path):
    table = write_csv(tmp_path / "t.csv", rows_of(videos))
    command = ["export", "--input-path", str(clips), "--output-path", str(tmp_path / "data"), "--all-clips", "--json"]
    chosen = [
        "--metadata",
        table,
        "--metadata-key",
        "video",
        "--metadata-columns",
        "year, score",
        "--caption-column",
        "say",
    ]
    own_worker = {"CURATOR_DASK_SCHEDULER_ADDRESS": ""}  # other tests of this process may have one
    done = CliRunner().invoke(app, [*command, *chosen, "--n-workers", "1"], env=own_worker)
    assert done.exit_code == 0, done.output
    assert json.loads(samples(tmp_path / "data")[videos[1]]["json"])["metadata"] == {"year": 2001, "score": 0.25}
    assert json.loads(done.stdout)["stages"]


def test_a_table_in_a_bucket(clips, videos, s3, tmp_path, cluster):
    bucket = fsspec.filesystem("s3", **s3.storage_options)
    bucket.put(write_csv(tmp_path / "t.csv", rows_of(videos)), f"{s3.url}/meta/t.csv")
    bucket.put(f"{clips}/", f"{s3.url}/meta/out/", recursive=True)
    options = {"input_storage_options": s3.storage_options, "output_storage_options": s3.storage_options}
    data = f"{s3.url}/meta/data"
    export(f"{s3.url}/meta/out", data, cluster, metadata=f"{s3.url}/meta/t.csv", **options)
    bucket.get(data, str(tmp_path / "data"), recursive=True)
    assert json.loads(samples(tmp_path / "data")[videos[1]]["json"])["metadata"]["title"] == "film 1"
    assert verify_dataset(data, storage_options=s3.storage_options).faults == ()
