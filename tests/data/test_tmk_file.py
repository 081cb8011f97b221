"""Hash files of TMK+PDQF as a source of vectors."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import InputError, KMeansStage
from curator_dask.data.tmk_file import MAGIC, read_tmk_mean
from curator_dask.models import load_model
from curator_dask.video.frames.read import read_ready_clip

VIDEOS = ("doorknob-hd-no-bar", "pattern-sd-grey-bar", "pattern-sd-with-small-logo-bar")


def made(mean, *, periods=2, coefficients=3, dimension=None) -> bytes:
    mean = np.asarray(mean, "<f4")
    counts = struct.pack("<5i", 15, periods, coefficients, len(mean) if dimension is None else dimension, 10)
    return MAGIC + counts + bytes(4 * (periods + coefficients)) + mean.tobytes() + bytes(100)


def test_the_mean_is_read():
    np.testing.assert_array_equal(read_tmk_mean(made([1.5, -2, 3])), np.float32([1.5, -2, 3]))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "does not begin"),
        (b"RIFF" + bytes(500), "does not begin"),
        (MAGIC + bytes(4), "does not begin"),
        (made([1.0], periods=-1), "-1 periods"),
        (made([1.0], dimension=0), "0 numbers"),
        (made([1.0], dimension=1 << 30), "1073741824 numbers"),
        (made([1.0], dimension=200), "ends within"),
    ],
    ids=["empty", "another file", "cut header", "negative", "no numbers", "huge", "cut mean"],
)
def test_what_is_no_such_file(data, told):
    with pytest.raises(ValueError, match=told):
        read_tmk_mean(data)


def test_a_damaged_file_is_named(tmp_path, context):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.tmk").write_bytes(made([1, 2]))
    (folder / "torn.tmk").write_bytes(made([1, 2])[:40])
    with pytest.raises(InputError, match=r"torn\.tmk as a TMK file: it ends within the mean"):
        KMeansStage(1, input_path=str(folder), output_path=str(tmp_path / "k"), input_filetype="tmk").run(
            context=context
        )


@pytest.mark.shared
def test_files_of_the_reference_are_clustered(shared_dir, tmp_path, context):
    videos = shared_dir / "golden" / "tmk" / "videos"
    folder = tmp_path / "in" / "phone"
    folder.mkdir(parents=True)
    for name in VIDEOS:
        shutil.copyfile(videos / f"{name}.tmk", folder / f"{name}.tmk")
    stage = KMeansStage(1, input_path=str(folder.parent), output_path=str(tmp_path / "k"), input_filetype="tmk")
    assert stage.run(context=context).counts["rows"] == 3
    rows = pq.read_table(next((tmp_path / "k").glob("centroid=*/*.parquet"))).to_pylist()
    assert [row["id"] for row in rows] == [f"phone/{name}" for name in VIDEOS]
    model = load_model("pdqf_tmk_level1")
    (ours,) = model.embed([read_ready_clip(videos / f"{VIDEOS[1]}.mp4", model.frame_rule)])
    assert np.dot(rows[1]["embedding"], ours) > 0.999
