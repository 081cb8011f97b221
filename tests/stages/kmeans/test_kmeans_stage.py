"""The k-means stage through files: what every parameter does, awkward vectors, and results that depend on the data alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator_dask import FolderInUseError, InputError, KMeansStage, OpenFailureError, ParameterError
from curator_dask.data import vector_source
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.kmeans import start
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.stages.base import RunContext, StageResult
from curator_dask.stages.kmeans import held as kmeans_held
from curator_dask.stages.kmeans import sample as kmeans_sample
from curator_dask.stages.kmeans import write_clusters as kmeans_write
from curator_dask.stages.kmeans.ids import doubled_ids
from curator_dask.stages.kmeans.parameters import KMeansParameters
from tests.stages import builders
from tests.trees import results

Write = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, context: RunContext) -> Callable[..., Path]:
    """``run(source, k, **parameters)`` → a new output folder."""
    numbers = iter(range(100))

    def run(source: Path, k: int | None, *, on: RunContext = context, **parameters: object) -> Path:
        out = tmp_path / f"out-{next(numbers)}"
        KMeansStage(k, input_path=str(source), output_path=str(out), **parameters).run(context=on)
        return out

    return run


def vectors(num_rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    X = np.eye(dim)[random.integers(min(dim, 6), size=num_rows)] + 0.4 * random.standard_normal((num_rows, dim))
    return X.astype(np.float32)


def means(rows: np.ndarray, C: np.ndarray) -> np.ndarray:
    """One iteration of Lloyd, written plainly."""
    labels = ((rows[:, None] - C[None]) ** 2).sum(axis=2).argmin(axis=1)
    return np.stack([rows[labels == cluster].mean(axis=0) for cluster in range(len(C))])


def rows_of(out: Path) -> dict[object, dict[str, object]]:
    """Id → row with its cluster. Fails if an id is there twice or a file lies in the folder of no cluster."""
    rows: dict[object, dict[str, object]] = {}
    for path in sorted(out.glob("centroid=*")):
        (file,) = path.iterdir()
        for row in pq.ParquetFile(file).read().to_pylist():
            assert row["id"] not in rows
            rows[row["id"]] = row | {"cluster": int(path.name.removeprefix("centroid="))}
    return rows


def check(out: Path, expected: dict[object, np.ndarray]) -> dict[object, dict[str, object]]:
    """Check that every row is there once, of unit length, in the file of its nearest centroid, with its distances."""
    rows = rows_of(out)
    assert rows.keys() == expected.keys()
    C = np.load(out / "_kmeans_centroids.npy").astype(np.float64)
    assert np.isfinite(C).all()
    for identifier, vector in expected.items():
        row = rows[identifier]
        x = np.asarray(vector, np.float64)
        x /= np.linalg.norm(x)
        np.testing.assert_allclose(row["embedding"], x, atol=1e-7)
        distances = np.linalg.norm(x - C, axis=1)
        assert row["l2_dist_to_cent"] == pytest.approx(distances[row["cluster"]], abs=1e-6)
        assert distances[row["cluster"]] <= distances.min() + 1e-6
        c = C[row["cluster"]]
        assert row["cosine_dist_to_cent"] == pytest.approx(max(0, 1 - x @ c / np.linalg.norm(c)), abs=1e-6)
    return rows


class TestTypes:
    @pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.float64()], ids=str)
    @pytest.mark.parametrize(
        "lists", [pa.list_, pa.large_list, lambda value: pa.list_(value, 16)], ids=["list", "large", "fixed"]
    )
    def test_all_kinds_of_vectors_give_the_same_files(self, tmp_path, run, value, lists):
        X = vectors(40).astype(np.float16)  # exact in all three types
        for name, kind in (("plain", pa.list_(pa.float32())), ("other", lists(value))):
            numbers = pa.array(X.ravel().astype(kind.value_type.to_pandas_dtype()))
            column = pa.array(numbers.to_numpy().reshape(40, 16).tolist(), pa.list_(kind.value_type)).cast(kind)
            builders.write_vectors(tmp_path / name / "a.parquet", range(40), column)
        expected = run(tmp_path / "plain", 3)
        check(expected, dict(enumerate(X)))
        assert results(run(tmp_path / "other", 3)) == results(expected)

    @pytest.mark.parametrize("length", ["one", "any"])
    def test_json_lines_give_the_same_files_as_parquet(self, tmp_path, run, write_vectors, length):
        X = np.round(vectors(30) * 64) / 64
        if length == "one":
            X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
        (tmp_path / "json").mkdir()
        for number, part in enumerate(np.array_split(np.arange(30), 3)):
            lines = [json.dumps({"id": int(row), "embedding": X[row].tolist()}) for row in part]
            (tmp_path / "json" / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
        expected = run(write_vectors(list(range(30)), X), 4)
        assert results(run(tmp_path / "json", 4, input_filetype="jsonl")) == results(expected)

    def test_metadata_is_carried_with_its_row(self, tmp_path, run):
        X = vectors(50)
        for number, part in enumerate(np.array_split(np.random.default_rng(1).permutation(50), 4)):
            builders.write_vectors(
                tmp_path / "v" / f"{number}.parquet",
                [f"c{row}" for row in part],
                X[part],
                left=pa.array([None if row % 7 == 0 else int(row) for row in part], pa.int32()),
                tags=[[f"t{row}", "x"] for row in part],
                score=part / 8,
            )
        out = run(tmp_path / "v", 5, metadata_fields=["score", "left", "tags"])
        rows = check(out, {f"c{row}": X[row] for row in range(50)})
        for row in range(50):
            got = rows[f"c{row}"]
            assert got["score"] == row / 8
            assert got["left"] == (None if row % 7 == 0 else row)
            assert got["tags"] == [f"t{row}", "x"]
        (first, *_) = sorted(out.glob("centroid=*/*.parquet"))
        schema = pq.read_schema(first)
        assert schema.names == [
            "id", "embedding", "score", "left", "tags", "l2_dist_to_cent", "cosine_dist_to_cent",
        ]  # fmt: skip
        assert schema.field("embedding").type == pa.list_(pa.field("element", pa.float32()))
        assert schema.field("l2_dist_to_cent").type == schema.field("cosine_dist_to_cent").type == pa.float32()


class TestParameters:
    def test_an_array_is_where_it_starts(self, run, write_vectors):
        X = vectors(60)
        unit = X / np.linalg.norm(X, axis=1, keepdims=True)
        out = run(write_vectors(list(range(60)), X), 3, init=unit[:3], max_iter=1)
        labels = ((unit[:, None] - unit[None, :3]) ** 2).sum(axis=2).argmin(axis=1)
        means = [unit[labels == cluster].mean(axis=0) for cluster in range(3)]
        np.testing.assert_allclose(np.load(out / "_kmeans_centroids.npy"), means, atol=1e-6)

    def test_an_array_says_how_many_and_empty_ones_stay(self, run, write_vectors):
        C = np.vstack([np.eye(4), -np.eye(4)]).astype(np.float32)
        out = run(write_vectors([1, 2], np.eye(4)[:2]), None, init=C)
        np.testing.assert_array_equal(np.load(out / "_kmeans_centroids.npy"), C)
        assert {row["cluster"] for row in check(out, {1: np.eye(4)[0], 2: np.eye(4)[1]}).values()} == {0, 1}

    @pytest.mark.parametrize("init", [np.eye(3), np.full((2, 16), np.nan), None, [[1, 2], [3]]])
    def test_what_is_no_array_of_centroids_is_refused_at_once(self, init):
        with pytest.raises(ParameterError, match="init "):
            KMeansStage(2, input_path="x", output_path="y", init=init)

    def test_an_array_of_another_width_is_refused_before_all_rows_are_read(self, run, write_vectors):
        folder = write_vectors(list(range(9)), vectors(9), parts=2)
        (folder / "part-1.parquet").write_bytes(b"no Parquet file")  # only the first vectors are looked at
        with pytest.raises(ParameterError, match=r"init has shape \(2, 3\), but .* ask for \(2, 16\)"):
            run(folder, None, init=np.eye(2, 3))

    def test_it_goes_on_with_the_same_array_and_with_no_other(self, context, write_vectors, tmp_path):
        source, C = write_vectors(list(range(40)), vectors(40)), np.eye(3, 16)
        stage = partial(KMeansStage, 3, input_path=str(source), output_path=str(tmp_path / "k"))
        assert stage(init=C).run(context=context).num_run == 3
        assert stage(init=np.asfortranarray(C)).run(context=context).num_run == 0
        assert stage(init=C.astype(object)).run(context=context).num_run == 0
        with pytest.raises(FolderInUseError, match="with other parameters: init was"):
            stage(init=C[::-1]).run(context=context)

    @pytest.mark.parametrize("init", ["random", "k-means||"])
    def test_seeds_are_told_apart_and_repeat(self, run, write_vectors, init):
        source = write_vectors(list(range(80)), vectors(80), parts=2)
        once, again, other = (run(source, 6, init=init, max_iter=1, random_state=seed) for seed in (1, 1, 2))
        assert results(once) == results(again) != results(other)

    def test_n_init_keeps_the_best(self, run, write_vectors):
        source = write_vectors(list(range(80)), vectors(80))

        def inertia(out: Path) -> float:
            return float(json.loads((out / ".curator" / "kmeans" / "summary.json").read_text())["fit"]["inertia"])

        one, two, five = (inertia(run(source, 8, init="random", n_init=runs)) for runs in (1, 2, 5))
        assert one >= two >= five
        assert one > five

    def test_max_iter_and_tol_end_it(self, run, write_vectors):
        source = write_vectors(list(range(80)), vectors(80))

        def fit(**parameters: object) -> dict[str, object]:
            out = run(source, 8, init="random", **parameters)
            return json.loads((out / ".curator" / "kmeans" / "summary.json").read_text())["fit"]

        assert (fit(max_iter=2, tol=0)["n_iter"], fit(max_iter=2, tol=0)["converged"]) == (2, False)
        loose, strict = fit(tol=0.5), fit(tol=0)
        assert loose["converged"]
        assert strict["converged"]
        assert loose["n_iter"] < strict["n_iter"]

    @pytest.mark.parametrize("batch", [1, 7, 10**9])
    def test_max_samples_per_batch_changes_no_byte(self, run, write_vectors, batch):
        source = write_vectors(list(range(80)), vectors(80), parts=2)
        assert results(run(source, 6, max_samples_per_batch=batch)) == results(run(source, 6))

    def test_oversampling_draws_the_candidates_of_a_large_sample(self, run, write_vectors, monkeypatch):
        source = write_vectors(list(range(400)), vectors(400))

        def centroids(factor: float) -> bytes:
            out = run(source, 20, max_iter=1, oversampling_factor=factor)
            return (out / "_kmeans_centroids.npy").read_bytes()

        assert centroids(2.0) == centroids(3.0)
        monkeypatch.setattr(start, "SMALL_SAMPLE", 100)
        assert centroids(2.0) == centroids(2.0) != centroids(3.0)

    def test_verbose_tells_the_inertia(self, run, write_vectors, caplog):
        source = write_vectors(list(range(20)), vectors(20))
        run(source, 2, max_iter=1)
        assert "inertia" not in caplog.text
        run(source, 2, max_iter=1, verbose=True)
        assert caplog.text.count("kmeans: inertia") == 1

    def test_a_share_of_the_rows_that_is_none(self, run, write_vectors):
        with pytest.raises(InputError, match="fit_data_fraction .1e-09. leaves nothing of 9 rows to fit on"):
            run(write_vectors(list(range(9)), vectors(9)), 2, fit_data_fraction=1e-9)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_clusters", 2.5),
            ("n_clusters", "7"),
            ("embedding_dim", 0),
            ("max_iter", 1.0),
            ("n_init", 0),
            ("fit_rows_per_cluster", 0),
            ("max_samples_per_batch", 0),
            ("oversampling_factor", 0),
            ("oversampling_factor", float("nan")),
            ("oversampling_factor", float("inf")),
            ("fit_data_fraction", 0),
            ("fit_data_fraction", float("nan")),
            ("tol", float("nan")),
            ("random_state", -1),
            ("random_state", None),
        ],
    )
    def test_values_that_cannot_be_meant(self, name, value):
        with pytest.raises(ParameterError, match=name):
            KMeansStage(**{"n_clusters": 2, "input_path": "x", "output_path": "y", name: value})

    def test_numpy_integers_are_integers(self, run, write_vectors):
        source = write_vectors(list(range(9)), vectors(9))
        assert results(run(source, np.int64(2), max_iter=np.int32(5))) == results(run(source, 2, max_iter=5))


def close_places() -> np.ndarray:
    random = np.random.default_rng(0)
    places = np.repeat(random.standard_normal((3, 64)), 20, axis=0) + 0.03 * random.standard_normal((60, 64))
    X = places[random.integers(60, size=6000)] + 0.003 * random.standard_normal((6000, 64))
    return X.astype(np.float32)


class TestSampleOfALargeInput:
    """Above `SMALL_ROWS`, which is lowered here, the fit takes some rows per cluster, and at last twice as many."""

    @pytest.fixture(autouse=True)
    def large(self, monkeypatch):
        monkeypatch.setattr(kmeans_sample, "SMALL_ROWS", 500)
        monkeypatch.setattr(kmeans_sample, "LEAST_ROWS", 100)

    @staticmethod
    def fit(out: Path) -> dict[str, float]:
        return json.loads((out / ".curator" / "kmeans" / "summary.json").read_text())["fit"]

    def test_costs_little_and_is_on_record(self, run, write_vectors, caplog):
        X = vectors(6000)
        source = write_vectors(list(range(6000)), X, parts=3)
        with caplog.at_level("INFO"):
            sampled, whole = run(source, 8, fit_rows_per_cluster=60), run(source, 8, fit_data_fraction=1)
        check(sampled, dict(enumerate(X)))
        cost = self.fit(sampled)
        assert "kmeans: fitted on" in caplog.text
        assert 860 < cost["rows_fitted"] < 1060
        assert cost["rows"] == 6000
        l2 = np.array([row["l2_dist_to_cent"] for row in rows_of(sampled).values()])
        assert cost["inertia_per_row"] == pytest.approx((l2.astype(float) ** 2).mean(), rel=1e-6)
        assert cost["inertia_per_row_fitted"] == cost["inertia"] / cost["rows_fitted"]
        assert cost["inertia_per_row"] < 1.02 * self.fit(whole)["inertia"] / 6000
        assert "rows_fitted" not in self.fit(whole)

    def test_it_begins_on_a_few_rows_and_ends_on_more(self, run, write_vectors):
        """From an array and with one iteration, what the levels do can be computed apart."""
        X = vectors(3000)
        unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
        out = run(write_vectors(list(range(3000)), X), 4, init=unit[:4], fit_rows_per_cluster=30, max_iter=1)

        def rows_of_level(per_cluster: int) -> np.ndarray:
            return unit[sample_priority(np.arange(3000), 42) < np.uint64(int(4 * per_cluster / 3000 * 2.0**64))]

        assert self.fit(out)["rows_fitted"] == len(rows_of_level(60))
        assert self.fit(out)["n_iter"] == 2
        expected = means(rows_of_level(60), means(rows_of_level(7.5), unit[:4]))
        np.testing.assert_allclose(np.load(out / "_kmeans_centroids.npy"), expected, atol=1e-6)

    def test_iterations_among_near_centres_end_nearly_where_those_among_all_do(self, run, write_vectors, monkeypatch):
        X = vectors(6000, dim=40)
        source = write_vectors(list(range(6000)), X, parts=3)
        among_all = run(source, 30, fit_rows_per_cluster=20)
        monkeypatch.setattr(kmeans_held, "MANY_CENTRES", 30)
        among_near = run(source, 30, fit_rows_per_cluster=20)
        check(among_near, dict(enumerate(X)))
        assert results(among_near) != results(among_all)
        assert self.fit(among_near)["inertia_per_row"] < 1.02 * self.fit(among_all)["inertia_per_row"]

    def test_places_that_numbers_of_one_byte_cannot_tell_apart_are_told_apart(self, run, write_vectors, monkeypatch):
        """Three far groups of twenty places: the places of a group are nearer than one byte is off by."""
        X = close_places()
        monkeypatch.setattr(kmeans_held, "MANY_CENTRES", 60)
        source = write_vectors(list(range(6000)), X, parts=3)
        by_default = self.fit(run(source, 60, fit_rows_per_cluster=40))
        monkeypatch.setattr(kmeans_held, "tells_apart", lambda C, counts: True)
        by_one_byte = self.fit(run(source, 60, fit_rows_per_cluster=40))
        monkeypatch.setattr(kmeans_held, "MANY_CENTRES", 61)
        among_all = self.fit(run(source, 60, fit_rows_per_cluster=40))
        assert by_default["inertia_per_row"] < 1.05 * among_all["inertia_per_row"]
        assert by_one_byte["inertia_per_row"] > 1.1 * among_all["inertia_per_row"]

    def test_a_given_start_with_many_centres_where_no_rows_are(self, run, write_vectors, monkeypatch):
        """All rows are at close places; most centres of the start are elsewhere, and numbers of one byte tell these apart."""
        random = np.random.default_rng(0)
        X = close_places()
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        elsewhere = random.standard_normal((600, 64)).astype(np.float32) / 8
        start = np.concatenate([X[random.choice(6000, 20, replace=False)], elsewhere])
        source = write_vectors(list(range(6000)), X, parts=3)
        by_default = self.fit(run(source, None, init=start, fit_rows_per_cluster=1))
        monkeypatch.setattr(kmeans_held, "MANY_CENTRES", 1000)
        among_all = self.fit(run(source, None, init=start, fit_rows_per_cluster=1))
        assert by_default["inertia_per_row"] < 1.02 * among_all["inertia_per_row"]

    def test_a_step_over_all_rows_follows_where_memory_holds_too_few(self, run, write_vectors, monkeypatch):
        X = vectors(3000)
        unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
        share = 25 / 3000  # fewer than on the first of the levels
        monkeypatch.setattr(kmeans_sample, "FIT_BYTES", share * X.nbytes)
        assert kmeans_sample.choose_sample(KMeansParameters(4), 3000, 16) == (share, False, (share,), True)
        out = run(write_vectors(list(range(3000)), X), 4, init=unit[:4], fit_rows_per_cluster=30, max_iter=1)
        chosen = unit[sample_priority(np.arange(3000), 42) < np.uint64(int(share * 2.0**64))]
        assert self.fit(out)["rows_fitted"] == len(chosen)
        after_sample = means(chosen, unit[:4])
        np.testing.assert_allclose(np.load(out / "_kmeans_centroids.npy"), means(unit, after_sample), atol=1e-6)

    @pytest.mark.parametrize("many", [2, 256])
    def test_workers_and_files_do_not_matter(self, tmp_path, run, one_worker, write_vectors, monkeypatch, many):
        """Whether rows are compared with near centres only or, as they are few, with all of them."""
        monkeypatch.setattr(kmeans_held, "MANY_CENTRES", many)
        ids, X = [f"c{row}" for row in range(900)], vectors(900)
        source = write_vectors(ids, X, parts=5)
        expected = results(run(source, 5, fit_rows_per_cluster=40))
        assert results(run(source, 5, fit_rows_per_cluster=40, on=one_worker)) == expected
        order = np.random.default_rng(3).permutation(900)
        builders.write_vectors(tmp_path / "one" / "a.parquet", [ids[row] for row in order], X[order])
        assert results(run(tmp_path / "one", 5, fit_rows_per_cluster=40)) == expected

    def test_it_stops_where_iterations_gain_less_than_the_sample_costs(self, run, write_vectors, monkeypatch):
        source = write_vectors(list(range(3000)), vectors(3000))
        soon = run(source, 8, fit_rows_per_cluster=60)
        assert self.fit(run(source, 8, fit_rows_per_cluster=60, tol=0.5))["n_iter"] < self.fit(soon)["n_iter"]
        monkeypatch.setattr(kmeans_sample, "SETTLED", 0.0)
        assert self.fit(soon)["n_iter"] < self.fit(run(source, 8, fit_rows_per_cluster=60))["n_iter"]

    def test_rows_that_workers_keep_and_rows_that_are_read_anew_are_the_same(self, run, write_vectors, monkeypatch):
        source = write_vectors(list(range(900)), vectors(900), parts=3)
        kept = results(run(source, 5, fit_rows_per_cluster=40))
        monkeypatch.setattr(kmeans_sample, "FIT_BYTES", vectors(900).nbytes - 1)
        assert not kmeans_sample.choose_sample(KMeansParameters(5), 900, vectors(900).shape[1]).kept
        assert results(run(source, 5, fit_rows_per_cluster=40)) == kept

    def test_all_rows_where_it_asks_for_as_many(self, run, write_vectors):
        source = write_vectors(list(range(900)), vectors(900))
        whole = results(run(source, 5, fit_data_fraction=1))
        assert results(run(source, 5, fit_rows_per_cluster=180)) == whole
        assert results(run(source, 5, fit_rows_per_cluster=179)) != whole

    def test_the_number_of_clusters_is_that_of_all_rows(self, run, write_vectors):
        out = run(write_vectors(list(range(3000)), vectors(3000)), None, fit_rows_per_cluster=60)
        assert len(np.load(out / "_kmeans_centroids.npy")) == 3

    def test_the_default_is_no_other_identity(self):
        def identity(**parameters: object) -> dict[str, object]:
            return KMeansStage(2, input_path="x", output_path="y", **parameters).identity()

        assert "fit_rows_per_cluster" not in identity()
        assert identity(fit_rows_per_cluster=256) == identity()
        assert identity(fit_rows_per_cluster=64)["fit_rows_per_cluster"] == 64


class TestAwkwardVectors:
    @pytest.mark.parametrize(
        ("X", "k"),
        [
            (vectors(1), 1),
            (vectors(1), 5),
            (np.tile(vectors(1), (30, 1)), 4),
            (vectors(7), 7),
            (vectors(7), 20),
            (vectors(40), 1),
            (vectors(30)[:, :1] ** 2 + 1, 3),
            (np.repeat(vectors(3), 10, axis=0) * np.arange(1, 31)[:, None], 3),
        ],
        ids=["one row", "one row, k 5", "equal rows", "k = n", "k > n", "k = 1", "one dimension", "three places"],
    )
    @pytest.mark.parametrize("init", ["k-means||", "random"])
    def test_few_and_equal_rows(self, run, write_vectors, X, k, init):
        out = run(write_vectors(list(range(len(X))), X, parts=min(3, len(X))), k, init=init)
        check(out, dict(enumerate(X)))
        assert len(np.load(out / "_kmeans_centroids.npy")) == min(k, len(X))

    def test_bad_rows_in_every_partition_leave_the_good_ones_as_they_are(self, tmp_path, context, run, write_vectors):
        X = vectors(40)
        bad: list[object] = [None, [], [1.0], [1.0] * 17, [0.0] * 16, [float("nan")] + [1.0] * 15,
                             [float("-inf")] + [1.0] * 15, [None] + [1.0] * 15]  # fmt: skip
        for number, part in enumerate(np.array_split(np.arange(40), 4)):
            ids = [f"g{row}" for row in part] + [f"b{number}-{kind}" for kind in range(8)] + [None]
            rows = [*X[part].tolist(), *bad, [1.0] * 16]
            order = np.random.default_rng(number).permutation(len(ids))
            column = pa.array([rows[at] for at in order], pa.list_(pa.float32()))
            chosen = [ids[at] for at in order]
            builders.write_vectors(tmp_path / "dirty" / f"{number}.parquet", chosen, column, row_group_size=5)
        builders.write_vectors(tmp_path / "dirty" / "empty.parquet", pa.array([], pa.string()), column.slice(0, 0))
        out = run(tmp_path / "dirty", 4)
        check(out, {f"g{row}": X[row] for row in range(40)})
        rejects = pq.read_table(out / "_rejects.parquet").to_pylist()
        counted = {
            reason: sum(row["reason"] == reason for row in rejects) for row in rejects for reason in [row["reason"]]
        }
        assert counted == {
            "null": 8, "wrong-dimension": 12, "zero-length": 4, "not-finite": 8, "null-id": 4,
        }  # fmt: skip
        clean = results(run(write_vectors([f"g{row}" for row in range(40)], X), 4))
        assert {name: sha for name, sha in results(out).items() if name != "_rejects.parquet"} == clean

    def test_another_dimension_than_was_asked_for(self, run, write_vectors):
        with pytest.raises(InputError, match="no usable vectors among 9 rows .9 wrong-dimension"):
            run(write_vectors(list(range(9)), vectors(9)), 2, embedding_dim=8)

    def test_only_empty_files(self, tmp_path, run):
        nothing = pa.array([], pa.list_(pa.float32()))
        builders.write_vectors(tmp_path / "v" / "a.parquet", pa.array([], pa.string()), nothing)
        with pytest.raises(InputError, match="no vectors"):
            run(tmp_path / "v", 2)

    @pytest.mark.parametrize("fraction", [None, 1.0])
    def test_a_damaged_file_is_named(self, run, write_vectors, fraction):
        source = write_vectors(list(range(40)), vectors(40), parts=3)
        (source / "part-1.parquet").write_bytes((source / "part-1.parquet").read_bytes()[:-20])
        with pytest.raises(InputError, match=r"cannot read .*part-1\.parquet: it is no whole Parquet file"):
            run(source, 2, fit_data_fraction=fraction)

    @pytest.mark.parametrize(("fraction", "rows_at_once"), [(None, 1000), (0.5, 1000), (None, 5)])
    def test_doubled_ids_far_apart_are_found(self, run, write_vectors, monkeypatch, fraction, rows_at_once):
        monkeypatch.setattr(doubled_ids, "RANGE_ROWS", rows_at_once)
        ids = [*range(40), 3, 17]
        with pytest.raises(InputError, match=r"2 doubled ids, for example 17, 3"):
            run(write_vectors(ids, vectors(42), parts=6), 2, fit_data_fraction=fraction)


class TestFiles:
    def test_a_cluster_that_cannot_be_written_is_an_error(self, tmp_path, context, write_vectors):
        source = write_vectors(list(range(40)), vectors(40))
        stage = KMeansStage(3, input_path=str(source), output_path=str(tmp_path / "k"))
        stage.run(context=context)
        folder = tmp_path / "k" / "centroid=1"
        before = (folder / "part-0.parquet").read_bytes()
        (folder / "part-0.parquet").unlink()
        folder.rmdir()
        folder.write_text("in the way")
        with pytest.raises(OpenFailureError, match="1 of 3 buckets of clusters could not be written"):
            stage.run(context=context)
        folder.unlink()
        result = stage.run(context=context)
        assert result.counts["rows"] == 40
        assert (folder / "part-0.parquet").read_bytes() == before
        assert not list((tmp_path / "k" / ".curator" / "kmeans" / "buckets").rglob("*.arrow"))

    def test_bucket_files_of_a_run_that_was_killed_at_its_end_are_removed(self, tmp_path, context, write_vectors):
        stage = KMeansStage(
            2, input_path=str(write_vectors(list(range(9)), vectors(9))), output_path=str(tmp_path / "k")
        )
        stage.run(context=context)
        left = tmp_path / "k" / ".curator" / "kmeans" / "buckets" / "000000.arrow"
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"rows")
        assert stage.run(context=context).num_run == 0
        assert not left.exists()


class TestTheDataAlone:
    """The output depends on the data one_worker: not on files, partitions, buckets, workers or the order of rows."""

    @pytest.mark.parametrize("fraction", [None, 0.6])
    def test_workers(self, run, one_worker, write_vectors, fraction):
        source = write_vectors(list(range(300)), vectors(300), parts=5)
        two = results(run(source, 9, fit_data_fraction=fraction))
        assert results(run(source, 9, fit_data_fraction=fraction, on=one_worker)) == two

    @given(st.data())
    @settings(
        max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    )
    def test_layouts(self, tmp_path_factory, context, one_file, data):
        X = vectors(200, dim=8)
        order = np.array(data.draw(st.permutations(range(200))))
        cuts = sorted(data.draw(st.lists(st.integers(0, 200), max_size=8)))
        group = data.draw(st.integers(1, 60))
        limits = data.draw(st.tuples(st.sampled_from([1, 2000, 1 << 30]), st.sampled_from([1, 3, 16])))
        assert self.result(tmp_path_factory.mktemp("layout"), context, X, order, cuts, group, *limits) == one_file

    @pytest.fixture
    def one_file(self, tmp_path, context) -> dict[str, str]:
        return self.result(tmp_path, context, vectors(200, dim=8), np.arange(200), [], 200, 1 << 30, 16)

    def result(
        self, root: Path, context: RunContext, X: np.ndarray, order: np.ndarray, cuts: list[int], row_group: int,
        chunk_bytes: int, buckets: int,
    ) -> dict[str, str]:  # fmt: skip
        for number, part in enumerate(np.split(order, cuts)):
            ids, column = pa.array(part, pa.int64()), pa.array(X[part].tolist(), pa.list_(pa.float32()))
            builders.write_vectors(root / "v" / f"{number}.parquet", ids, column, row_group_size=row_group)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vector_source, "CHUNK_BYTES", chunk_bytes)
            patch.setattr(kmeans_write, "BUCKETS", buckets)
            result: StageResult = KMeansStage(
                5, input_path=str(root / "v"), output_path=str(root / "k"), fit_data_fraction=0.7, max_iter=4
            ).run(context=context)
        assert result.counts["rows"] == 200
        return results(root / "k")


class TestManyClusters:
    """From `GROUPED_FROM` clusters on, which is lowered here, rows are compared with the nearest groups of centroids."""

    @pytest.fixture(autouse=True)
    def few_are_many(self, monkeypatch):
        monkeypatch.setattr(kmeans_held, "GROUPED_FROM", 64)

    @pytest.fixture
    def source(self, write_vectors) -> Path:
        return write_vectors(list(range(3000)), blobs(3000), parts=3)

    @staticmethod
    def summary(out: Path) -> dict[str, Any]:
        return json.loads((out / ".curator" / "kmeans" / "summary.json").read_text())["fit"]

    def test_the_recall_is_measured_and_on_record(self, run, source, caplog):
        with caplog.at_level("INFO"):
            out = run(source, 100, max_iter=3)
        search = self.summary(out)["search"]
        assert search["rows_tried"] == 3000
        labels = {key: row["cluster"] for key, row in rows_of(out).items()}
        unit = blobs(3000)
        exact = assign(unit / np.linalg.norm(unit, axis=1, keepdims=True), np.load(out / "_kmeans_centroids.npy"))
        assert search["recall"] == np.mean([labels[key] == label for key, label in enumerate(exact)]) >= 0.99
        assert "get their nearest centroid" in caplog.text

    def test_exact_assignment_compares_all_and_is_another_identity(self, run, source):
        out = run(source, 100, max_iter=3, exact_assignment=True)
        check(out, dict(enumerate(blobs(3000))))
        assert "search" not in self.summary(out)
        exact = KMeansStage(9, input_path="v", output_path="k", exact_assignment=True).identity()
        assert {**KMeansStage(9, input_path="v", output_path="k").identity(), "exact_assignment": True} == exact

    def test_vectors_that_no_group_would_suit_are_compared_with_all(self, run, write_vectors):
        X = vectors(3000, dim=40)
        out = run(write_vectors(list(range(3000)), X), 100, max_iter=2)
        check(out, dict(enumerate(X)))
        assert "search" not in self.summary(out)

    def test_workers_and_batches_do_not_matter(self, run, one_worker, source):
        expected = results(run(source, 100, max_iter=3))
        assert results(run(source, 100, max_iter=3, max_samples_per_batch=17, on=one_worker)) == expected


def blobs(num_rows: int, dim: int = 24) -> np.ndarray:
    random = np.random.default_rng(4)
    middles = random.standard_normal((40, dim))
    return (middles[random.integers(40, size=num_rows)] + 0.3 * random.standard_normal((num_rows, dim))).astype(
        np.float32
    )
