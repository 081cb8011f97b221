"""A balanced sample of kept clips: exactly N, the same every time, exported by its list and verified by it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curator_dask import (
    ExportStage,
    InputError,
    ParameterError,
    SampleStage,
    SplitStage,
    Workflow,
    sample_clips,
    verify_dataset,
    verify_output,
)
from curator_dask.cli.app import app
from curator_dask.stages.base import RunContext
from tests.dedup.reference import random_unit
from tests.stages import builders
from tests.trees import results, times, tree


@pytest.fixture(scope="module")
def decided(tmp_path_factory, cluster) -> Path:
    """200 vectors in 6 clusters, and the decisions on them."""
    root = tmp_path_factory.mktemp("sample") / "out"
    X = random_unit(200, 4, 1, copies=0.3, noise=0.01)
    builders.write_vectors(root / "v" / "a.parquet", range(200), X)
    builders.score_vectors(root / "v", root, RunContext(cluster), 6)
    builders.identify_duplicates(root, RunContext(cluster), eps=0.01)
    return root


def sample(root: Path, size: int, context, **parameters):
    paths = {"duplicates_path": str(root / "d"), "kmeans_path": str(root / "k")}
    return SampleStage(str(root), size, **paths, **parameters).run(context=context)


def kept_of(folder: Path) -> list[str]:
    return (folder / "keep.txt").read_text().splitlines()


def test_exactly_n_of_the_kept_clips_balanced_over_the_clusters(decided, context, tmp_path):
    kept = set(kept_of(decided / "d"))
    result = sample(decided, 60, context, output_path=str(tmp_path / "s"))
    ids = kept_of(tmp_path / "s")
    assert ids == sorted(set(ids))
    assert len(ids) == 60
    assert set(ids) <= kept
    assert result.counts == {
        "kept": len(kept), "clips": 60, "not_sampled": len(kept) - 60, "clusters": 6, "clusters_sampled": 6
    }  # fmt: skip
    table = pq.read_table(tmp_path / "s" / "sample.parquet").to_pydict()
    assert table["id"] == ids
    cluster_of = {
        str(one): int(path.parent.name.removeprefix("centroid="))
        for path in (decided / "k").rglob("part-0.parquet")
        for one in pq.read_table(path, columns=["id"], partitioning=None)["id"].to_pylist()
    }
    assert table["cluster"] == [cluster_of[one] for one in ids]
    before, after = Counter(cluster_of[one] for one in kept), Counter(table["cluster"])
    could = [after[cluster] for cluster in before if after[cluster] < before[cluster]]
    assert max(after.values()) - min(could) <= 1
    shares = json.loads((tmp_path / "s" / "clusters.json").read_bytes())["clusters"]
    assert shares == [
        {"cluster": cluster, "kept": before[cluster], "sampled": after[cluster]} for cluster in sorted(before)
    ]
    histogram = result.histogram()
    assert sum(one["clusters"] for one in histogram) == 6
    assert (sum(one["kept"] for one in histogram), sum(one["sampled"] for one in histogram)) == (len(kept), 60)
    assert verify_output(str(tmp_path / "s")).findings == ()


def test_the_same_bytes_every_time_another_seed_another_sample_and_nothing_to_do_again(decided, context, tmp_path):
    for name in ("a", "b"):
        sample(decided, 40, context, output_path=str(tmp_path / name))
    sample(decided, 40, context, output_path=str(tmp_path / "c"), seed=1)
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert kept_of(tmp_path / "a") != kept_of(tmp_path / "c")
    before = times(tmp_path / "a")
    sample(decided, 40, context, output_path=str(tmp_path / "a"))
    assert times(tmp_path / "a") == before
    larger = sample(decided, 60, context, output_path=str(tmp_path / "a"))  # needs no overwrite
    assert larger.counts["clips"] == len(kept_of(tmp_path / "a")) == 60
    assert len(set(kept_of(tmp_path / "b")) - set(kept_of(tmp_path / "a"))) <= 6


def test_a_proportional_sample_and_a_limit_per_cluster(decided, context, tmp_path):
    proportional = sample(decided, 50, context, output_path=str(tmp_path / "p"), temperature=1.0)
    for one in proportional.clusters:
        assert abs(one.sampled - 50 * one.kept / proportional.counts["kept"]) < 1
    capped = sample(decided, 30, context, output_path=str(tmp_path / "c"), temperature=1.0, max_per_cluster=6)
    assert max(one.sampled for one in capped.clusters) <= 6


def test_impossible_samples_are_refused_and_a_dry_run_writes_nothing(decided, context, tmp_path):
    out = {"output_path": str(tmp_path / "s")}
    with pytest.raises(InputError, match=r"1,000 clips are wanted, and \d+ are kept: give a smaller size"):
        sample(decided, 1000, context, **out)
    with pytest.raises(
        InputError, match="12 with at most 2 of a cluster: give a smaller size or a larger max_per_cluster"
    ):
        sample(decided, 30, context, max_per_cluster=2, **out)
    for wrong in ({"temperature": 2.0}, {"max_per_cluster": 0}, {"seed": 0, "temperature": float("nan")}):
        with pytest.raises(ParameterError):
            SampleStage(str(decided), 3, **wrong)
    with pytest.raises(ParameterError, match=r"size \(0\)"):
        SampleStage(str(decided), 0)
    with pytest.raises(InputError, match=r"holds no keep.txt: give the output of a run"):
        sample_clips(str(tmp_path), 3)
    planned = sample(decided, 30, RunContext(context.cluster, dry_run=True), **out)
    assert planned.counts["clips"] == 30
    assert not (tmp_path / "s").exists()


def test_verify_counts_the_list(decided, context, tmp_path):
    sample(decided, 30, context, output_path=str(tmp_path / "s"))
    path = tmp_path / "s" / "keep.txt"
    path.write_text("".join(f"{one}\n" for one in kept_of(tmp_path / "s")[:-1]))
    kinds = {finding.kind for finding in verify_output(str(tmp_path / "s")).findings}
    assert "counts" in kinds


@pytest.fixture(scope="module")
def finished(few_videos, cluster, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sampled") / "out"
    Workflow(SplitStage(str(few_videos), str(out), fixed_stride_split_duration=2.0)).run(RunContext(cluster))
    return out


def export(out: Path, to: Path, cluster, **parameters):
    stage = ExportStage(str(out), str(to), duplicates_path=str(out / "duplicates"), **parameters)
    return stage.run(context=RunContext(cluster))


def test_a_sample_of_a_run_is_exported_by_its_list(finished, cluster, tmp_path):
    done = CliRunner().invoke(app, ["sample", str(finished), "--size", "2", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    kept = document["stages"][0]["counts"]["kept"]
    assert (
        sum(one["sampled"] for one in document["clusters"]) == sum(one["sampled"] for one in document["histogram"]) == 2
    )
    keep_list = finished / "sample" / "keep.txt"
    result = export(finished, tmp_path / "data", cluster, keep_list=str(keep_list))
    assert (result.counts["clips"], result.counts["clips_not_sampled"]) == (2, kept - 2)
    duplicates = str(finished / "duplicates")
    assert verify_dataset(str(tmp_path / "data"), duplicates_path=duplicates, keep_list=str(keep_list)).faults == ()
    assert verify_output(str(finished)).findings == ()
    (tmp_path / "other.txt").write_text(f"{kept_of(finished / 'sample')[0]}\nx\n")
    faults = verify_dataset(str(tmp_path / "data"), keep_list=str(tmp_path / "other.txt")).faults
    assert sorted(fault.what for fault in faults) == [
        "the clip is not on the list", "the clip is on the list, and no shard holds it"
    ]  # fmt: skip
    before = tree(tmp_path / "data")
    assert export(finished, tmp_path / "data", cluster, keep_list=str(keep_list)).num_run == 0
    assert tree(tmp_path / "data") == before


def test_a_list_that_names_other_clips_is_refused(finished, cluster, tmp_path):
    removed = (finished / "duplicates" / "remove.txt").read_text().splitlines()
    for ids, error in (
        ([removed[0]], "names 1 clip that would not be exported without it"),
        (["../../etc/passwd"], "names 1 clip that would not be exported without it"),
        ([], "names no clip"),
        ([kept_of(finished / "duplicates")[0]] * 2, "names 1 clip more than once"),
    ):
        (tmp_path / "list.txt").write_text("".join(f"{one}\n" for one in ids))
        with pytest.raises(InputError, match=error):
            export(finished, tmp_path / "data", cluster, keep_list=str(tmp_path / "list.txt"))
    with pytest.raises(InputError, match="there is no file"):
        export(finished, tmp_path / "data", cluster, keep_list=str(tmp_path / "gone.txt"))
    assert not (tmp_path / "data").exists()


def test_the_terminal_shows_the_histogram(finished):
    done = CliRunner().invoke(app, ["sample", str(finished), "--size", "2", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "clips of a cluster" in done.stdout
    assert "100.0%" in done.stdout


def test_a_sample_in_a_bucket(decided, s3, context):
    import fsspec

    bucket = fsspec.filesystem("s3", **s3.storage_options)
    for name in ("d", "k"):
        bucket.put(f"{decided / name}/", f"{s3.url}/sample/{name}/", recursive=True)
    stage = SampleStage(
        f"{s3.url}/sample", 20, duplicates_path=f"{s3.url}/sample/d", kmeans_path=f"{s3.url}/sample/k",
        storage_options=s3.storage_options,
    )  # fmt: skip
    assert stage.run(context=context).counts["clips"] == 20
    assert len(bucket.cat(f"{s3.url}/sample/sample/keep.txt").split()) == 20
