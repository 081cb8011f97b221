"""The most similar row, tile by tile: the arithmetic of the pairwise stage.

The product of two tiles is a float32 GEMM, or one in fewer bits on a device (`candidates`). Its last bits depend on the
BLAS, the threads and the shape of the tile, so it only finds the candidates: every pair whose product lies within the
rounding bound of the best. Candidates are measured again in float64. A coarser product has more of them, and they are
measured in float32 first. A cosine is a whole number of steps of 2**-24 (what float32 holds from 0.5 up); cosines that
round to the same step are tied, and the lowest index wins. Scores and indices are therefore the same for any tile size,
any number of threads, and on CPU and GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import num_threads, over_blocks
from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks, suited_tile_rows, to_host
from curator_dask.dedup.similarity.candidates import FLOAT32, Precision, candidate_precision
from curator_dask.dedup.similarity.pairs import STEPS, Side, measure_pairs, pair_products
from curator_dask.dedup.similarity.screen import SCREENED_ROWS, BlockScreen, Left, Limits, Screen, rounded_where_it_pays
from curator_dask.dedup.similarity.tiles import DENSE, NOTHING, STEP, Tile, exact_steps, products, tiles_of, where

PIECE: Final = 512  # columns of a tile that are searched together, if one of them may be the best
MOST_PENDING: Final = 1 << 16  # candidates of a block that wait to be measured: limits the memory
DEVICE_MOST_PENDING: Final = 1 << 20  # the same on a device, whose blocks have many times as many rows
NO_INDEX: Final = np.iinfo(np.int64).max


Reaching = Callable[[np.float32], tuple[Array, Array, Array]]
"""Gives the rows, columns and products (P,) of the pairs of a tile whose product is at least so high."""


class TileReader(Protocol):
    """Sees the products of all tiles, beside the search for the best one."""

    @property
    def is_open(self) -> bool:
        """Whether it still wants to see any."""

    @property
    def line(self) -> np.float32:
        """It wants to see no pair with a lower cosine."""

    def look(self, block: Side, tile: Tile, reaching: Reaching, bound: np.float32) -> None:
        """See products of a tile: those that reach `line` less `bound`, which is how far products can be from cosines."""

    def has_room(self, line: np.float32, num_sure: int) -> bool:
        """Hear that so many pairs of a tile reach this line for sure. If they are too many, the line rises; else this is True."""


class _Pending(NamedTuple):
    """Candidates that wait to be measured, on the host: rows, references, and upper limits of their cosines."""

    row: NDArray[np.int64]
    reference: NDArray[np.int64]
    most: NDArray[np.float32]


@dataclass(slots=True)
class _Best:
    """The best reference so far of each row of a block, and the least that another one must reach.

    Attributes:
        steps, index: on the host: the best measured cosine in steps, and the index of its reference.
        reached: (N,) float32 on the rows' device: a lower limit of the best cosine, from the products.
        bar: (N,) float32 on the rows' device: a cosine of a later tile below it cannot be the best. Infinite once an exact
            match was found; ties keep the earlier reference.
        precision: the precision of the products.
        coarse: whether some pending candidates come from products coarser than float32.
    """

    steps: NDArray[np.float64]
    index: NDArray[np.int64]
    reached: Array
    bar: Array
    precision: Precision
    coarse: bool = False
    pending: list[_Pending] = field(default_factory=list)

    def offer(self, row: NDArray[np.int64], index: NDArray[np.int64], steps: NDArray[np.float64]) -> None:
        """Take the better references: more steps, or equal steps and a lower index. A row may occur several times."""
        highest, first = np.full(len(self.steps), NOTHING), np.full(len(self.steps), NO_INDEX)
        np.maximum.at(highest, row, steps)
        best = steps == highest[row]
        np.minimum.at(first, row[best], index[best])
        better = (highest > self.steps) | ((highest == self.steps) & (first < self.index))
        self.steps[better], self.index[better] = highest[better], first[better]

    def raise_bar(self) -> None:
        bar = np.where(self.steps >= STEPS, np.inf, self.steps / STEPS)
        self.bar = array_module(self.reached).asarray(bar.astype(np.float32))


def best_match(
    queries: Side,
    references: Side,
    *,
    earlier_only: bool,
    tile_rows: int = 1024,
    floor: float | NDArray[np.float32] = NOTHING,
    also: TileReader | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For every query the reference with the highest cosine, the lowest index on ties.

    NumPy's work runs on all the threads that BLAS may use (`over_blocks`), each with a tile of its own.

    Args:
        earlier_only: compare a query with the references at lower positions only; tiles without any are not touched.
        tile_rows: half the references per tile, and up to twice the queries per tile; memory holds one tile of products
            a thread, and where cosines are all but equal a few such tiles of float64. A device takes more at a time
            (`suited_tile_rows`).
        floor: cosines below it do not count; one for all, or (M,).
        also: sees all tiles too, from several threads.

    Returns:
        ``(cosine, index)`` on the host: (M,) float32 and (M,) int64 into ``references``; -inf and -1 where a query
        has no reference that counts.

    Four rows against themselves. Their cosines, without those that `earlier_only` leaves out::

                    0     1     2
        0 (1.0, 0.0)
        1 (0.6, 0.8)  0.60
        2 (0.0, 1.0)  0.00  0.80
        3 (0.8, 0.6)  0.80  0.96  0.60

    >>> from curator_dask.dedup.similarity.pairs import side
    >>> rows = side(np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]], np.float32))
    >>> cosine, index = best_match(rows, rows, earlier_only=True)
    >>> [f"{one:.2f}" for one in cosine], index.tolist()
    (['-inf', '0.60', '0.80', '0.96'], [-1, 0, 1, 1])
    """
    num_rows = len(queries.positions)
    floors = np.broadcast_to(np.asarray(floor, dtype=np.float64), num_rows)
    cosine = np.full(num_rows, NOTHING, dtype=np.float32)
    index = np.full(num_rows, -1, dtype=np.int64)

    def work(blocks: Iterator[slice]) -> None:
        width = min(2 * tile_rows, len(references.positions))
        buffer = array_module(queries.rows).empty(min(at_once, num_rows) * width, dtype=np.float32)
        screen = None if rounded is None else Screen(rounded)
        for rows in blocks:
            some = None if screen is None else screen.of(rows.start)
            best = _best_of_block(queries[rows], references, earlier_only, tile_rows, floors[rows], buffer, also, some)
            found = best.steps >= floors[rows] * STEPS
            cosine[rows] = np.where(found, best.steps, NOTHING) / STEPS
            index[rows] = np.where(found, best.index, -1)

    on_host = array_module(queries.rows) is np
    tile_rows = suited_tile_rows(queries.rows, tile_rows)
    counts = _num_references(queries, references, earlier_only)
    rounded = rounded_where_it_pays(queries.rows, references.rows, counts, floors)
    at_once = _queries_at_once(num_rows, tile_rows, on_host)
    blocks = list(row_blocks(num_rows, at_once))[::-1]  # with earlier_only the last one is the longest work
    over_blocks(work, blocks) if on_host else work(iter(blocks))
    return cosine, index


def _num_references(queries: Side, references: Side, earlier_only: bool) -> NDArray[np.int64]:
    """(M,), how many references a query is compared with: the first ones."""
    if not earlier_only:
        return np.full(len(queries.positions), len(references.positions))
    return np.searchsorted(references.positions, queries.positions).astype(np.int64)


def _queries_at_once(num_queries: int, tile_rows: int, on_host: bool) -> int:
    """Queries per tile: where there are few, several threads want a block each; a GPU wants many in one product."""
    if not on_host:
        return 2 * tile_rows
    few = num_queries if num_threads() == 1 else num_queries // 8 // STEP * STEP
    most = max(1, min(tile_rows // 2, max(STEP, few)))
    even = -(-num_queries // max(1, -(-num_queries // most)))
    return even + 8 if even % 32 == 0 else max(1, even)  # columns a power of two apart would meet in the cache


def _best_of_block(
    block: Side, references: Side, earlier_only: bool, tile_rows: int, floor: NDArray[np.float64], buffer: Array,
    also: TileReader | None, screen: BlockScreen | None,
) -> _Best:  # fmt: skip
    xp = array_module(block.rows)
    num_rows = len(block.positions)
    reached = xp.asarray(floor.astype(np.float32))
    precision = candidate_precision(block.rows)
    best = _Best(np.full(num_rows, NOTHING), np.full(num_rows, -1), reached, xp.full_like(reached, NOTHING), precision)
    most_pending = MOST_PENDING if xp is np else DEVICE_MOST_PENDING
    for tile in tiles_of(block, references, earlier_only, tile_rows, apart=screen is None):
        if screen is None or not screen.pays or not _look_at_few(best, block, tile, screen, also):
            _look_through(best, block, tile, buffer, also)
        if sum(len(part.row) for part in best.pending) > most_pending:
            _measure_pending(best, block, references)
        if best.steps.min() >= STEPS and (also is None or not also.is_open):
            break  # each row has an exact match, and later ones would lose the tie
    _measure_pending(best, block, references)
    return best


def _look_through(best: _Best, block: Side, tile: Tile, buffer: Array, also: TileReader | None = None) -> None:
    """Multiply a tile and note the candidates; where there are many, multiply in more bits: float32, then float64."""
    scores = products(block, tile, np.float32, buffer, best.precision)
    xp = array_module(scores)
    num_rows, width = scores.shape
    bound = best.precision.bound(block.rows.shape[1])
    # The maxima of the rows are taken from those of short pieces; few pieces then have to be searched once more.
    pieces = scores.reshape(num_rows, -1, PIECE if width % PIECE == 0 else width)
    highest = pieces.max(axis=2)
    if also is not None and also.is_open:
        also.look(block, tile, functools.partial(_columns_from, scores, highest), bound)
    # The best pair may look worse by `bound`, and another better by as much.
    best.reached = xp.maximum(best.reached, highest.max(axis=1) - bound)
    least = xp.maximum(best.reached, best.bar) - bound
    row, piece = where((highest >= least[:, None]) & (highest > NOTHING))
    if not row.size:
        return
    of_piece, column = _all_from(pieces[row, piece], least[row])
    if of_piece.size <= DENSE * row.size:
        row, column = row[of_piece], piece[of_piece] * pieces.shape[2] + column
        most = to_host(scores[row, column]) + bound
        best.pending.append(_Pending(to_host(row), to_host(column) + tile.start, most))
        best.coarse |= best.precision is not FLOAT32
    elif best.precision is not FLOAT32:
        best.precision = FLOAT32  # the block's rows are too much alike for anything coarser
        _look_through(best, block, tile, buffer)
    else:
        rows = np.unique(to_host(row))
        index, steps = _best_in_tile(block[rows], tile)
        best.offer(rows, index + tile.start, steps)
        best.raise_bar()


def _all_from(rows: Array, least: Array) -> tuple[Array, Array]:
    """Rows and columns of the products (n, k) from `least` (n,) on, in any order. Each row has one at least; the rows are lost.

    Few rows have a second one. To look for the highest ones alone takes less time than to compare all.
    """
    xp = array_module(rows)
    every, first = xp.arange(len(rows)), rows.argmax(axis=1)
    rows[every, first] = NOTHING
    more = xp.flatnonzero(rows[every, rows.argmax(axis=1)] >= least)
    of_more, column = where(rows[more] >= least[more][:, None])
    return xp.concatenate([every, more[of_more]]), xp.concatenate([first, column])


def _columns_from(scores: Array, highest: Array, least: np.float32) -> tuple[Array, Array, Array]:
    """Rows and columns of the products (M, W) from `least` on, and these products.

    Args:
        highest: (M, P) the highest product of each of P pieces of a row: only pieces that have one are searched.
    """
    row, piece = where(highest >= least)
    if not row.size:
        return row, piece, highest[row, piece]
    pieces = scores.reshape(*highest.shape, -1)
    of_piece, column = where(pieces[row, piece] >= least)
    row, column = row[of_piece], piece[of_piece] * pieces.shape[2] + column
    return row, column, scores[row, column]


def _look_at_few(best: _Best, block: Side, tile: Tile, screen: BlockScreen, also: TileReader | None) -> bool:
    """Multiply only the pairs that a screen leaves, and note the candidates; False where it leaves too many."""
    found = _screened(block, tile, screen, also)
    measured = _measure_likely(best, block, tile, found)
    bound = FLOAT32.bound(block.rows.shape[1])
    least = np.minimum(np.maximum(best.reached, best.bar), np.inf if also is None else also.line) - bound
    left = found.limit >= least[found.row]
    row, column = found.row[left], found.column[left]
    if not screen.allows(len(row), (len(block.positions), len(tile.side.positions))):
        return False
    products, other = measured[row], column != found.likely[row]
    products[other] = pair_products(block, tile.side, row[other], column[other])
    near = other & (products + bound >= best.reached[row])
    best.pending.append(_Pending(row[near], column[near] + tile.start, products[near] + bound))
    best.bar[best.steps >= STEPS] = np.inf
    if also is not None and also.is_open:
        also.look(block, tile, functools.partial(_few_from, row, column, products), bound)
    return True


def _screened(block: Side, tile: Tile, screen: BlockScreen, also: TileReader | None) -> Left:
    """The pairs of a tile that a screen leaves."""
    found, places = [], tile.side.positions
    for rows in row_blocks(len(block.positions), SCREENED_ROWS):
        own = block.positions[rows]
        every, some = np.searchsorted(places, own[[0, -1]]).tolist() if tile.masked else (len(places), len(places))
        limits = screen.limits(rows, slice(tile.start, tile.start + some))
        limits.leave_out(every, places[every:some] >= own[:, None])
        found.append(_left(limits, rows.start, also))
    return Left(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _measure_likely(best: _Best, block: Side, tile: Tile, found: Left) -> NDArray[np.float32]:
    """Measure the likely best pair of each row, take what is better, and return the cosines (M,); -inf where no pair counts."""
    some = np.flatnonzero(found.likely >= 0)
    steps = np.full(len(found.likely), NOTHING)
    steps[some] = measure_pairs(block, tile.side, some, found.likely[some])
    better = steps > best.steps
    best.steps[better], best.index[better] = steps[better], found.likely[better] + tile.start
    best.reached = np.maximum(best.reached, (best.steps / STEPS).astype(np.float32))
    return (steps / STEPS).astype(np.float32)


def _left(limits: Limits, start: int, also: TileReader | None) -> Left:
    """The pairs that are left, once a reader knows how many reach its line for sure: if they are too many, the line rises."""
    left = limits.left(start, np.float32(np.inf) if also is None else also.line)
    if also is None or not also.is_open or len(left.row) <= DENSE * len(left.likely):
        return left
    line = also.line
    return left if also.has_room(line, limits.count_sure(line)) else _left(limits, start, also)


def _few_from(row: Array, column: Array, products: Array, least: np.float32) -> tuple[Array, Array, Array]:
    some = products >= least
    return row[some], column[some], products[some]


def _best_in_tile(block: Side, tile: Tile) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """``(column, steps)`` of the highest cosine of each row, the first column on ties."""
    column, highest = np.zeros(len(block.positions), dtype=np.int64), np.full(len(block.positions), NOTHING)
    width = len(tile.side.positions)
    for columns in row_blocks(width, PIECE if array_module(block.rows) is np else width):
        steps = exact_steps(block, Tile(tile.side[columns], columns.start, tile.masked))
        first, best = to_host(steps.argmax(axis=1)), to_host(steps.max(axis=1))
        better = best > highest
        column[better], highest[better] = first[better] + columns.start, best[better]
    return column, highest


def _measure_pending(best: _Best, block: Side, references: Side) -> None:
    """Measure the candidates that may still be the best of their row."""
    if not best.pending:
        return
    row, index, most = (np.concatenate(parts) for parts in zip(*best.pending, strict=True))
    best.pending.clear()
    near = most >= to_host(best.reached)[row]
    row, index = row[near], index[near]
    if best.coarse:
        row, index = _still_near(best, block, references, row, index)
    best.offer(row, index, measure_pairs(block, references, row, index))
    best.raise_bar()


def _still_near(
    best: _Best, block: Side, references: Side, row: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The candidates that float32 cannot exclude as the best of their row: few of those that a coarse product left."""
    bound = FLOAT32.bound(block.rows.shape[1])
    cosine = pair_products(block, references, row, index)
    reached = np.array(to_host(best.reached))
    np.maximum.at(reached, row, cosine - bound)
    best.reached, best.coarse = array_module(best.reached).asarray(reached), False
    near = cosine + bound >= reached[row]
    return row[near], index[near]
