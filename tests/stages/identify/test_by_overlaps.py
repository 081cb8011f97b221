"""The rule `overlap` in tasks gives what it gives in memory, bytes of the parts included: random clips and overlaps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.buckets import shared
from curator_dask.files.folder import Folder
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.by_overlaps import decided_groups
from curator_dask.stages.identify.by_overlaps import join_overlaps as by_overlaps
from curator_dask.stages.identify.by_overlaps.decided_groups import ToDecide
from curator_dask.stages.identify.by_overlaps.join_overlaps import join_overlaps
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.decisions.by_hand import decide_by_hand, ids_by_hand
from curator_dask.stages.identify.decisions.decision_table import with_digests, write_unit_table
from curator_dask.stages.identify.decisions.dropped import DroppedRows
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.output.part_files import put_part
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.source_groups import connect, tables_of_align
from curator_dask.stages.identify.source_groups.staying import StayingSet
from curator_dask.stages.workplace import workplace
from tests.stages import builders
from tests.stages.identify import in_memory as whole

RANKINGS = [
    RankingStrategy.of("hard"), parse_keep("quality:desc"), parse_keep("note:asc,quality:asc"), parse_keep("flag:desc"),
    RankingStrategy.random(7),
]  # fmt: skip
VALUES: dict[str, Any] = {"quality": [0.1, 0.7, 0.2, None], "note": ["a", "b", None], "flag": [True, False, None]}
"""The columns that rank, and what they hold. All other ones hold distances."""
OTHERS = [f"ref-{number}" for number in range(6)]
"""Clips of two references, which removed one each."""


@dataclass
class Made:
    """Random rows, overlaps, and how they are decided on."""

    root: Path
    what: ToDecide
    by_hand: dict[str, Override]

    @property
    def state(self) -> StageState:
        return self.what.tables.state


def make(root: Path, seed: int) -> Made:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(8, 60))
    ids = [f"clip-{number:03d}" for number in rng.permutation(num)]
    strategy = RANKINGS[seed % len(RANKINGS)]
    state = StageState(Folder(str(root / "d")), "identify")
    tables = write_rows(state, ids, strategy, rng)
    sources = [f"{number}.mp4" for number in rng.integers(0, int(rng.integers(2, num)), num)]
    has_reference = seed % 3 == 0
    write_clips(root / "o", ids, sources, rng, has_reference=has_reference)
    write_overlaps(root / "o", ids, rng, has_reference=has_reference)
    against = write_references(root, rng) if has_reference else []
    dropped = write_dropped(state, [one for one in ids if rng.random() < 0.2]) if seed % 4 == 1 else None
    clips = [{"id": one, "source_video": f"/{source}", "start_s": 1.0, "end_s": 3.0}
             for one, source in zip(ids, sources, strict=True) if rng.random() < 0.9]  # fmt: skip
    rule = OverlapRule(
        float(rng.choice([0.5, 0.8])), str(rng.choice(["all", "cross", "all" if against else "same"])),
        float(rng.choice([0, 0.6, 0.9])) if rng.random() < 0.5 else None, strategy,
    )  # fmt: skip
    by_hand = {one: Override(str(rng.choice(["keep", "remove"]))) for one in ids if rng.random() < 0.2}
    by_hand = {**by_hand, "nobody": Override("keep")} if rng.random() < 0.7 else {}
    what = ToDecide(
        tables, Folder(str(root / "o")), rule, against, dropped,
        Folder(builders.write_clip_index(root / "clips", clips)), by_hand,
    )  # fmt: skip
    return Made(root, what, by_hand)


def write_rows(state: StageState, ids: list[str], strategy: RankingStrategy, rng: np.random.Generator) -> UnitTables:
    """The rows of some clusters. A row may be most similar to one of another cluster, or to one that is nowhere."""
    cuts = np.unique([0, len(ids), *rng.integers(0, len(ids), 4)]).tolist()
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        size = stop - start
        row = np.where(rng.random(size) < 0.8, rng.integers(0, size, size), -1)
        named = [None if at >= 0 else str(rng.choice([*ids, "nowhere"])) for at in row.tolist()]
        columns = {"id": ids[start:stop], "max_row": row, "max_id": pa.array(named, pa.string())}
        names = () if strategy.strategy == "random" else strategy.metadata_cols
        ranks = {f"rank_{at}": pa.array([some(rng, VALUES.get(name, [0.2, 0.3])) for _ in range(size)], kind_of(name))
                 for at, name in enumerate(names)}  # fmt: skip
        score = rng.random(size).astype(np.float32)
        key = key_of_cluster("cluster", 2 * number)
        table = with_digests(
            {**{name: pa.array(one) for name, one in columns.items()}, "cosine_sim_score": score, **ranks}
        )
        result = write_unit_table(state.folder, state.beside_marker(key), table, {"rows": size})
        state.write(UnitRecord.of(key, "made", result))
    return UnitTables(state, "cluster", tuple(2 * number for number in range(len(cuts) - 1)))


def kind_of(name: str) -> Any:
    return {"note": pa.string(), "flag": pa.bool_()}.get(name, pa.float64())


def some(rng: np.random.Generator, values: list[Any]) -> Any:
    return values[rng.integers(len(values))]


def write_clips(
    folder: Path, ids: list[str], sources: list[str], rng: np.random.Generator, *, has_reference: bool
) -> None:
    """Most of the clips, in another order, one of them twice, and one that is no row."""
    folder.mkdir()
    known = [at for at in rng.permutation(len(ids)).tolist() if rng.random() < 0.93]
    lines = [(ids[at], sources[at], 10.0 * rng.integers(3), False) for at in [*known, *known[:1]]]
    lines += [("nobody", sources[0], 0.0, False)]
    lines += [(one, sources[0], 0.0, True) for one in OTHERS] if has_reference else []
    table = pa.table({
        "id": [line[0] for line in lines], "source": [line[1] for line in lines], "start_s": [line[2] for line in lines],
        "end_s": [line[2] + 10 for line in lines],
    })  # fmt: skip
    if has_reference:
        table = table.append_column("reference", pa.array([line[3] for line in lines]))
    pq.write_table(table, folder / "clips.parquet", row_group_size=11)


def write_overlaps(folder: Path, ids: list[str], rng: np.random.Generator, *, has_reference: bool) -> None:
    lines: list[dict[str, Any]] = []
    for _ in range(int(rng.integers(len(ids) // 2, 2 * len(ids)))):
        one, other, number = str(rng.choice(ids)), str(rng.choice([*ids, "nobody"])), 0
        if has_reference and rng.random() < 0.4:
            other, number = str(rng.choice([*OTHERS, ids[0]])), int(rng.integers(1, 3))
        start, end, offset = rng.choice([0.0, 0, 2]), rng.choice([6.0, 10]), rng.choice([0.0, -2, 1.5])
        kind = str(rng.choice(["identical", "copy", "shifted", "mirrored", "still", "still"]))
        lines.append({
            "id": one, "other_id": other, "start_s": start, "end_s": end, "other_start_s": start - offset,
            "other_end_s": end - offset, "offset_s": offset, "picture": rng.random(), "motion": rng.random(),
            "kind": kind, "other_reference_number": number,
        })  # fmt: skip
    table = pa.Table.from_pylist(lines)
    table = table if has_reference else table.drop_columns(["other_reference_number"])
    pq.write_table(table, folder / "overlaps.parquet", row_group_size=7)


def write_references(root: Path, rng: np.random.Generator) -> list[StayingSet]:
    for at, name in enumerate(("one", "two")):
        builders.write_clip_index(root / name, [{"id": one} for one in OTHERS if rng.random() < 0.8])
        (root / name / "duplicates").mkdir()
        (root / name / "duplicates" / "remove.txt").write_text(f"{OTHERS[at]}\n")
    return [
        StayingSet.of_output(0, 2, Folder(str(root / "two"))),
        StayingSet.of_output(1, 1, Folder(str(root / "one"))),
    ]


def write_dropped(state: StageState, ids: list[str]) -> DroppedRows:
    (path := Path(state.folder.root) / "dropped.parquet").parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), path)
    return DroppedRows(state.folder, "made")


@dataclass
class Files:
    """Writes the parts in this process, and keeps their bytes."""

    written: list[bytes]

    def write(self, _: Any, state: StageState, done: Any, sendings: Any, *more: Any, **given: Any) -> None:
        self.written.clear()
        for one in sendings:
            put_part(one.task)
            self.written.append(state.folder.read_bytes(one.task.path))


def in_memory(context: Any, made: Made) -> tuple[Any, ...]:
    """Write the parts; returns the counts, what became of decisions by hand, warnings, and the least strength that counted."""
    what = made.what
    stay = None if what.dropped is None else what.dropped.stay
    staying = [whole.StayingClips(whole.kept_ids(one), one.number) for one in what.against]
    found = whole.decide_by_overlaps(what.tables, what.overlaps, what.rule, staying, stay)
    decisions = found.decisions
    told = decide_by_hand(decisions, made.by_hand, decisions.rows.index.find(ids_by_hand(made.by_hand)))
    assert decisions.covered is not None
    whole.write_decisions(
        context, made.state, decisions, whole.clip_facts(decisions.rows, decisions.removed, what.clips)
    )
    counts = {"rows": len(decisions.removed), **whole.counts_of(decisions)}
    if what.against:
        counts["in_reference"] = int((decisions.removed & decisions.covered.in_reference()).sum())
    return counts, told, whole.warn_of_emptied_sources(decisions, found.sources)[1], found.min_strength


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, chunks, buckets and lists of a few rows."""
    monkeypatch.setattr(decision_parts, "PART_ROWS", 7)
    for module in (shared, tables_of_align):
        monkeypatch.setattr(module, "ROWS_OF_SHARED_BUCKET", 9)
    monkeypatch.setattr(connect, "LISTS_AT_ONCE", 2)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    files = Files([])
    for module in (whole, by_overlaps):
        monkeypatch.setattr(module, "write_parts", files.write)
    place = decided_groups.workplace
    monkeypatch.setattr(decided_groups, "workplace", lambda context, state, **_: place(context, state, here=True))
    return files


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(30))
def test_as_in_memory(tmp_path, context, files, seed):
    made = make(tmp_path, seed)
    counts, told, warnings, min_strength = in_memory(context, made)
    expected = list(files.written)
    joined = join_overlaps(context, made.state, made.what)
    assert files.written == expected
    assert (joined.counts, joined.by_hand, joined.min_strength) == (counts, told, min_strength)
    rule = Rule("overlap", 0.0, made.what.rule.scope)
    assert warnings == (() if joined.emptied is None else (joined.emptied.warning(rule),))


@pytest.mark.usefixtures("small")
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, context, one_worker):
    found = []
    for workers, name in ((context, "two"), (one_worker, "one")):
        made = make(tmp_path / name, 3)
        joined = join_overlaps(workers, made.state, made.what)
        parts = sorted((tmp_path / name / "d" / "decisions").iterdir())
        assert len(parts) > 2
        assert not (tmp_path / name / "d" / ".curator" / "identify" / "buckets").exists()
        found.append(([path.read_bytes() for path in parts], joined))
    assert found[0] == found[1]


def test_sources_that_overlaps_join_are_in_one_group(tmp_path, context):
    """A chain of a hundred sources, in lists of two pairs each, and a source that no overlap names."""
    nodes, folder = np.random.default_rng(1).integers(0, 2**64, 101, np.uint64), Folder(str(tmp_path))
    with workplace(context, StageState(folder, "identify"), here=True) as place:
        paths = [
            connect.write_links(place.folder, f"{at}.arrow", nodes[at : at + 2], nodes[at + 1 : at + 3])
            for at in range(0, 98, 2)
        ]
        labels = connect.Labels(place.folder, connect.connect(place, paths), 8)
        groups = labels.groups_of(nodes)
        assert groups[-1] == -1
        assert len(set(groups[:99].tolist())) == 1
        assert groups[0] >= 0
        nothing = connect.connect(place, [])
        assert connect.Labels(place.folder, nothing, 8).groups_of(nodes[:2]).tolist() == [-1, -1]
