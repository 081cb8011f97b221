"""``similar_clips`` against one matrix product over all vectors."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curator_dask as cd
from curator_dask.data.similar.coded_clusters import CodedClusters, coded_batch, coded_parts
from curator_dask.data.similar.nearest import nearest_rows


def test_it_finds_what_a_full_product_finds(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    for k in range(3):
        rows = range(k, 300, 3)
        folder = tmp_path / "kmeans" / f"centroid={k}"
        folder.mkdir(parents=True)
        pq.write_table(
            pa.table({"id": [f"c{i:03}" for i in rows], "embedding": list(X[list(rows)])}), folder / "part-0.parquet"
        )
    scores = X @ X[7]
    scores[7] = -2
    found = cd.similar_clips(str(tmp_path), "c007", 5)
    assert [clip for clip, _ in found] == [f"c{i:03}" for i in np.argsort(-scores)[:5]]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1][:5], atol=1e-6)
    with pytest.raises(cd.InputError, match="no clip 'x'"):
        cd.similar_clips(str(tmp_path), "x")


def test_a_folder_without_vectors_is_named(tmp_path: Path) -> None:
    with pytest.raises(cd.InputError, match="no clustered vectors"):
        cd.similar_clips(str(tmp_path), "x")


def planted(num_clusters: int, width: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit rows, 30 for each cluster in 3 groups of 10; centroids; and the nearest centroid of each row."""
    rng = np.random.default_rng(3)
    C = rng.normal(size=(num_clusters, width)).astype(np.float32)
    X = np.repeat(np.repeat(C, 3, axis=0) + rng.normal(size=(3 * num_clusters, width), scale=0.8), 10, axis=0)
    X = (X + rng.normal(size=X.shape, scale=0.4)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    C /= np.linalg.norm(C, axis=1, keepdims=True)
    return X, C, np.argmin(((X**2).sum(axis=1)[:, None] - 2 * X @ C.T + (C**2).sum(axis=1)), axis=1)


def write_clusters(kmeans: Path, X: np.ndarray, C: np.ndarray, labels: np.ndarray, *, coded: bool) -> None:
    parts = []
    for k in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == k)
        table = pa.table({"id": [f"{i:05}" for i in rows], "embedding": list(X[rows])})
        (kmeans / f"centroid={k}").mkdir(parents=True)
        pq.write_table(table, kmeans / f"centroid={k}" / "part-0.parquet")
        parts.append((k, coded_batch(table["id"], X[rows])))
    np.save(kmeans / "_kmeans_centroids.npy", C)
    units = kmeans / ".curator" / "kmeans" / "units"
    units.mkdir(parents=True)
    for bucket in range(7 if coded else 0):
        (units / f"bucket-{bucket}.arrow").write_bytes(b"".join(coded_parts(parts[bucket::7])))


def truly_alike(X: np.ndarray, row: int, top: int) -> set[str]:
    scores = X @ X[row]
    scores[row] = -2
    return {f"{i:05}" for i in np.argsort(-scores)[:top]}


def test_the_nearest_of_many_clusters_hold_what_is_alike(tmp_path: Path) -> None:
    """12,000 rows in 400 clusters, of which 100 are searched. The product of all with all knows the truth."""
    X, C, labels = planted(400)
    write_clusters(tmp_path / "kmeans", X, C, labels, coded=True)
    rows = range(0, len(X), 211)
    same = 0
    for row in rows:
        true = truly_alike(X, row, 9)
        same += len(true & {clip for clip, _ in cd.similar_clips(str(tmp_path), f"{row:05}", 9)})
        exact = cd.similar_clips(str(tmp_path), f"{row:05}", 9, exact=True)
        assert {clip for clip, _ in exact} == true
        np.testing.assert_allclose([score for _, score in exact], np.sort(X @ X[row])[-2:-11:-1], atol=1e-6)
    assert same / (len(rows) * 9) >= 0.99
    with pytest.raises(cd.InputError, match="the vectors here have 32 numbers and that of the clip 5"):
        nearest_rows(str(tmp_path), np.ones(5), 3)
    with pytest.raises(cd.InputError, match="no clip '99999'"):
        cd.similar_clips(str(tmp_path), "99999")


def test_clusters_without_codes_are_searched_whole(tmp_path: Path) -> None:
    """As k-means of another program writes them, or where a part of the codes is not there."""
    X, C, labels = planted(60)
    write_clusters(tmp_path / "with" / "kmeans", X, C, labels, coded=True)
    write_clusters(tmp_path / "without" / "kmeans", X, C, labels, coded=False)
    for row in (0, 700, 1799):
        found = cd.similar_clips(str(tmp_path / "without"), f"{row:05}", 9)
        assert {clip for clip, _ in found} == truly_alike(X, row, 9)
        assert [clip for clip, _ in cd.similar_clips(str(tmp_path / "with"), f"{row:05}", 9)] == [
            clip for clip, _ in found
        ]
    units = tmp_path / "with" / "kmeans" / ".curator" / "kmeans" / "units"
    (units / "bucket-3.arrow").write_bytes(b"damaged")
    assert CodedClusters.of(tmp_path / "with" / "kmeans") is None
    assert {clip for clip, _ in cd.similar_clips(str(tmp_path / "with"), "00700", 9)} == truly_alike(X, 700, 9)


def test_the_file_of_codes_is_put_together_without_a_copy_of_them() -> None:
    X = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    batches = [coded_batch(pa.chunked_array([[f"{number}-{i}" for i in range(50)]]), X) for number in (3, 1)]

    parts = coded_parts([(3, batches[0]), (1, batches[1])])

    file = pa.ipc.open_file(b"".join(parts))
    assert [file.get_batch(at).equals(batch) for at, batch in enumerate(batches)] == [True, True]
    for batch in batches:
        codes = np.frombuffer(batch["code"].buffers()[1], np.uint8)
        assert any(np.shares_memory(np.frombuffer(part, np.uint8), codes) for part in parts)


def test_equal_rows_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    X, C, labels = planted(60)
    X[100:150] = X[100]
    write_clusters(
        tmp_path / "kmeans",
        X,
        C,
        np.where((np.arange(len(X)) >= 100) & (np.arange(len(X)) < 150), labels[100], labels),
        coded=True,
    )
    found = cd.similar_clips(str(tmp_path), "00100", 5)
    assert [clip for clip, _ in found] == ["00101", "00102", "00103", "00104", "00105"]


def test_our_k_means_leaves_codes_that_are_used(tmp_path: Path, context: cd.RunContext) -> None:
    """Of every type of ids; a file of a cluster that is not that of the codes is named."""
    X, _, _ = planted(20)
    for name, ids in {
        "text": [f"c{i}" for i in range(len(X))],
        "bytes": [i.to_bytes(16) for i in range(len(X))],
        "numbers": range(len(X)),
    }.items():
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"id": pa.array(list(ids)), "embedding": list(X)}), tmp_path / name / "rows.parquet")
        out = tmp_path / f"out-{name}"
        cd.KMeansStage(8, input_path=str(tmp_path / name), output_path=str(out / "kmeans")).run(context=context)
        coded = CodedClusters.of(out / "kmeans")
        assert coded is not None
        assert len(coded.clusters) == 8
        wanted = {"text": "c33", "bytes": "00000000-0000-0000-0000-000000000021", "numbers": "33"}[name]
        found = {clip for clip, _ in cd.similar_clips(str(out), wanted, 9)}
        texts = {"text": "c{}", "bytes": "00000000-0000-0000-0000-{:012x}", "numbers": "{}"}[name]
        assert found == {texts.format(int(row)) for row in truly_alike(X, 33, 9)}
    for file in (out / "kmeans").glob("centroid=*/*.parquet"):
        pq.write_table(pq.read_table(file, partitioning=None).slice(0, 1), file)
    with pytest.raises(cd.InputError, match=r"part-0\.parquet has 1 row and had more"):
        nearest_rows(str(out), X[33], 9)


class TestFiles:
    """A video or picture of the user beside the clips of a run."""

    def test_a_clip_finds_itself_and_a_picture_its_clip(
        self, few_videos: Path, context: cd.RunContext, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        cd.SplitStage(str(few_videos), str(out)).run(context=context)
        embed = cd.EmbedStage(str(out), video_dir=str(few_videos))
        embed.run(context=context)
        cd.KMeansStage(1, input_path=embed.output.url, output_path=str(out / "kmeans")).run(context=context)
        clip = min((out / "clips").glob("*.mp4"))
        alike = {name for name, _ in cd.similar_clips(str(out), clip.stem, 1)} | {clip.stem}
        own = cd.similar_clips(str(out), str(clip), 2)
        assert {name for name, _ in own} == alike
        assert own[0][1] > 0.99
        with av.open(str(clip)) as container:
            picture = next(container.decode(video=0)).to_image()
        for name in ("shot.png", "shot.jpg"):
            picture.save(tmp_path / name)
            assert cd.similar_clips(str(out), str(tmp_path / name), 1)[0][0] in alike
        (tmp_path / "no.png").write_bytes(b"no picture")
        with pytest.raises(cd.MediaError, match=r"no\.png' cannot be read as a picture"):
            cd.similar_clips(str(out), str(tmp_path / "no.png"))
        with pytest.raises(cd.InputError, match="holds no vectors that a model made"):
            cd.similar_clips(str(out), str(clip), embedding_algorithm="internvideo2")
        with pytest.raises(cd.InputError, match=r"no clip 'gone\.mp4' has a vector in .*, and no file has this name"):
            cd.similar_clips(str(out), "gone.mp4")


def test_a_search_imports_no_pandas(tmp_path: Path) -> None:
    """It would take as long as the search itself."""
    X, C, labels = planted(20)
    write_clusters(tmp_path / "kmeans", X, C, labels, coded=True)
    program = (
        "import sys, curator_dask as cd; print(len(cd.similar_clips(sys.argv[1], '00007', 5)), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]
