"""A damaged byte in any kind of file is found and named, and the next run makes the same bytes again and nothing else."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from curator_dask import (
    ExportStage,
    FolderInUseError,
    IdentifyParameters,
    InputError,
    InspectStage,
    KMeansParameters,
    SplitStage,
    Workflow,
    verify_output,
)
from curator_dask.cli.app import app
from curator_dask.data.beside_vectors.track_files import read_tracks
from curator_dask.data.clusters import stored_centroids
from curator_dask.data.tables import read_parquet, read_unit_tables
from curator_dask.files import layout
from curator_dask.files.content_hash import Written
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.verify.finding import Finding
from tests.trees import times, tree
from tests.whole_clip_index import read_clip_index

KINDS = {
    "clip": "clips/*.mp4",
    "meta": "metas/v0/*.json",
    "index": "clip_index/*.parquet",
    "index in one file": "clips.parquet",
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
    "parameters": "kmeans/.curator/kmeans/params.json",
    "parameters of the run": ".curator/run/params.json",
    "record of the run": "run.json",
    "report": "report/report.json",
    "page": "report/index.html",
}


def run(videos: Path, out: Path, context: RunContext) -> None:
    Workflow(
        SplitStage(str(videos), str(out)),
        kmeans=KMeansParameters(2),
        identify=IdentifyParameters(rule="overlap"),
        cross_cluster=True,
    ).run(context)
    InspectStage(str(out), previews=False).run(context=context)


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
    assert found.num_stages == 10
    assert found.num_without_hash == 0
    assert found.num_files == len(tree(finished))


@pytest.mark.parametrize("pattern", KINDS.values(), ids=list(KINDS))
def test_a_flipped_byte_is_named(copy, pattern):
    damaged = first(copy, pattern)
    flip(damaged)
    named = {finding.path for finding in verify_output(str(copy)).findings}
    assert named == {damaged.relative_to(copy).as_posix()}


def make_hashes_earlier(out: Path) -> None:
    """Make the records of the units of pairwise those of a version that knew blake2b."""
    folder = Folder(str(out / "pairwise"))
    state = StageState(folder, "pairwise")
    for record in list(state.records()):
        state.write(
            replace(
                record, outputs={p: Written(n, folder.content_hash(p, "blake2b")) for p, n in record.outputs.items()}
            )
        )


def test_files_that_an_earlier_version_recorded_are_compared(few_videos, copy, cluster):
    make_hashes_earlier(copy)
    assert b"blake2b:" in first(copy, "pairwise/.curator/pairwise/units/*.json").read_bytes()
    assert verify_output(str(copy)).findings == ()
    before = times(copy / "pairwise")
    run(few_videos, copy, RunContext(cluster))
    assert times(copy / "pairwise") == before
    damaged = first(copy, KINDS["pairwise"])
    flip(damaged)
    assert [finding.path for finding in verify_output(str(copy)).findings] == [damaged.relative_to(copy).as_posix()]


@pytest.mark.parametrize("where", [b'"', b"clips/", b"outputs"])
def test_a_damaged_marker_is_named_alone_wherever_the_damage_is(copy, where):
    marker = first(copy, KINDS["marker"])
    data = bytearray(marker.read_bytes())
    data[data.index(where)] ^= 1
    marker.write_bytes(data)
    assert {finding.path for finding in verify_output(str(copy)).findings} == {marker.relative_to(copy).as_posix()}


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


def test_a_missing_run_record_is_named(copy):
    (copy / "run.json").unlink()
    assert [str(finding) for finding in verify_output(str(copy)).findings] == ["run.json: is missing"]


def test_results_whose_parameters_are_lost_are_given_up(copy):
    state = StageState(Folder(str(copy / "kmeans")), "kmeans")
    for name in ("params.json", "files.json"):
        (copy / "kmeans/.curator/kmeans" / name).unlink()
    with pytest.raises(FolderInUseError, match=r"params.json is damaged or missing.*verify .*kmeans --repair"):
        state.claim({"n_clusters": 2})
    assert verify_output(str(copy), repair=True).num_marked > 0
    assert state.claim({"n_clusters": 2}) == ""
    assert list(state.records()) == []


@pytest.mark.parametrize(
    "stages", [("kmeans",), ("split",), ("identify",), ()], ids=["kmeans", "split", "identify", "all"]
)
def test_parameters_damaged_together_with_their_hash_come_to_the_same_bytes(finished, few_videos, context, stages):
    """Verify names both, and the same command makes the results of that stage anew, without `overwrite`."""
    before = tree(finished)
    records = [
        path for path in sorted(finished.rglob("*.json"))
        if path.name in ("params.json", "files.json") and (not stages or path.parent.name in stages)
    ]  # fmt: skip
    for path in records:
        flip(path)
    named = {path.relative_to(finished).as_posix() for path in records}
    assert len(named) >= 2
    assert {finding.path for finding in verify_output(str(finished), repair=True).findings} == named
    run(few_videos, finished, context)
    assert tree(finished) == before
    assert verify_output(str(finished)).findings == ()


def readers(out: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """Kind of file → one of that kind, and how stages read it."""
    [vectors] = out.glob("*_embd_parquet")
    folder = {
        name: Folder(str(out / name)) for name in ("kmeans", "pairwise", "cross_cluster", "overlaps", "duplicates")
    }

    def parquet(home: Folder, path: str) -> tuple[Path, Callable[[], object]]:
        return home.local_path(path), lambda: read_parquet(home, path)

    def units(stage: str, home: Folder) -> tuple[Path, Callable[[], object]]:
        path = min(Path(home.root).glob(f".curator/{stage}/units/*.arrow"))
        name = path.relative_to(home.root).as_posix()
        return path, lambda: list(read_unit_tables(StageState(home, stage), [name]))

    embedded = Folder(str(vectors))
    [first_vectors, *_] = sorted(path.name for path in vectors.glob("*.parquet"))
    track = f"_tracks/{first_vectors}"
    return {
        "vectors": parquet(embedded, first_vectors),
        "tracks": (vectors / track, lambda: [row.track.windows.tolist() for row in read_tracks(embedded, [track])]),
        "index": (out / layout.clip_index_part(0), lambda: read_clip_index(Folder(str(out))).to_pylist()),
        "kmeans": parquet(folder["kmeans"], "centroid=0/part-0.parquet"),
        "centroids": (out / "kmeans/_kmeans_centroids.npy", lambda: stored_centroids(folder["kmeans"]).tolist()),
        "pairwise": parquet(folder["pairwise"], "cluster_0.parquet"),
        "cross_cluster": parquet(folder["cross_cluster"], "cluster_0.parquet"),
        "overlaps": parquet(folder["overlaps"], "overlaps.parquet"),
        "duplicates": parquet(folder["duplicates"], "duplicates.parquet"),
        "overlaps of a unit": units("align", folder["overlaps"]),
        "decisions of a unit": units("identify", folder["duplicates"]),
    }


@pytest.mark.parametrize("kind", ["vectors", "tracks", "index", "kmeans", "centroids", "pairwise", "cross_cluster",
    "overlaps", "duplicates", "overlaps of a unit", "decisions of a unit"])  # fmt: skip
def test_whoever_reads_a_damaged_file_names_it_with_the_remedy(copy, kind):
    path, read = readers(copy)[kind]
    whole, data = read(), path.read_bytes()
    places = range(0, len(data), max(1, len(data) // 60))
    cut = [data[:place] for place in places]
    flipped = [data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :] for place in places]
    hashed = range(hashed_bytes(path))
    told = [message_about(path, damaged, read, whole, may_differ=False) for damaged in cut]
    told += [
        message_about(path, damaged, read, whole, may_differ=place not in hashed)
        for place, damaged in zip(places, flipped, strict=True)
    ]
    noticed = [message for message in told if message]
    assert len(noticed) >= len(cut)
    assert [
        one for one in noticed if path.name not in one or f"verify {copy}" not in one or "--repair" not in one
    ] == []


def hashed_bytes(path: Path) -> int:
    """So many bytes at the start of a file have a hash that readers compare: a Parquet file has none of its footer."""
    data = path.read_bytes()
    if path.suffix == ".npy":
        return 0
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little") if path.suffix == ".parquet" else len(data)


def message_about(path: Path, damaged: bytes, read: Callable[[], object], whole: object, *, may_differ: bool) -> str:
    """What is said about a damaged file; "" where nothing is said, and then the damage must have changed nothing."""
    path.write_bytes(damaged)
    try:
        found = read()
    except InputError as error:
        return str(error)
    assert may_differ or found == whole
    return ""


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
    assert "1 fault" in done.output
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
