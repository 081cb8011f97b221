"""`identify --rule overlap`, through files: the overlaps as the align stage writes them, and what identify makes of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage, IncrementalStage, InputError, ParameterError
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from tests.dedup.reference import random_unit
from tests.stages import builders

Overlap = tuple[Any, Any, tuple[float, float], float, str]
"""id, other id, the stretch in the first, the offset and the kind."""
FILM = [f"film-{number}" for number in range(3)]
COPY = [f"copy-{number}" for number in range(3)]
CLIPS = [
    *((name, "film.mp4", 10.0 * number) for number, name in enumerate(FILM)),
    *((name, "copy.mp4", 10.0 * number) for number, name in enumerate(COPY)),
    ("single", "other.mp4", 0.0),
]
"""id, source and start; all are ten seconds long."""
SHIFTED: list[Overlap] = [
    ("copy-0", "film-0", (0, 6), -4.0, "shifted"), ("film-1", "copy-0", (0, 4), -6.0, "shifted"),
    ("copy-1", "film-1", (0, 6), -4.0, "shifted"), ("film-2", "copy-1", (0, 4), -6.0, "shifted"),
    ("copy-2", "film-2", (0, 6), -4.0, "copy"),
]  # fmt: skip
"""The copy begins at the fourth second of the film."""


def write_overlaps(
    root: Path, clips: Sequence[tuple[Any, str, float]], overlaps: Sequence[Overlap], motion: float = 0.9
) -> None:
    folder = root / "overlaps"
    folder.mkdir()
    ids, sources, starts = zip(*clips, strict=True)
    spans = {"id": ids, "source": sources, "start_s": starts, "end_s": [start + 10 for start in starts]}
    pq.write_table(pa.table({name: list(values) for name, values in spans.items()}), folder / "clips.parquet")
    rows = [
        {
            "id": one, "other_id": other, "start_s": span[0], "end_s": span[1], "other_start_s": span[0] - offset,
            "other_end_s": span[1] - offset, "offset_s": offset, "picture": 0.96, "motion": motion, "energy": 0.2,
            "kind": kind,
        }
        for one, other, span, offset, kind in overlaps
    ]  # fmt: skip
    scores = {name: pa.float32() for name in ("picture", "motion", "energy")}
    times = {name: pa.float64() for name in ("start_s", "end_s", "other_start_s", "other_end_s", "offset_s")}
    kind = pa.array(ids).type
    schema = pa.schema({"id": kind, "other_id": kind, **times, **scores, "kind": pa.string()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "overlaps.parquet")


def write_scores(root: Path, context: RunContext, clips: Sequence[tuple[Any, str, float]], **pairwise: Any) -> None:
    """Vectors at random, clustered and scored: what overlaps is not known to them."""
    source = builders.write_vectors(
        root / "v" / "a.parquet", [one[0] for one in clips], random_unit(len(clips), 4, 0),
        quality=[900 if one[1] == "film.mp4" else 100 for one in clips],
    )  # fmt: skip
    more = {"kmeans": {"metadata_fields": ["quality"]}, "pairwise": pairwise}
    builders.score_vectors(source, root, context, 2, **more)


@pytest.fixture
def film(tmp_path: Path, context: RunContext) -> Path:
    write_overlaps(tmp_path, CLIPS, SHIFTED)
    write_scores(tmp_path, context, CLIPS)
    return tmp_path


def stage(root: Path, out: str = "d", **parameters: Any) -> IdentifyDuplicatesStage:
    given = {"rule": "overlap", "overlaps_path": str(root / "overlaps"), **parameters}
    return IdentifyDuplicatesStage(str(root / "p"), str(root / "k"), str(root / out), **given)


def removed(root: Path, out: str = "d") -> list[str]:
    return (root / out / "remove.txt").read_text().split()


def test_a_shifted_copy_goes_and_its_covers_are_named(film, context):
    """Which of the two videos comes first depends on the vectors here, and it is one of the two as a whole."""
    result = stage(film, min_cover=0.6).run(context=context)
    kept = set((film / "d" / "keep.txt").read_text().split())
    assert set(removed(film)) in ({"copy-0", "copy-1", "copy-2"}, {"film-1", "film-2", "film-0"})
    assert result.counts["rows"] == 7 == len(kept) + len(removed(film))
    assert (result.counts["kept"], result.counts["removed"], result.counts["orphans"]) == (len(kept), 7 - len(kept), 0)


@pytest.fixture
def ranked(tmp_path: Path, context: RunContext) -> Path:
    """The film has the better quality, and the best quality is to be kept."""
    from curator_dask.dedup.ranking.keep_rules import parse_keep

    write_overlaps(tmp_path, CLIPS, SHIFTED)
    write_scores(tmp_path, context, CLIPS, ranking_strategy=parse_keep("quality:desc"))
    return tmp_path


def test_the_table_of_duplicates(ranked, context):
    result = stage(ranked).run(context=context)
    assert result.counts == {"rows": 7, "kept": 5, "removed": 2, "orphans": 0, "groups": 1}
    assert not result.warnings
    rows = {row["id"]: row for row in pq.read_table(ranked / "d" / "duplicates.parquet").to_pylist()}
    assert sorted(rows) == ["copy-0", "copy-1"]  # the film ends before the last one does
    first = rows["copy-0"]
    assert (first["kept_id"], first["kept_ids"], first["kind"]) == ("film-0", ["film-0", "film-1"], "shifted")
    assert (first["offset_s"], first["cover"], first["eps"], first["reason"]) == (-4.0, 1.0, None, "near-duplicate")
    assert first["kept_score"] == pytest.approx(0.9)
    with (ranked / "d" / "duplicates.csv").open(newline="") as file:
        cells = {row["id"]: row for row in csv.DictReader(file)}
    assert (cells["copy-1"]["kept_ids"], cells["copy-1"]["offset_s"]) == ("film-1;film-2", "-4")
    groups = pq.read_table(ranked / "d" / "groups.parquet").to_pylist()
    assert {row["id"] for row in groups} == {"copy-0", "copy-1", *FILM}
    assert next(row["id"] for row in groups if row["kept"]) == groups[0]["representative_id"]
    assert {row["nearest_kept_cosine"] for row in groups} == {None}


def test_the_offset_is_that_of_the_removed_clip(tmp_path, context):
    """Second t of b shows what second t + 1 of a shows, whichever of the two comes first in the file."""
    from curator_dask.dedup.ranking.keep_rules import parse_keep

    clips = [("a", "film.mp4", 0.0), ("b", "copy.mp4", 0.0), ("c", "copy.mp4", 20.0)]
    write_overlaps(tmp_path, clips, [("a", "b", (1, 10), 1.0, "copy"), ("c", "a", (0, 9), -1.0, "copy")])
    write_scores(tmp_path, context, clips, ranking_strategy=parse_keep("quality:desc"))
    stage(tmp_path).run(context=context)
    rows = pq.read_table(tmp_path / "d" / "duplicates.parquet").to_pylist()
    assert [(row["id"], row["offset_s"], row["cover"]) for row in sorted(rows, key=lambda row: row["id"])] == [
        ("b", -1.0, 0.9), ("c", -1.0, 0.9)
    ]  # fmt: skip


def test_the_scope_chooses_pairs(tmp_path, context):
    """A still camera: three moments that look alike. Between videos there is one copy."""
    clips = [(f"moment-{number}", "film.mp4", 10.0 * number) for number in range(3)] + [("copy", "copy.mp4", 0.0)]
    alike: list[Overlap] = [(f"moment-{number}", "moment-0", (0, 10), 0.0, "copy") for number in (1, 2)]
    write_overlaps(tmp_path, clips, [*alike, ("copy", "moment-2", (0, 10), 0.0, "identical")])
    write_scores(tmp_path, context, clips)
    result = stage(tmp_path).run(context=context)
    assert removed(tmp_path) == ["moment-1", "moment-2"]
    assert result.counts["sources_mostly_removed"] == 1
    (warning,) = result.warnings
    assert "for example film.mp4 (2 of 3)" in warning
    assert "--scope cross, or a higher --min-cover" in warning
    for scope, gone in (("cross", ["copy"]), ("same", ["moment-1", "moment-2"])):
        result = stage(tmp_path, scope, scope=scope).run(context=context)
        assert removed(tmp_path, scope) == gone
        assert bool(result.warnings) == (scope == "same")


def test_target_keep_leaves_out_weak_overlaps(ranked, context):
    one = stage(ranked, target_keep=0.8)
    assert one.run(context=context).counts["kept"] == 7
    assert one.criterion() == "cover 0.8 by overlaps of strength 0.901 and more"
    other = stage(ranked, "e", target_keep=0.5)
    assert other.run(context=context).counts["kept"] == 5
    assert other.criterion() == "cover 0.8"
    with pytest.raises(InputError, match="decided by the rule overlap, which knows no eps"):
        other.decided_eps()


def test_integer_ids_and_clips_that_align_does_not_know(tmp_path, context):
    clips = [(number, f"{number}.mp4", 0.0) for number in range(5)]
    write_scores(tmp_path, context, clips)
    write_overlaps(tmp_path, [*clips[:4], (77, "gone.mp4", 0.0)],
                   [(0, 3, (0, 10), 0.0, "identical"), (77, 1, (0, 10), 0.0, "copy")])  # fmt: skip
    result = stage(tmp_path).run(context=context)
    assert result.counts["removed"] == 1
    table = pq.read_table(tmp_path / "d" / "duplicates.parquet")
    assert table.schema.field("kept_ids").type == pa.list_(pa.int64())
    assert {table["id"][0].as_py(), *table["kept_ids"][0].as_py()} == {0, 3}


def test_any_number_of_workers_gives_the_same_bytes(ranked, context, one_worker):
    stage(ranked, "two").run(context=context)
    stage(ranked, "one").run(context=one_worker)
    files = sorted(path.relative_to(ranked / "two") for path in (ranked / "two").rglob("*") if path.is_file())
    assert len(files) > 8
    for path in files:
        assert (ranked / "two" / path).read_bytes() == (ranked / "one" / path).read_bytes(), path


def test_a_second_run_does_nothing(ranked, context):
    stage(ranked).run(context=context)
    before = {path: path.stat().st_mtime_ns for path in (ranked / "d").rglob("*") if path.is_file()}
    again = stage(ranked).run(context=context)
    assert (again.num_run, again.num_skipped) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (ranked / "d").rglob("*") if path.is_file()} == before


def test_what_a_reference_shows_is_removed(ranked, context):
    """The reference is the output of another run: a clip that it kept, and one that it removed."""
    path = ranked / "overlaps"
    ids = {"id": ["eval-kept", "eval-gone"], "source": ["eval.mp4"] * 2, "start_s": [0.0, 10], "end_s": [10.0, 20]}
    pq.write_table(pa.concat_tables([pq.read_table(path / "clips.parquet"), pa.table(ids)]), path / "clips.parquet")
    overlaps = pq.read_table(path / "overlaps.parquet")
    row = {
        **overlaps.to_pylist()[0],
        "start_s": 0.0,
        "end_s": 10.0,
        "other_start_s": 0.0,
        "other_end_s": 10.0,
        "offset_s": 0.0,
    }
    more = [{**row, "id": "eval-kept", "other_id": "film-0"}, {**row, "id": "eval-gone", "other_id": "single"},
            {**row, "id": "eval-gone", "other_id": "eval-kept"}]  # fmt: skip
    pq.write_table(pa.concat_tables([overlaps, pa.Table.from_pylist(more, overlaps.schema)]), path / "overlaps.parquet")
    builders.write_clip_index(ranked / "eval", [{"id": "eval-kept"}, {"id": "eval-gone"}])
    (ranked / "eval" / "duplicates").mkdir()
    (ranked / "eval" / "duplicates" / "remove.txt").write_text("eval-gone\n")
    before = {one: one.read_bytes() for one in (ranked / "eval").rglob("*") if one.is_file()}

    counts = stage(ranked, against_path=str(ranked / "eval")).run(context=context).counts
    assert {one: one.read_bytes() for one in (ranked / "eval").rglob("*") if one.is_file()} == before
    rows = {row["id"]: row for row in pq.read_table(ranked / "d" / "duplicates.parquet").to_pylist()}
    assert (counts["rows"], counts["removed"], counts["kept"], counts["in_reference"]) == (7, 2, 5, 1)
    # film-0 is gone now, so copy-0 stays; copy-1 still goes for the film's other clips.
    assert {one: (row["kept_ids"], row["reason"]) for one, row in rows.items()} == {
        "film-0": (["eval-kept"], "in-reference"), "copy-1": (["film-1", "film-2"], "near-duplicate"),
    }  # fmt: skip
    with pytest.raises(InputError, match="holds no clips.parquet: give the output of another run as against_path"):
        stage(ranked, "e", against_path=str(ranked / "k")).run(context=context)


def test_several_references_are_told_apart_by_the_paths_that_align_took(ranked, context):
    """Each reference has a clip of the same id. The first one removed it."""
    path = ranked / "overlaps"
    overlaps = pq.read_table(path / "overlaps.parquet")
    row = {**overlaps.to_pylist()[0], "other_id": "eval", "start_s": 0.0, "end_s": 10.0, "offset_s": 0.0}
    row |= {"other_start_s": 0.0, "other_end_s": 10.0}
    more = pa.Table.from_pylist([{**row, "id": "film-0"}, {**row, "id": "single"}], overlaps.schema)
    number = pa.array([*[0] * len(overlaps), 1, 2], pa.int32())
    table = pa.concat_tables([overlaps, more]).append_column("other_reference_number", number)
    pq.write_table(table, path / "overlaps.parquet")
    for name in ("one", "two"):
        builders.write_clip_index(ranked / name, [{"id": "eval"}])
    (ranked / "one" / "duplicates").mkdir()
    (ranked / "one" / "duplicates" / "remove.txt").write_text("eval\n")
    roots: list[str | int] = [str(ranked / name / "model_embd_parquet") for name in ("one", "two")]
    StageState(Folder(str(path)), "align").claim({"reference_path": roots})

    stage(ranked, against_path=[str(ranked / "two"), str(ranked / "one")]).run(context=context)
    rows = {row["id"]: row["reason"] for row in pq.read_table(ranked / "d" / "duplicates.parquet").to_pylist()}
    assert rows == {"single": "in-reference", "copy-0": "near-duplicate", "copy-1": "near-duplicate"}
    with pytest.raises(InputError, match="align did not compare with .*three"):
        builders.write_clip_index(ranked / "three", [{"id": "eval"}])
        stage(ranked, "e", against_path=str(ranked / "three")).run(context=context)


def test_new_vectors_without_tracks_beside_such_a_run_need_eps_and_a_rule(ranked, context):
    stage(ranked).run(context=context)
    new = builders.write_vectors(ranked / "n" / "a.parquet", ["new-0", "new-1"], random_unit(2, 4, 1))

    def beside(**parameters: Any) -> IncrementalStage:
        folders = (str(ranked / name) for name in ("k", "d", "added"))
        return IncrementalStage(str(new), *folders, **parameters)

    messages = {"holds no tracks": {}, "knows no eps.*--rule pairwise": {"eps": 0.01}, "give eps": {"rule": "pairwise"}}
    for message, given in messages.items():
        with pytest.raises(InputError, match=message):
            beside(**given).run(context=context)
    assert not (ranked / "added").exists()
    assert beside(eps=0.01, rule="pairwise").run(context=context).counts["rows"] == 2


def test_no_overlaps_at_all(tmp_path, context):
    write_overlaps(tmp_path, CLIPS, [])
    write_scores(tmp_path, context, CLIPS)
    assert stage(tmp_path).run(context=context).counts == {
        "rows": 7, "kept": 7, "removed": 0, "orphans": 0, "groups": 0
    }  # fmt: skip
    assert pq.read_table(tmp_path / "d" / "duplicates.parquet").num_rows == 0


def test_files_that_do_not_fit_are_refused(film, context):
    with pytest.raises(InputError, match=r"holds no clips\.parquet: give the output of the align stage"):
        stage(film, "e", overlaps_path=str(film / "k")).run(context=context)
    path = film / "overlaps" / "overlaps.parquet"
    rows = pq.read_table(path)
    for name, value, message in (
        ("kind", "twin", "unknown kind 'twin'"), ("motion", float("nan"), "without a number"),
        ("id", "nobody", "names no two of the 7 clips"),
    ):  # fmt: skip
        at = rows.schema.get_field_index(name)
        pq.write_table(
            rows.set_column(at, rows.schema.field(at), pa.array([value] * 5, rows.schema.field(at).type)), path
        )
        with pytest.raises(InputError, match=message):
            stage(film, f"{name}-wrong").run(context=context)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"overlaps_path": None}, "rule 'overlap' needs overlaps_path"),
        ({"eps": 0.1}, "rule 'overlap' knows no eps, got 0.1"),
        ({"source_field": "video"}, "source_field"),
        ({"recall_sample": 5}, "recall_sample counts pairs within eps"),
        ({"min_cover": 0.0}, "min_cover must be above 0"),
        ({"rule": "greedy"}, r"overlaps_path \(.*\) is for the rule overlap only, and rule is \'greedy\'"),
    ],
    ids=str,
)
def test_parameters_that_do_not_fit(tmp_path, parameters, message):
    with pytest.raises(ParameterError, match=message):
        stage(tmp_path, **parameters)
