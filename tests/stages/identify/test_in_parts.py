"""The join of decisions in parts gives what the join in memory gives, bytes of the parts included: random clusters."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.data.decisions.row_index import id_digests
from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets import shared
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.decisions.by_hand import decide_by_hand, ids_by_hand
from curator_dask.stages.identify.decisions.decision_table import write_decisions_of_unit
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.part_rows import PartsOfDecisions
from curator_dask.stages.identify.decisions.parts import part_spans
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.in_parts import join_in_parts as in_parts
from curator_dask.stages.identify.output.sending import Sending, send_part
from curator_dask.stages.identify.settling.crossing import CrossingFiles
from curator_dask.stages.identify.settling.join_decisions import join_decisions
from curator_dask.stages.identify.settling.named_rows import Names, find_in_buckets, write_names
from curator_dask.stages.identify.settling.part import cut_into_parts
from curator_dask.stages.identify.settling.settled_parts import SettledParts
from curator_dask.stages.workplace import Workplace, workplace
from tests.stages import builders
from tests.stages.identify.in_memory import clip_facts, counts_of, warn_of_emptied_sources
from tests.stages.identify.test_join_decisions import Cluster


def some_clusters(rng: np.random.Generator, as_int: bool = False) -> list[Cluster]:
    found: list[Cluster] = []
    for number in range(int(rng.integers(1, 9))):
        size = int(rng.integers(1, 9))
        before = [one for cluster in found for one in cluster.ids]
        rows = rng.permutation(size)[: rng.integers(0, 4)].tolist() if before else []
        matches = {row: rng.choice(before).item() for row in rows}
        found.append(Cluster(number * 3, size, set(rng.integers(0, size, 3).tolist()), matches, as_int=as_int))
    return found


def written(state: StageState, clusters: list[Cluster], rule: Rule) -> UnitTables:
    for one in clusters:
        key = key_of_cluster("cluster", one.number)
        result = write_decisions_of_unit(state.folder, state.beside_marker(key), one.table(rule), rule)
        state.write(UnitRecord.of(key, "made", result))
    return UnitTables(state, "cluster", tuple(one.number for one in clusters))


def clip_index(root: Path, ids: list[Any], rng: np.random.Generator) -> Folder:
    """Most of the clips, one twice, and some that are no rows; one without a source."""
    some = [*(str(one) for one in ids if rng.random() < 0.9), "nobody", *map(str, ids[:1])]
    clips: list[dict[str, Any]] = [
        {"id": one, "source_video": f"{at // 4}.mp4" if at != 2 else None, "start_s": float(at), "end_s": at + 1.5}
        for at, one in enumerate(some)
    ]
    return Folder(builders.write_clip_index(root, clips))


def in_memory(
    place: Workplace, tables: UnitTables, rule: Rule, clips: Folder, by_hand: dict[str, Override]
) -> tuple[Any, ...]:
    """The files of the parts, the counts and the warnings."""
    decisions = join_decisions(tables, rule)
    told = decide_by_hand(decisions, by_hand, decisions.rows.index.find(ids_by_hand(by_hand)))
    facts = clip_facts(decisions.rows, decisions.removed, clips)
    parts = PartsOfDecisions(decisions, facts, True)
    spans, state = part_spans(decisions.rows.starts), StageState(place.folder, "in-memory")
    for number, span in enumerate(spans):
        sending = Sending.of(place, state, number, len(spans), decisions.rows, rule.eps, "", {})
        send_part(sending, parts.rows(*span))
    files = made_parts(state, len(spans))
    num_emptied, warnings = warn_of_emptied_sources(decisions, facts.sources)
    counts = {"rows": len(decisions.removed), **counts_of(decisions)}
    return files, counts, told, num_emptied, warnings


@pytest.mark.parametrize("name", ["pairwise", "greedy"])
@pytest.mark.parametrize(
    ("seed", "as_int"), [*((seed, False) for seed in range(25)), *((seed, True) for seed in range(8))]
)
def test_as_in_memory(tmp_path, monkeypatch, context, seed, as_int, name):
    monkeypatch.setattr(decision_parts, "PART_ROWS", 5)
    monkeypatch.setattr(shared, "ROWS_OF_SHARED_BUCKET", 6)
    rng, rule = np.random.default_rng(seed), Rule(name, 0.1)
    state, clusters = StageState(Folder(str(tmp_path / "d")), "identify"), some_clusters(rng, as_int)
    tables, ids = written(state, clusters, rule), [one for cluster in clusters for one in cluster.ids]
    clips = clip_index(tmp_path / "clips", ids, rng)
    choice = {str(one): Override(str(rng.choice(["keep", "remove"]))) for one in ids if rng.random() < 0.15}
    by_hand = {**choice, "not there": Override("keep")}
    monkeypatch.setattr(in_parts, "write_parts", lambda *_: None)
    parts = cut_into_parts(tables, {one.number: len(one.ids) for one in clusters})
    with workplace(context, state, here=True) as place:
        found = SettledParts(place, parts, DecidedClusters(tables, ("made",), rule, None), by_hand)
        joined = in_parts._InParts(place, state, found, clips).join()
        files, counts, told, num_emptied, warnings = in_memory(place, tables, rule, clips, by_hand)
    assert made_parts(state, len(parts)) == files
    assert len(files) == len(parts)
    assert (joined.counts, joined.by_hand) == (counts, told)
    emptied = joined.emptied
    assert (0 if emptied is None else emptied.number) == num_emptied
    assert warnings == (() if emptied is None else (emptied.warning(rule),))


@pytest.mark.parametrize("name", ["pairwise", "greedy"])
def test_the_client_hands_on_no_more_where_all_rows_have_duplicates_in_other_clusters(
    tmp_path, monkeypatch, context, name
):
    handed_on = [
        size_of_messages(tmp_path / f"{size}", monkeypatch, context, Rule(name, 0.1), size) for size in (50, 2000)
    ]
    assert max(handed_on) - min(handed_on) < 500


def size_of_messages(root: Path, monkeypatch: Any, context: RunContext, rule: Rule, size: int) -> int:
    """Bytes of all tasks and of what they return, for three clusters of a size, each of whose rows matches one before it."""
    monkeypatch.setattr(decision_parts, "PART_ROWS", size)
    clusters = [Cluster(number, size, set(), {}) for number in range(3)]
    for before, cluster in itertools.pairwise(clusters):
        cluster.matches = dict(enumerate(before.ids))
    state = StageState(Folder(str(root)), "identify")
    tables, clips = (
        written(state, clusters, rule),
        clip_index(root / "clips", clusters[0].ids, np.random.default_rng(0)),
    )
    parts = cut_into_parts(tables, dict.fromkeys(range(3), size))
    assert len(parts) == 3
    sizes, each = list[int](), Workplace.each

    def weighed(place: Workplace, work: Any, tasks: Any, *common: object) -> list[Any]:
        results = each(place, work, tasks, *common)
        sizes.append(len(pickle.dumps((tasks, common, results))))
        return results

    with monkeypatch.context() as patch, workplace(context, state, here=True) as place:
        patch.setattr(Workplace, "each", weighed)
        patch.setattr(in_parts, "write_parts", lambda *_: None)
        decided = DecidedClusters(tables, ("made",), rule, None)
        joined = in_parts._InParts(place, state, SettledParts(place, parts, decided, None), clips).join()
    assert joined.counts["removed"] >= size
    return sum(sizes)


def test_ids_that_no_row_has_are_told_apart_from_rows(tmp_path, context):
    folder, kind = Folder(str(tmp_path)), pa.string()
    places = []
    for number, ids in enumerate((["a", "b"], ["c", "b", "d"])):
        table = pa.table(
            {
                **dict(zip(("high", "low"), id_digests(pa.chunked_array([ids])).T, strict=True)),
                "row": np.arange(len(ids)) + 2 * number,
            }
        )
        places.append(write_shared(folder, f"rows-{number}", table, bucket_of(table["high"].to_numpy(), 2), 2))
    max_ids = (np.zeros(2, np.int64), np.array([1, 4]), pa.array(["d", "b"]))
    kept_ids = (np.ones(3, np.int64), np.array([0, 1, 3]), pa.array(["y", "x", "y"]))
    write_names(folder, "names", [max_ids, kept_ids], kind, 2)
    write_shared(folder, "crossing", pa.table({"row": [1, 2, 4]}), np.zeros(3, np.int64), 1)
    with workplace(context, StageState(folder, "identify"), here=True) as place:
        here = replace(place, folder=folder)
        names = Names(folder, tuple(places), ("names",), kind)
        found, by_hand = find_in_buckets(here, names, 2, {"b": Override("keep"), "x": Override("keep")})
    crossing = CrossingFiles(folder, ("crossing",), found, None, kind, 5).read()

    assert by_hand.tolist() == [1, -1]
    assert {name: [one.tolist() for one in pair] for name, pair in crossing.named.items()} == {
        "max_row": [[1, 4], [4, 1]],
        "kept_row": [[0, 1, 3], [5, 6, 5]],
    }
    assert crossing.others.to_pylist() == ["y", "x"]
    assert crossing.matches.tolist() == [4, 2, 1]
    assert crossing.touching().tolist() == [0, 1, 2, 3, 4, 5, 6]


def made_parts(state: StageState, num_parts: int) -> list[bytes]:
    """The files of parts that are not in their places yet."""
    return [state.folder.read_bytes(state.beside_marker(f"part-{number:06d}")) for number in range(num_parts)]


def test_what_is_nowhere_is_an_error(tmp_path, context):
    rule, state = Rule("pairwise", 0.1), StageState(Folder(str(tmp_path)), "identify")
    tables = written(state, [Cluster(0, 2, set(), {1: "9-9"})], rule)
    with pytest.raises(Exception, match="names '9-9', which is in no cluster"):
        in_parts.join_in_parts(context, state, DecidedClusters(tables, ("made",), rule, None), None, None)


def test_rows_in_shared_buckets_keep_their_order(tmp_path):
    folder, numbers = Folder(str(tmp_path)), np.array([2, 0, 2, 3])
    paths = [
        write_shared(folder, f"{name}.arrow", pa.table({"x": [name + one for one in "pqrs"]}), numbers, 4)
        for name in "ab"
    ]
    found = [read_shared(folder, paths, number) for number in range(4)]
    assert [one and one["x"].to_pylist() for one in found] == [
        ["aq", "bq"],
        None,
        ["ap", "ar", "bp", "br"],
        ["as", "bs"],
    ]
    empty = write_shared(folder, "c.arrow", pa.schema([("x", pa.string())]).empty_table(), np.zeros(0, np.int64), 2)
    assert read_shared(folder, [empty], 1) is None
