"""A damaged byte in any kind of file is found and named, and the next run makes the same bytes again and nothing else."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from curator_dask import (
    ExportStage,
    IdentifyParameters,
    InputError,
    KMeansParameters,
    SplitStage,
    Workflow,
    verify_output,
)
from curator_dask.cli.app import app
from curator_dask.stages.base import RunContext
from curator_dask.verify.finding import Finding
from tests.trees import times, tree

KINDS = {
    "clip": "clips/*.mp4",
    "meta": "metas/v0/*.json",
    "index": "clips.parquet",
    "vectors": "*_embd_parquet/*.parquet",
    "tracks": "*_embd_parquet/_tracks/*.parquet",
    "fingerprint": "*_embd_parquet/_fingerprint.json",
    "kmeans": "kmeans/centroid=*/*.parquet",
    "centroids": "kmeans/_kmeans_centroids.npy",
    "pairwise": "pairwise/*.parquet",
    "cross_cluster": "cross_cluster/*.parquet",
    "overlaps": "overlaps/overlaps.parquet",
    "overlaps of a unit": "overlaps/.curator/align/units/*.arrow",
    "duplicates": "duplicates/duplicates.parquet",
    "keep list": "duplicates/keep.txt",
    "decisions": "duplicates/.curator/identify/units/*.arrow",
    "shard": "dataset/train/*.tar",
    "manifest": "dataset/manifest.json",
    "marker": ".curator/split/units/*.json",
    "list of files": "pairwise/.curator/pairwise/files.json",
    "summary": "kmeans/.curator/kmeans/summary.json",
}


def run(videos: Path, out: Path, context: RunContext) -> None:
    Workflow(
        SplitStage(str(videos), str(out)),
        kmeans=KMeansParameters(2),
        identify=IdentifyParameters(rule="overlap"),
        cross_cluster=True,
    ).run(context)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, few_videos, cluster) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    run(few_videos, out, RunContext(cluster))
    return out


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


def first(out: Path, pattern: str) -> Path:
    return min(out.glob(pattern))


def test_a_finished_run_has_no_faults(finished):
    found = verify_output(str(finished))
    assert found.findings == ()
    assert found.num_stages == 8
    assert found.num_without_hash == 0
    assert found.num_files == len(tree(finished))


@pytest.mark.parametrize("pattern", KINDS.values(), ids=list(KINDS))
def test_a_flipped_byte_is_named(copy, pattern):
    damaged = first(copy, pattern)
    flip(damaged)
    named = {finding.path for finding in verify_output(str(copy)).findings}
    assert named == {damaged.relative_to(copy).as_posix()}


def damaged_files(out: Path) -> list[Path]:
    """One file of each kind; the marker is that of another video than the clip's, which would hide whose the clip is."""
    files = {name: first(out, pattern) for name, pattern in KINDS.items()}
    clip = files["clip"].stem
    others = (path for path in sorted(out.glob(KINDS["marker"])) if clip not in path.read_text())
    return [*(files | {"marker": next(others)}).values()]


def units_of(out: Path, findings: tuple[Finding, ...]) -> set[str]:
    """All files of the units in which something was found."""
    found = {finding.path for finding in findings}
    again = set(found)
    for marker in out.rglob("units/*.json"):
        folder = marker.parents[3]
        paths = {(folder / path).relative_to(out).as_posix() for path in json.loads(marker.read_text())["outputs"]}
        if paths & found or marker.relative_to(out).as_posix() in found:
            again |= {*paths, marker.relative_to(out).as_posix()}
    return again


def test_repair_makes_the_same_bytes_again_and_nothing_else(finished, few_videos, context):
    before, when = tree(finished), times(finished)
    damaged = damaged_files(finished)
    units = units_of(finished, tuple(Finding("", path.relative_to(finished).as_posix(), "", "") for path in damaged))
    for path in damaged:
        flip(path)
    found = verify_output(str(finished), repair=True)
    assert {finding.path for finding in found.findings} == {path.relative_to(finished).as_posix() for path in damaged}
    run(few_videos, finished, context)
    changed = {path for path, digest in tree(finished).items() if before.get(path) != digest}
    assert changed == set()
    assert tree(finished).keys() == before.keys()
    assert verify_output(str(finished)).findings == ()
    written = {path for path, time in times(finished).items() if when[path] != time and (finished / path).is_file()}
    # Vectors come from the frames of the cut, and border rows are removed once they are used, so both are made again.
    by_need = {path for path in written if "_embd_parquet/" in path or path.endswith("/compared.json")}
    assert written - by_need <= units


def test_extra_and_orphaned_files_are_named_and_stay(copy):
    extra = {
        "clips/mine.mp4": "extra",
        ".curator/split/units/gone.arrow": "orphaned",
        "kmeans/.curator-tmp-1": "orphaned",
    }
    for path in extra:
        (copy / path).write_bytes(b"x")
    first(copy, KINDS["clip"]).unlink()
    found = verify_output(str(copy), quick=True, repair=True).findings
    kinds = {finding.path: finding.kind for finding in found}
    assert kinds == extra | {first_clip(found): "missing"}
    assert all((copy / path).exists() for path in extra)


def first_clip(found: tuple[Finding, ...]) -> str:
    return next(finding.path for finding in found if finding.kind == "missing")


def test_counts_that_do_not_add_up_are_named(copy):
    summary = copy / "kmeans/.curator/kmeans/summary.json"
    summary.write_text(summary.read_text().replace('"rows_in": 4', '"rows_in": 5'))
    (copy / "duplicates/remove.txt").write_text("".join(sorted((copy / "duplicates/keep.txt").read_text())))
    what = {finding.path: finding.kind for finding in verify_output(str(copy), quick=True).findings}
    assert what["kmeans/.curator/kmeans/summary.json"] == "counts"
    assert "duplicates/remove.txt" in what


def test_the_command_names_faults_and_exits_with_1(copy):
    assert CliRunner().invoke(app, ["verify", str(copy)]).exit_code == 0
    flip(first(copy, KINDS["clip"]))
    assert CliRunner().invoke(app, ["verify", str(copy), "--quick"]).exit_code == 0
    done = CliRunner().invoke(app, ["verify", str(copy), "--repair"])
    assert done.exit_code == 1
    assert "1 faults" in done.output
    assert "its bytes are not those that were written" in done.output
    assert "run the same command as before" in done.output


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no records"):
        verify_output(str(tmp_path))


def test_an_output_in_an_object_store_is_checked_too(copy):
    fs = fsspec.filesystem("memory")
    fs.put(str(copy), "/verified", recursive=True)
    assert verify_output("memory://verified").findings == ()
    clip = fs.glob("/verified/clips/*.mp4")[0]
    fs.pipe_file(clip, fs.cat_file(clip)[:-1] + b"?")
    assert [finding.path for finding in verify_output("memory://verified").findings] == [
        clip.removeprefix("/verified/")
    ]


@pytest.mark.parametrize("parameters", [{}, {"format": "parquet"}], ids=["shards", "copies"])
def test_export_leaves_out_a_clip_whose_bytes_are_not_those_that_were_written(copy, context, parameters):
    kept = (copy / "duplicates/keep.txt").read_text().split()
    flip(copy / "clips" / f"{kept[0]}.mp4")
    stage = ExportStage(str(copy), str(copy / "again"), duplicates_path=str(copy / "duplicates"), **parameters)
    result = stage.execute(context)
    assert result.counts["clips"] == len(kept) - 1
    assert [failure.clip_id for failure in result.failures] == [kept[0]]
    assert "verify OUT --repair" in result.failures[0].message
    shipped = {path.stem for path in copy.glob("again/clips/*.mp4")}
    for shard in copy.glob("again/*/*.tar"):
        with tarfile.open(shard) as tar:
            shipped |= {name.split(".")[0] for name in tar.getnames()}
    assert shipped == set(kept[1:])
