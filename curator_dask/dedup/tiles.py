"""The most similar row, tile by tile: the machine under the pairwise stage.

The product of two tiles is a float32 GEMM. Its last bits depend on the BLAS, the threads and the shape of the tile, so
it only finds the candidates: every pair whose product lies within the rounding bound of the best. Candidates are
measured again in float64. A cosine is a whole number of steps of 2**-24 (what float32 holds from 0.5 up); cosines
that round to the same step are tied, and the lowest index wins. Scores and indices are therefore the same for any
tile size, any number of threads, and on CPU and GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.xp import Array, array_module, row_blocks, to_host

STEPS: Final = 2.0**24
"""Steps of a cosine from 0 to 1."""
NOTHING: Final = -np.inf
DENSE: Final = 4  # candidates per row from which one float64 GEMM costs less than measuring pair after pair
PAIR_BLOCK: Final = 4096


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of one side of a comparison.

    Attributes:
        rows: (N, D) float32, unit rows.
        positions: (N,) int64 ascending, on the host: the place of each row in the ranking.
        lengths: (N,) float64, the rows' exact lengths (float32 rows are unit only to about 1e-7).
    """

    rows: Array
    positions: NDArray[np.int64]
    lengths: Array

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Side:
        on_device = part if isinstance(part, slice) else array_module(self.rows).asarray(part)
        return Side(self.rows[on_device], self.positions[part], self.lengths[on_device])


class Tile(NamedTuple):
    """Some references, the index of the first, and whether some of them come too late for some of the queries."""

    side: Side
    start: int
    masked: bool


def side(rows: Array, positions: NDArray[np.int64] | None = None) -> Side:
    """A ``Side`` of ``rows``, at the places 0, 1, 2, … unless given."""
    xp = array_module(rows)
    rows = xp.ascontiguousarray(rows, dtype=np.float32)
    lengths = xp.empty(rows.shape[0])
    for part in row_blocks(rows.shape[0], PAIR_BLOCK):
        wide = rows[part].astype(np.float64)
        lengths[part] = xp.sqrt((wide * wide).sum(axis=1))
    lengths[lengths == 0] = 1.0
    return Side(rows, np.arange(rows.shape[0]) if positions is None else positions, lengths)


def rounding_bound(dim: int) -> np.float32:
    """How far a float32 dot product of unit rows can be from their cosine: D terms, two lengths, and some."""
    return np.float32((dim + 8) * 2.0**-24)


@dataclass(slots=True)
class _Best:
    """The best candidate of each row so far, on the host: its cosine in steps, and its index on the other side."""

    steps: NDArray[np.float64]
    index: NDArray[np.int64]
    pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = field(default_factory=list)

    def offer(self, row: NDArray[np.int64], index: NDArray[np.int64], steps: NDArray[np.float64]) -> None:
        """Take what is better: more steps, or as many and a lower index. A row may come several times."""
        order = np.lexsort((index, -steps, row))
        first = order[np.unique(row[order], return_index=True)[1]]
        row, index, steps = row[first], index[first], steps[first]
        better = (steps > self.steps[row]) | ((steps == self.steps[row]) & (index < self.index[row]))
        self.steps[row[better]], self.index[row[better]] = steps[better], index[better]


def best_match(
    queries: Side, references: Side, *, earlier_only: bool, tile_rows: int = 1024, floor: float = NOTHING
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For every query the reference with the highest cosine, the lowest index on ties.

    Args:
        earlier_only: compare a query with the references at lower positions only; tiles without any are not touched.
        tile_rows: references per tile, and twice the queries per tile; memory holds one tile of products.
        floor: cosines below it do not count.

    Returns:
        ``(cosine, index)`` on the host: (M,) float32 and (M,) int64 into ``references``; -inf and -1 where a query
        has no reference that counts.
    """
    cosine = np.full(len(queries.positions), NOTHING, dtype=np.float32)
    index = np.full(len(queries.positions), -1, dtype=np.int64)
    for rows in row_blocks(len(queries.positions), max(1, tile_rows // 2)):
        best = _best_of_block(queries[rows], references, earlier_only, tile_rows, np.float32(floor))
        found = best.steps >= floor * STEPS
        cosine[rows] = np.where(found, best.steps, NOTHING) / STEPS
        index[rows] = np.where(found, best.index, -1)
    return cosine, index


def tiles_of(block: Side, references: Side, earlier_only: bool, tile_rows: int) -> Iterator[Tile]:
    """The tiles of references that ``block`` meets, in order; only those on the diagonal need a mask."""
    free = stop = len(references.positions)
    if earlier_only:
        free = int(np.searchsorted(references.positions, block.positions[0]))
        stop = int(np.searchsorted(references.positions, block.positions[-1]))
    for columns in row_blocks(free, tile_rows):
        yield Tile(references[columns], columns.start, False)
    for columns in row_blocks(stop - free, tile_rows):
        yield Tile(references[free + columns.start : free + columns.stop], free + columns.start, True)


def products(block: Side, tile: Tile, dtype: type[np.floating]) -> Array:
    """Dot products (rows of ``block`` x rows of ``tile``); -inf where the tile's row does not come earlier."""
    xp = array_module(block.rows)
    scores = xp.matmul(block.rows.astype(dtype, copy=False), tile.side.rows.astype(dtype, copy=False).T)
    if tile.masked:
        late = tile.side.positions[None, :] >= block.positions[:, None]
        scores[xp.asarray(late)] = -np.inf
    return scores


def exact_steps(block: Side, tile: Tile) -> Array:
    """Cosines from float64 dot products, in steps; -inf where the tile's row does not come earlier."""
    return in_steps(products(block, tile, np.float64), block.lengths[:, None] * tile.side.lengths)


def where(mask: Array) -> tuple[Array, Array]:
    """Rows and columns of what is true; ``nonzero`` of a matrix takes NumPy several times as long."""
    flat = array_module(mask).flatnonzero(mask)
    return flat // mask.shape[1], flat % mask.shape[1]


def _best_of_block(block: Side, references: Side, earlier_only: bool, tile_rows: int, floor: np.float32) -> _Best:
    xp = array_module(block.rows)
    num_rows = len(block.positions)
    best = _Best(np.full(num_rows, NOTHING), np.full(num_rows, -1, dtype=np.int64))
    highest = xp.full(num_rows, floor, dtype=np.float32)
    # The best pair may look worse by `bound`, and another better by as much.
    slack = 2 * rounding_bound(block.rows.shape[1])
    for tile in tiles_of(block, references, earlier_only, tile_rows):
        scores = products(block, tile, np.float32)
        in_tile = scores.max(axis=1)
        highest = xp.maximum(highest, in_tile)
        rows = xp.flatnonzero((in_tile >= highest - slack) & (in_tile > NOTHING))
        if rows.size:
            near = scores if rows.size == num_rows else scores[rows]
            _collect(best, block, tile, rows, near, highest[rows] - slack)
        if best.steps.min() >= STEPS:
            break  # each row has found its twin, and later ones would lose the tie
    _measure_pending(best, block, references, to_host(highest - slack))
    return best


def _collect(best: _Best, block: Side, tile: Tile, rows: Array, scores: Array, least: Array) -> None:
    """Note the candidates in the tile's ``scores`` of ``rows``; where they are many, settle the tile in float64."""
    row, column = where(scores >= least[:, None])
    if row.size > DENSE * rows.size:
        host_rows = to_host(rows)
        index, steps = _best_in_tile(block[host_rows], tile)
        best.offer(host_rows, index + tile.start, steps)
    else:
        best.pending.append((to_host(rows[row]), to_host(column) + tile.start, to_host(scores[row, column])))


def _best_in_tile(block: Side, tile: Tile) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    steps = exact_steps(block, tile)
    column = steps.argmax(axis=1)
    return to_host(column), to_host(steps.max(axis=1))


def _measure_pending(best: _Best, block: Side, references: Side, least: NDArray[np.float32]) -> None:
    """Measure the candidates that are still near the best of their row."""
    if not best.pending:
        return
    row, index, score = (np.concatenate(parts) for parts in zip(*best.pending, strict=True))
    near = score >= least[row]
    row, index = row[near], index[near]
    best.offer(row, index, measure_pairs(block, references, row, index))


def measure_pairs(
    left: Side, right: Side, left_index: NDArray[np.int64], right_index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosines of the pairs (left_index[p], right_index[p]) from float64 dot products, in steps, on the host."""
    steps = np.empty(len(left_index))
    for part in row_blocks(len(left_index), PAIR_BLOCK):
        a, b = left[left_index[part]], right[right_index[part]]
        dots = (a.rows.astype(np.float64) * b.rows.astype(np.float64)).sum(axis=1)
        steps[part] = to_host(in_steps(dots, a.lengths * b.lengths))
    return steps


def in_steps(dots: Array, lengths: Array) -> Array:
    """``dots / lengths`` in whole steps of 2**-24, at most ``STEPS``; -inf stays."""
    xp = array_module(dots)
    return xp.minimum(xp.rint(dots / lengths * STEPS), STEPS)
