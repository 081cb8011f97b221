"""``similar_clips`` against one matrix product over all vectors."""

from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curator_dask as cd
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


def test_the_nearest_of_many_clusters_hold_what_is_alike(tmp_path: Path) -> None:
    """3,000 rows in 100 clusters of 10 groups each; 32 clusters are searched. The product of all with all knows the truth."""
    rng = np.random.default_rng(3)
    C = rng.normal(size=(100, 32)).astype(np.float32)
    X = np.repeat(np.repeat(C, 3, axis=0) + rng.normal(size=(300, 32), scale=0.8), 10, axis=0)
    X = (X + rng.normal(size=X.shape, scale=0.4)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    C /= np.linalg.norm(C, axis=1, keepdims=True)
    labels = np.argmin(((X[:, None] - C[None]) ** 2).sum(axis=2), axis=1)
    for k in range(100):
        folder = tmp_path / "kmeans" / f"centroid={k}"
        folder.mkdir(parents=True)
        rows = np.flatnonzero(labels == k)
        pq.write_table(
            pa.table({"id": [f"{i:04}" for i in rows], "embedding": list(X[rows])}), folder / "part-0.parquet"
        )
    np.save(tmp_path / "kmeans" / "_kmeans_centroids.npy", C)
    same = 0
    for row in range(0, 3000, 75):
        scores = X @ X[row]
        scores[row] = -2
        true = {f"{i:04}" for i in np.argsort(-scores)[:9]}
        same += len(true & {clip for clip, _ in cd.similar_clips(str(tmp_path), f"{row:04}", 9)})
        assert {clip for clip, _ in cd.similar_clips(str(tmp_path), f"{row:04}", 9, exact=True)} == true
    assert same / (40 * 9) >= 0.99
    with pytest.raises(cd.InputError, match="the vectors here have 32 numbers and that of the clip 5"):
        nearest_rows(str(tmp_path), np.ones(5), 3)


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
