"""The order of preference of the rows of a cluster: the first row of a group of duplicates is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.errors import InputError, ParameterError

DISTANCE_COLUMNS: Final = {"cosine": "cosine_dist_to_cent", "l2": "l2_dist_to_cent"}


@dataclass(frozen=True, slots=True)
class RankingStrategy:
    """How to order a cluster: by columns and then by id, or at random.

    Attributes:
        metadata_cols: column names, the most important first; none for a random order.
        ascending: whether low values rank first, per column or once for all.
        strategy: ``"sort"`` or ``"random"``.
        random_seed: seed of the random order, which depends on ids and seed only.
        id_ascending: the direction of the id, which breaks all ties.
    """

    metadata_cols: Sequence[str] = ()
    ascending: bool | Sequence[bool] = True
    strategy: Literal["sort", "random"] = "sort"
    random_seed: int = 42
    id_ascending: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.metadata_cols, str):
            raise ParameterError(f"metadata_cols must be a list of column names, got the string {self.metadata_cols!r}")
        columns = tuple(self.metadata_cols)
        directions = (self.ascending,) * len(columns) if isinstance(self.ascending, bool) else tuple(self.ascending)
        object.__setattr__(self, "metadata_cols", columns)
        object.__setattr__(self, "ascending", directions)
        if self.strategy not in ("sort", "random"):
            raise ParameterError(f"strategy must be 'sort' or 'random', got {self.strategy!r}")
        if self.strategy == "sort" and not columns:
            raise ParameterError("metadata_cols is empty: name at least one column to rank by")
        if len(directions) != len(columns):
            raise ParameterError(f"ascending has {len(directions)} directions for {len(columns)} metadata_cols")

    @classmethod
    def metadata_based(cls, metadata_cols: Sequence[str], ascending: bool | Sequence[bool] = True) -> RankingStrategy:
        """Rank by any columns, each with its direction; ties by ascending id."""
        return cls(metadata_cols, ascending)

    @classmethod
    def random(cls, random_seed: int = 42) -> RankingStrategy:
        """Rank at random. The same ids come in the same relative order in whatever files they lie."""
        return cls(strategy="random", random_seed=random_seed)

    @classmethod
    def of(cls, which_to_keep: str, sim_metric: str = "cosine", random_seed: int = 42) -> RankingStrategy:
        """Rank the rows far from the centroid first (``"hard"``) or last (``"easy"``), or all rows at ``"random"``."""
        if sim_metric not in DISTANCE_COLUMNS:
            raise ParameterError(f"sim_metric must be 'cosine' or 'l2', got {sim_metric!r}")
        if which_to_keep == "random":
            return cls.random(random_seed)
        if which_to_keep not in ("hard", "easy"):
            raise ParameterError(f"which_to_keep must be 'hard', 'easy' or 'random', got {which_to_keep!r}")
        near_first = which_to_keep == "easy"
        return cls((DISTANCE_COLUMNS[sim_metric],), near_first, id_ascending=near_first)

    def rank(self, columns: Mapping[str, Any], ids: Any) -> NDArray[np.int64]:
        """The order: ``order[0]`` is the row that ranks first.

        >>> strategy = RankingStrategy.metadata_based(["pixels"], ascending=False)
        >>> strategy.rank({"pixels": np.array([720.0, np.nan, 1080.0, 720.0])}, ids=["d", "c", "b", "a"]).tolist()
        [2, 3, 0, 1]

        Args:
            columns: (N,) arrays by name; numbers, strings, booleans or times. None, NaN and NaT are nulls and come
                last in either direction.
            ids: (N,) integers, strings or bytes. Ids are expected to be unique; equal ones stay in the order given.

        Returns:
            (N,) int64.

        Raises:
            ParameterError: a column is missing. InputError: a column holds values that have no order.
        """
        keys = []
        directions: Any = self.ascending
        for name, ascending in zip(self.metadata_cols, directions, strict=True):
            if name not in columns:
                raise ParameterError(f"ranking column {name!r} is not there; there are {sorted(columns)}")
            keys.append(ranking_codes(columns[name], name, ascending))
        if self.strategy == "random":
            keys.append(sample_priority(ids, self.random_seed))
        return _ranked(keys, ids, self.id_ascending)


def _ranked(keys: list[NDArray[Any]], ids: Any, id_ascending: bool) -> NDArray[np.int64]:
    """The order by the keys, the first one first, and among equal rows by the ids.

    Only the ids of equal rows are looked at: there are few, and to order texts takes longer than all else.
    """
    order = np.lexsort(keys[::-1]) if keys else np.arange(len(ids))
    follows = np.ones(max(len(order) - 1, 0), np.bool_)  # whether a row equals the one before it
    for key in keys:
        follows &= key[order[1:]] == key[order[:-1]]
    equal = np.append(False, follows) | np.append(follows, False)
    some = order[equal[: len(order)]]
    code = np.zeros(len(order), np.int64)
    code[some] = ranking_codes(np.asarray(ids)[some], "id", id_ascending)
    return np.lexsort([code, *keys[::-1]]) if len(some) else order


def ranking_codes(values: Any, name: str, ascending: bool) -> NDArray[Any]:
    """(N,) int64 codes that sort as ``values`` do; nulls have the highest code in either direction."""
    array = np.asarray(values)
    null = is_null(array)
    codes = np.full(len(array), len(array), dtype=np.int64)
    try:
        distinct, code = np.unique(array[~null], return_inverse=True)
    except TypeError as error:
        raise InputError(f"column {name!r} cannot be ranked by: its values have no order ({error})") from error
    codes[~null] = code if ascending else len(distinct) - 1 - code
    return codes


def is_null(array: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) where a value is None, NaN or NaT."""
    if array.dtype.kind in "fmM":
        null: NDArray[np.bool_] = np.isnat(array) if array.dtype.kind in "mM" else np.isnan(array)
        return null
    if array.dtype.kind == "O":
        return np.array([_is_null_value(value) for value in array], dtype=np.bool_)
    return np.zeros(len(array), dtype=np.bool_)


def _is_null_value(value: Any) -> bool:
    # NaN and NaT differ from themselves; pandas.NA says neither yes nor no.
    return value is None or type(value).__name__ == "NAType" or bool(value != value)
